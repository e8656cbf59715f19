import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { memoryStorage, withFaults } from '@opencbr/storage'
import * as fc from 'fast-check'
import { decodeTree, encodeTree, type TreeNode } from '../format/tree.ts'
import { formatTreeTime } from '../format/tree-values.ts'
import { findXattr, listXattrs, makeNode, setTimes, setXattr, S_IFIFO } from '../posix/posix.ts'
import { initRepository } from '../repository/init-repository.ts'
import { openRepository } from '../repository/unlock-repository.ts'
import type { Repository } from '../repository/repository.ts'
import type { BlobId } from '../repository/types.ts'
import { INCOMPLETE_TAG, type ArchiveProgress } from './archive-result.ts'
import { archiveTree, type ArchiveTreeOptions } from './archive-tree.ts'

const kdf = { N: 2, r: 1, p: 1 }

function scratch(t: TestContext): string {
  const directory = fs.mkdtempSync(join(tmpdir(), 'opencbr-archive-'))
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function openMemory(t: TestContext): Promise<Archive> {
  const storage = memoryStorage()
  await initRepository(storage, { password: 'x', kdf })
  const repository = await openRepository(storage, { password: 'x' })
  t.after(() => repository[Symbol.asyncDispose]())
  return new Archive(repository)
}

class Archive {
  readonly repository: Repository

  constructor(repository: Repository) {
    this.repository = repository
  }

  async run(path: string, options: Partial<ArchiveTreeOptions> = {}) {
    await using lock = await this.repository.lock({ exclusive: false, settleMs: 0 })
    return await archiveTree(this.repository, lock, { path, hostname: 'host', tags: ['a', 'b'], time: new Date(0), ...options })
  }

  async nodes(treeId: BlobId): Promise<Map<string, TreeNode>> {
    const nodes = decodeTree(await this.repository.loadBlob('tree', treeId))
    return new Map(nodes.map((node) => [node.name.toString('latin1'), node]))
  }

  /** The entries of a directory of a snapshot. */
  async list(treeId: BlobId, path: string): Promise<Map<string, TreeNode>> {
    let nodes = await this.nodes(treeId)
    for (const name of path.split('/').slice(1)) {
      const subtree = nodes.get(Buffer.from(name).toString('latin1'))?.subtree
      assert.ok(subtree !== undefined, `${name} of ${path}`)
      nodes = await this.nodes(subtree)
    }
    return nodes
  }

  /** A copy of a tree, and of all below it, in which nothing has extended attributes. */
  async stripAttributes(treeId: BlobId): Promise<BlobId> {
    const nodes = await Promise.all([...(await this.nodes(treeId)).values()].map(async (node) => {
      const subtree = node.subtree === undefined ? undefined : await this.stripAttributes(node.subtree)
      return { ...node, subtree, extendedAttributes: [] }
    }))
    return (await this.repository.saveBlob('tree', encodeTree(nodes))).id
  }

  async content(node: TreeNode | undefined): Promise<Buffer> {
    const blobs = await Promise.all((node?.content ?? []).map((id) => this.repository.loadBlob('data', id)))
    return Buffer.concat(blobs)
  }
}

test('an unchanged file is not read again, and every kind of change is noticed', async (t) => {
  const source = scratch(t)
  const archive = await openMemory(t)
  const names = ['same', 'longer', 'other inode', 'same size and mtime', 'touched']
  for (const name of names) fs.writeFileSync(join(source, name), `content of ${name}`)
  const first = await archive.run(source)
  assert.deepEqual(first.files, { new: 5, changed: 0, unmodified: 0 })

  fs.appendFileSync(join(source, 'longer'), '!')
  fs.renameSync(join(source, 'other inode'), join(source, 'moved'))
  fs.writeFileSync(join(source, 'other inode'), 'CONTENT of other inode')
  fs.rmSync(join(source, 'moved'))
  const { atimeNs, mtimeNs } = fs.statSync(join(source, 'same size and mtime'), { bigint: true })
  fs.writeFileSync(join(source, 'same size and mtime'), 'CONTENT of same size and mtime')
  setTimes(Buffer.from(join(source, 'same size and mtime')), { accessedNs: atimeNs, modifiedNs: mtimeNs })
  fs.utimesSync(join(source, 'touched'), 1, 1)
  const second = await archive.run(source, { parent: first.snapshotId })
  assert.deepEqual(second.files, { new: 0, changed: 4, unmodified: 1 })
  assert.equal(second.parent, first.snapshotId)
  assert.equal(second.dataBlobs, 3)
  const nodes = await archive.list(second.treeId, source)
  for (const name of names) assert.deepEqual(await archive.content(nodes.get(name)), fs.readFileSync(join(source, name)), name)

  const third = await archive.run(source, { parent: second.snapshotId })
  assert.deepEqual(third.files, { new: 0, changed: 0, unmodified: 5 })
  assert.equal(third.directories.new, 0)
  assert.ok(third.directories.unmodified >= 1)
  assert.equal(third.dataBytesAdded, 0)
  assert.deepEqual(await archive.list(third.treeId, source), nodes)
})

test('attributes of an unchanged file come from the parent only when we made it ourselves', async (t) => {
  const source = scratch(t)
  const archive = await openMemory(t)
  const file = Buffer.from(join(source, 'file'))
  fs.writeFileSync(file, 'content')
  setXattr(file, Buffer.from('user.old'), Buffer.from('value'))
  const attributesOf = async (treeId: BlobId) => (await archive.list(treeId, source)).get('file')?.extendedAttributes.map(({ name: key }) => key)
  const first = await archive.run(source, { programVersion: 'opencbr 1' })
  for (const programVersion of ['opencbr 1', 'opencbr 2', undefined]) {
    const unchanged = await archive.run(source, { programVersion, parent: first.snapshotId })
    assert.equal(unchanged.files.unmodified, 1)
    assert.deepEqual(await attributesOf(unchanged.treeId), ['user.old'])
  }
  setXattr(file, Buffer.from('user.new'), Buffer.from('value'))
  const changed = await archive.run(source, { programVersion: 'opencbr 1', parent: first.snapshotId })
  assert.equal(changed.files.changed, 1)
  assert.deepEqual((await attributesOf(changed.treeId))?.toSorted(), ['user.new', 'user.old'])

  // A parent that saw less, as another program or user may have, is not believed.
  const snapshot = await archive.repository.findSnapshot(first.snapshotId)
  assert.ok(snapshot !== undefined)
  for (const [programVersion, uid, tags, expected] of [
    ['opencbr 1', process.getuid?.(), [], []],
    ['restic 0.19.1', process.getuid?.(), [], ['user.new', 'user.old']],
    [undefined, process.getuid?.(), [], ['user.new', 'user.old']],
    ['opencbr 1', 4711, [], ['user.new', 'user.old']],
    ['opencbr 1', process.getuid?.(), [INCOMPLETE_TAG], ['user.new', 'user.old']],
  ] as const) {
    const stripped = await archive.stripAttributes(changed.treeId)
    await using lock = await archive.repository.lock({ exclusive: false, settleMs: 0 })
    const parent = await archive.repository.saveSnapshot({ ...snapshot, tree: stripped, program_version: programVersion, uid, tags }, lock)
    const result = await archive.run(source, { programVersion: 'opencbr 1', parent })
    assert.equal(result.files.unmodified, 1)
    assert.deepEqual((await attributesOf(result.treeId))?.toSorted(), expected, `${programVersion} ${uid} ${tags.join()}`)
  }
})

test('whatever has changed, a backup on a parent writes the trees that one without a parent writes', async (t) => {
  const source = scratch(t)
  const archive = await openMemory(t)
  const at = (name: string) => join(source, name)
  // Others may change the directories above.
  const subtreeOf = async (treeId: BlobId) => (await archive.list(treeId, dirname(source))).get(basename(source))?.subtree
  const programVersion = 'opencbr 1'
  fs.mkdirSync(at('d/deep'), { recursive: true })
  for (const name of ['a', 'b', 'c', 'd/1', 'd/deep/2', 'e', 'f', 'z ünïcode']) fs.writeFileSync(at(name), `content of ${name}`)
  fs.writeFileSync(at('empty'), '')
  fs.mkdirSync(at('nothing'))
  let parent = (await archive.run(source, { programVersion })).snapshotId
  const changes: [string, () => void][] = [
    ['nothing', () => undefined],
    ['the first is gone', () => fs.rmSync(at('a'))],
    ['one in the middle is gone', () => fs.rmSync(at('c'))],
    ['the last is gone', () => fs.rmSync(at('z ünïcode'))],
    ['the last in a directory is gone', () => fs.rmSync(at('d/deep/2'))],
    ['one more in front', () => fs.writeFileSync(at('A'), 'new')],
    ['one more behind', () => fs.writeFileSync(at('zz'), 'new')],
    ['one more in an empty directory', () => fs.writeFileSync(at('nothing/something'), 'new')],
    ['other content', () => fs.writeFileSync(at('b'), 'other content')],
    ['other mode', () => fs.chmodSync(at('e'), 0o640)],
    ['a second name', () => fs.linkSync(at('e'), at('e2'))],
    ['an attribute', () => setXattr(Buffer.from(at('f')), Buffer.from('user.name'), Buffer.from('value'))],
    ['nothing, with an attribute and a second name', () => undefined],
    ['no second name any more', () => fs.rmSync(at('e2'))],
    ['a directory in the place of a file', () => {
      fs.rmSync(at('b'))
      fs.mkdirSync(at('b'))
    }],
    ['a link in the place of a file', () => {
      fs.rmSync(at('f'))
      fs.symlinkSync('e', at('f'))
    }],
    ['a file in the place of a directory', () => {
      fs.rmdirSync(at('b'))
      fs.writeFileSync(at('b'), 'back')
    }],
    ['other content at the end', () => fs.writeFileSync(at('empty'), 'no more')],
  ]
  for (const [change, make] of changes) {
    make()
    const anew = await archive.run(source, { programVersion })
    const result = await archive.run(source, { programVersion, parent })
    assert.equal(await subtreeOf(result.treeId), await subtreeOf(anew.treeId), change)
    const again = await archive.run(source, { programVersion, parent: result.snapshotId })
    assert.equal(await subtreeOf(again.treeId), await subtreeOf(anew.treeId), change)
    assert.deepEqual(again.files, { new: 0, changed: 0, unmodified: anew.files.new }, change)
    assert.equal(again.bytesProcessed, anew.bytesProcessed, change)
    parent = result.snapshotId
  }
})

for (const programVersion of [undefined, 'opencbr 1']) test(`content that the index has lost is read again, of ${programVersion ?? 'any program'}`, async (t) => {
  const source = scratch(t)
  fs.writeFileSync(join(source, 'file'), 'content')
  const theirs = await openMemory(t)
  const first = await theirs.run(source, { programVersion })
  const ours = await openMemory(t)
  await ours.repository.loadIndex()
  // The parent's trees came here, its content did not.
  for (const pack of theirs.repository.indexedPacks()) {
    for (const { type, id } of pack.blobs) if (type === 'tree') await ours.repository.saveBlob('tree', await theirs.repository.loadBlob('tree', id))
  }
  await using lock = await ours.repository.lock({ exclusive: false, settleMs: 0 })
  const snapshot = await theirs.repository.findSnapshot(first.snapshotId)
  assert.ok(snapshot !== undefined)
  const parent = await ours.repository.saveSnapshot(snapshot, lock)
  const second = await ours.run(source, { programVersion, parent })
  assert.deepEqual(second.files, { new: 0, changed: 1, unmodified: 0 })
  const nodes = await ours.list(second.treeId, source)
  assert.equal((await ours.content(nodes.get('file'))).toString(), 'content')
})

test('a parent that is gone is as good as none', async (t) => {
  const source = scratch(t)
  const archive = await openMemory(t)
  const { snapshotId } = await archive.run(source)
  const other = await openMemory(t)
  const result = await other.run(source, { parent: snapshotId })
  assert.equal(result.parent, undefined)
  const snapshot = await other.repository.findSnapshot(result.snapshotId)
  assert.equal(snapshot?.parent, undefined)
})

test('the snapshot says what was backed up, and sums it up', async (t) => {
  const source = scratch(t)
  fs.writeFileSync(join(source, 'file'), 'content')
  fs.mkdirSync(join(source, 'directory'))
  const archive = await openMemory(t)
  const moments = [new Date('2026-01-01T00:00:00Z'), new Date('2026-01-01T00:01:00Z')]
  const result = await archive.run(`${source}//./`, {
    time: new Date('2026-01-02T03:04:05.678Z'), programVersion: 'opencbr 1', now: () => moments.shift() ?? assert.fail('asked a third time'),
  })
  const snapshot = await archive.repository.findSnapshot(result.snapshotId)
  assert.ok(snapshot?.summary !== undefined)
  assert.deepEqual(snapshot.paths, [source])
  assert.deepEqual(snapshot.tags, ['a', 'b'])
  assert.deepEqual([snapshot.time, snapshot.hostname, snapshot.program_version], ['2026-01-02T03:04:05.678Z', 'host', 'opencbr 1'])
  const { summary } = snapshot
  assert.deepEqual([summary.backup_start, summary.backup_end], ['2026-01-01T00:00:00.000Z', '2026-01-01T00:01:00.000Z'])
  assert.deepEqual([summary.files_new, summary.total_files_processed, summary.total_bytes_processed, summary.data_blobs], [1, 1, 7, 1])
  assert.equal(summary.dirs_new, source.split('/').length)
  assert.equal(summary.tree_blobs, result.treeBlobs)
  assert.equal(result.bytesProcessed, 7)
  assert.equal(result.bytesAdded, summary.data_added)
  assert.ok(result.bytesAddedPacked > 0)
})

test('a source that is not there, or is no directory, is a failure that says so', async (t) => {
  const source = scratch(t)
  const archive = await openMemory(t)
  fs.writeFileSync(join(source, 'file'), '')
  fs.symlinkSync(source, join(source, 'link'))
  makeNode(Buffer.from(join(source, 'fifo')), S_IFIFO | 0o600, 0n)
  await assert.rejects(archive.run(join(source, 'missing')), { code: 'source.missing' })
  for (const name of ['file', 'link', 'fifo']) await assert.rejects(archive.run(join(source, name)), { code: 'source.wrong_kind' }, name)
  await assert.rejects(archive.run('relative/path'), { code: 'source.wrong_kind' })
  assert.deepEqual(await archive.repository.listSnapshots(), [])
})

test('what vanishes or changes under the run is told, and does not make the backup less than whole', async (t) => {
  const source = scratch(t)
  const archive = await openMemory(t)
  fs.writeFileSync(join(source, 'a long file'), Buffer.alloc(20 << 20, 'abc'))
  // The walk is a few dozen files ahead of the one that is read.
  for (let index = 0; index < 100; index += 1) fs.writeFileSync(join(source, `a short file ${index}`), '')
  fs.writeFileSync(join(source, 'b vanishes'), '')
  fs.mkdirSync(join(source, 'c vanishes too'))
  fs.writeFileSync(join(source, 'd'), 'becomes a directory')
  let isDone = false
  const onProgress = ({ currentPath }: ArchiveProgress) => {
    if (isDone) return
    isDone = true
    assert.equal(currentPath, join(source, 'a long file'))
    fs.appendFileSync(currentPath, 'appended')
    fs.rmSync(join(source, 'b vanishes'))
    fs.rmdirSync(join(source, 'c vanishes too'))
    fs.rmSync(join(source, 'd'))
    fs.mkdirSync(join(source, 'd'))
  }
  const result = await archive.run(source, { onProgress })
  assert.ok(result.whole)
  assert.equal(result.warningCount, 3)
  const warnings = result.warnings.map(({ code, path }) => [code, path])
  assert.deepEqual(warnings, [
    ['changed', join(source, 'a long file')], ['vanished', join(source, 'b vanishes')], ['vanished', join(source, 'c vanishes too')],
  ])
  const nodes = await archive.list(result.treeId, source)
  assert.deepEqual([...nodes.keys()].filter((name) => !name.startsWith('a short')), ['a long file', 'd'])
  assert.equal(nodes.get('a long file')?.size, 20n << 20n)
  assert.equal(nodes.get('d')?.type, 'dir')
})

test('what may not be read makes the backup incomplete, and the snapshot says so', async (t) => {
  const source = scratch(t)
  const archive = await openMemory(t)
  fs.chmodSync(source, 0o755)
  fs.writeFileSync(join(source, 'open'), 'readable')
  fs.writeFileSync(join(source, 'closed'), 'not for everybody')
  fs.mkdirSync(join(source, 'directory'))
  fs.chmodSync(join(source, 'closed'), 0)
  fs.chmodSync(join(source, 'directory'), 0)
  // Everything the run needs is loaded before its rights are taken away.
  await archive.run(scratch(t))
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(65_534)
  let result
  try {
    result = await archive.run(source)
  } finally {
    if (isRoot) process.seteuid?.(0)
    fs.chmodSync(join(source, 'directory'), 0o700)
  }
  assert.equal(result.whole, false)
  assert.deepEqual(result.warnings.map(({ code, path }) => [code, path]), [
    ['unreadable', join(source, 'closed')], ['unreadable', join(source, 'directory')],
  ])
  assert.match(result.warnings[0]?.message ?? '', /EACCES/)
  const nodes = await archive.list(result.treeId, source)
  assert.ok(!nodes.has('closed'))
  assert.equal((await archive.content(nodes.get('open'))).toString(), 'readable')
  const snapshot = await archive.repository.findSnapshot(result.snapshotId)
  assert.deepEqual(snapshot?.tags, ['a', 'b', INCOMPLETE_TAG])
})

test('a file that fails while it is read makes the backup incomplete, and the rest is in it', async (t) => {
  const archive = await openMemory(t)
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] })
  t.after(() => child.kill())
  // The first page of no process can be read, so the kernel's file of its memory begins with an error.
  const source = `/proc/${child.pid}/task/${child.pid}`
  const result = await archive.run(source)
  assert.equal(result.whole, false)
  const failed = result.warnings.find(({ path }) => path === `${source}/mem`)
  assert.equal(failed?.code, 'unreadable')
  assert.match(failed?.message ?? '', /EIO/)
  const nodes = await archive.list(result.treeId, source)
  assert.ok(!nodes.has('mem'))
  assert.equal((await archive.content(nodes.get('status'))).toString().split('\t')[0], 'Name:')
})

test('mount points of other file systems stay empty when only one is asked for', async (t) => {
  const archive = await openMemory(t)
  const { dev } = fs.statSync('/dev')
  const mounted = fs.readdirSync('/dev').filter((name) => {
    const stat = fs.lstatSync(join('/dev', name))
    return stat.isDirectory() && stat.dev !== dev
  })
  assert.ok(mounted.length > 0, 'this test needs any file system mounted below /dev')
  const result = await archive.run('/dev', { oneFileSystem: true })
  for (const name of mounted) assert.equal((await archive.list(result.treeId, `/dev/${name}`)).size, 0, name)
  const skipped = result.skipped.map(({ path, reason }) => ({ path, reason }))
  assert.deepEqual(skipped, mounted.sort().map((name) => ({ path: `/dev/${name}`, reason: 'other_file_system' })))
})

test('a hole costs no reading, and is cut as its zeros would be', async (t) => {
  const archive = await openMemory(t)
  const mebibyte = 1 << 20
  const data = Buffer.alloc(3 * mebibyte)
  for (let at = 0; at < data.length; at += 4) data.writeUInt32LE((at * 2_654_435_761) >>> 0, at)
  const layouts: readonly (readonly [at: number, bytes: number])[][] = [
    [], [[0, 1]], [[5 * mebibyte, 3 * mebibyte]], [[0, mebibyte], [7 * mebibyte + 4096, 8192], [20 * mebibyte, 3 * mebibyte]],
    [[mebibyte / 2, 100], [3 * mebibyte / 2, 100], [22 * mebibyte - 1, 2 * mebibyte]],
  ]
  for (const [index, layout] of layouts.entries()) {
    const source = scratch(t)
    const sizeBytes = 24 * mebibyte + 12_345
    for (const name of ['sparse', 'written']) {
      const file = fs.openSync(join(source, name), 'w')
      if (name === 'written') fs.writeSync(file, Buffer.alloc(sizeBytes))
      else fs.ftruncateSync(file, sizeBytes)
      for (const [at, bytes] of layout) fs.writeSync(file, data, 0, bytes, at)
      fs.fsyncSync(file)
      fs.closeSync(file)
    }
    const { blocks } = fs.statSync(join(source, 'sparse'))
    assert.ok(blocks * 512 < sizeBytes / 2, 'the temporary directory must support sparse files')
    const result = await archive.run(source)
    const nodes = await archive.list(result.treeId, source)
    assert.deepEqual(nodes.get('sparse')?.content, nodes.get('written')?.content, `layout ${index}`)
    assert.equal(nodes.get('sparse')?.size, BigInt(sizeBytes))
    assert.ok((await archive.content(nodes.get('sparse'))).equals(fs.readFileSync(join(source, 'sparse'))))
  }
})

test('files of the kernel, which say that they are empty, are kept with what they hold', async (t) => {
  const archive = await openMemory(t)
  const result = await archive.run('/proc/sys/kernel/random')
  const node = (await archive.list(result.treeId, '/proc/sys/kernel/random')).get('boot_id')
  const expected = fs.readFileSync('/proc/sys/kernel/random/boot_id')
  assert.deepEqual(await archive.content(node), expected)
  assert.equal(node?.size, BigInt(expected.length))
})

test('a cancelled run commits nothing, and the next one need not store again what it stored', async (t) => {
  const source = scratch(t)
  for (let index = 0; index < 300; index += 1) fs.writeFileSync(join(source, `file ${index}`), `content ${index}`.repeat(1000))
  const archive = await openMemory(t)
  const cancelling = new AbortController()
  const onProgress = ({ filesDone }: ArchiveProgress) => {
    if (filesDone >= 200) cancelling.abort(new Error('enough'))
  }
  await assert.rejects(archive.run(source, { signal: cancelling.signal, onProgress }), { code: 'cancelled' })
  assert.deepEqual(await archive.repository.listSnapshots(), [])
  const result = await archive.run(source)
  assert.equal(result.files.new, 300)
  assert.ok(result.dataBlobs <= 100, `${result.dataBlobs} were stored`)
  await assert.rejects(archive.run(source, { signal: AbortSignal.abort() }), { code: 'cancelled' })
})

test('a run that is cancelled and whose lock is gone names nothing: others may have removed its packs', async (t) => {
  const source = scratch(t)
  for (let file = 0; file < 200; file += 1) fs.writeFileSync(join(source, `${file}`), `content ${file}`)
  const storage = memoryStorage()
  await initRepository(storage, { password: 'x', kdf })
  const removed: string[] = []
  await using repository = await openRepository({
    ...storage,
    async put(key, parts, options) {
      await storage.put(key, parts, options)
      if (!key.startsWith('data/')) return
      // Somebody takes the lock away and prunes: nobody speaks for this pack.
      for (const lock of await Array.fromAsync(storage.list('locks/'))) await storage.delete(lock.key)
      await storage.delete(key)
      removed.push(key)
    },
  }, { password: 'x' })
  const cancelling = new AbortController()
  await using lock = await repository.lock({ exclusive: false, settleMs: 0 })
  await assert.rejects(archiveTree(repository, lock, {
    path: source, hostname: 'host', tags: [], time: new Date(0), signal: cancelling.signal,
    onProgress: ({ filesDone }) => {
      if (filesDone >= 100) cancelling.abort(new Error('enough'))
    },
  }), { code: 'cancelled' })
  assert.ok(removed.length > 0)
  assert.deepEqual(await Array.fromAsync(storage.list('index/')), [])
  // Nor does a later run count on them, before it has looked anew.
  await assert.rejects(repository.saveBlob('data', Buffer.from('content 0')), { code: 'repository.lock_lost' })
})

test('a storage that fills up ends the run with its own failure', async (t) => {
  const source = scratch(t)
  for (let index = 0; index < 30; index += 1) fs.writeFileSync(join(source, `file ${index}`), Buffer.alloc(300_000, index))
  const storage = memoryStorage()
  await initRepository(storage, { password: 'x', kdf })
  const faulty = withFaults(storage, ({ operation, key }) =>
    operation === 'put' && key.startsWith('data/') ? { kind: 'fail', code: 'storage.full' } : undefined)
  await using repository = await openRepository(faulty, { password: 'x' })
  await assert.rejects(new Archive(repository).run(source), { code: 'storage.full' })
})

interface Thing {
  readonly name: Buffer
  readonly kind: 'file' | 'dir' | 'symlink' | 'fifo'
  readonly bytes: Buffer
  readonly mode: number
  readonly mtimeNs: bigint
  readonly attribute: Buffer | undefined
  readonly children: readonly Thing[]
}

const bytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array))
const name = fc.oneof(
  bytes(1, 12).map((raw) => raw.map((byte) => (byte === 0 || byte === 0x2f ? 0x61 : byte)) as Buffer),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).map((text) => Buffer.from(text.replaceAll(/[/\0]/g, '_'))),
).map((raw) => (/^\.{1,2}$/.test(raw.toString()) ? Buffer.from('dots') : raw))
const { things } = fc.letrec<{ thing: Thing; things: readonly Thing[] }>((tie) => ({
  things: fc.uniqueArray(tie('thing'), { maxLength: 5, depthIdentifier: 'tree', selector: (thing) => thing.name.toString('latin1') }),
  thing: fc.record({
    name,
    kind: fc.constantFrom('file', 'file', 'dir', 'symlink', 'fifo'),
    bytes: bytes(1, 200),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    mtimeNs: fc.bigInt({ min: -(2n ** 31n) * 10n ** 9n, max: 2n ** 33n * 10n ** 9n }),
    attribute: fc.option(bytes(0, 50), { nil: undefined }),
    children: fc.oneof({ depthIdentifier: 'tree', depthSize: 'small' }, fc.constant([]), tie('things')),
  }),
}))

function build(directory: Buffer, children: readonly Thing[]): void {
  for (const { name: itsName, kind, bytes: content, mode, mtimeNs, attribute, children: inside } of children) {
    const path = Buffer.concat([directory, Buffer.from('/'), itsName])
    if (kind === 'dir') {
      fs.mkdirSync(path)
      build(path, inside)
    } else if (kind === 'file') fs.writeFileSync(path, content)
    else if (kind === 'fifo') makeNode(path, S_IFIFO | 0o600, 0n)
    else fs.symlinkSync(Buffer.from(content.map((byte) => byte || 1)), path)
    if (kind === 'file' || kind === 'dir') {
      if (attribute !== undefined) setXattr(path, Buffer.from('user.random'), attribute)
      // The owner must still be able to read it, and to clear it away.
      fs.chmodSync(path, mode | 0o700)
    }
    setTimes(path, { accessedNs: 0n, modifiedNs: mtimeNs })
  }
}

test('random trees are in the snapshot as they are on disk', async (t) => {
  const archive = await openMemory(t)
  async function assertSame(path: Buffer, subtree: BlobId | undefined): Promise<void> {
    assert.ok(subtree !== undefined)
    const nodes = await archive.nodes(subtree)
    const names = fs.readdirSync(path, { encoding: 'buffer' })
    assert.deepEqual([...nodes.keys()].sort(), names.map((raw) => raw.toString('latin1')).sort())
    for (const raw of names) {
      const node = nodes.get(raw.toString('latin1'))
      const place = Buffer.concat([path, Buffer.from('/'), raw])
      const stat = fs.lstatSync(place, { bigint: true })
      assert.ok(node !== undefined)
      assert.equal(node.mtime, formatTreeTime(stat.mtimeNs))
      assert.equal(node.mode & 0o777, Number(stat.mode) & 0o777)
      assert.equal(node.type === 'file' && stat.isFile() || node.type === 'dir' && stat.isDirectory() || node.type === 'symlink' && stat.isSymbolicLink()
        || node.type === 'fifo' && stat.isFIFO(), true)
      const attributes = stat.isSymbolicLink() ? [] : listXattrs(place).map((key) => ({ name: key.toString(), value: findXattr(place, key) }))
      assert.deepEqual(node.extendedAttributes, attributes)
      if (stat.isFile()) assert.deepEqual(await archive.content(node), fs.readFileSync(place))
      if (stat.isSymbolicLink()) assert.deepEqual(node.linkTarget, fs.readlinkSync(place, { encoding: 'buffer' }))
      if (stat.isDirectory()) await assertSame(place, node.subtree)
    }
  }
  await fc.assert(fc.asyncProperty(things, async (children) => {
    const source = scratch(t)
    build(Buffer.from(source), children)
    const result = await archive.run(source)
    assert.ok(result.whole)
    let nodes = await archive.nodes(result.treeId)
    for (const part of source.split('/').slice(1, -1)) nodes = await archive.nodes(nodes.get(part)?.subtree ?? assert.fail(part))
    await assertSame(Buffer.from(source), nodes.get(source.slice(source.lastIndexOf('/') + 1))?.subtree)
    fs.rmSync(source, { recursive: true })
  }), { numRuns: 40 })
})
