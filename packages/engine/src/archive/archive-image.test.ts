import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { memoryStorage } from '@opencbr/storage'
import { decodeTree, type TreeNode } from '../format/tree.ts'
import { makeNode, setTimes, S_IFIFO } from '../posix/posix.ts'
import { initRepository } from '../repository/init-repository.ts'
import { openRepository } from '../repository/unlock-repository.ts'
import type { Repository } from '../repository/repository.ts'
import type { BlobId } from '../repository/types.ts'
import { archiveImage } from './archive-image.ts'
import type { ArchiveOptions, ArchiveProgress } from './archive-result.ts'
import { ZERO_CHUNK_BYTES, zeroChunkId } from './save-file.ts'

const MEBIBYTE = 1 << 20

function scratch(t: TestContext): string {
  const directory = fs.mkdtempSync(join(tmpdir(), 'opencbr-image-'))
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function openMemory(t: TestContext): Promise<Repository> {
  const storage = memoryStorage()
  await initRepository(storage, { password: 'x', kdf: { N: 2, r: 1, p: 1 } })
  const repository = await openRepository(storage, { password: 'x' })
  t.after(() => repository[Symbol.asyncDispose]())
  return repository
}

async function archive(repository: Repository, path: string, options: Partial<ArchiveOptions> = {}) {
  await using lock = await repository.lock({ exclusive: false, settleMs: 0 })
  return await archiveImage(repository, lock, { path, hostname: 'host', tags: [], time: new Date(0), ...options })
}

async function findNode(repository: Repository, treeId: BlobId, path: string): Promise<TreeNode> {
  let node: TreeNode | undefined
  let id: BlobId | undefined = treeId
  for (const name of path.split('/').slice(1)) {
    assert.ok(id !== undefined)
    node = decodeTree(await repository.loadBlob('tree', id)).find((candidate) => candidate.name.toString() === name)
    id = node?.subtree
  }
  assert.ok(node !== undefined, path)
  return node
}

async function contentOf(repository: Repository, node: TreeNode): Promise<Buffer> {
  return Buffer.concat(await Promise.all((node.content ?? []).map((id) => repository.loadBlob('data', id))))
}

/** Different bytes in every MiB, none of them zeros. */
function patterned(bytes: number, seed = 1): Buffer {
  const data = Buffer.alloc(bytes)
  for (let at = 0; at < bytes; at += 1) data[at] = 1 + ((at + seed * 31 + (at >>> 20) * 7) % 255)
  return data
}

test('images of any length are cut at every MiB, the rest being a blob of its own', async (t) => {
  const repository = await openMemory(t)
  const path = join(scratch(t), 'disk.raw')
  for (const bytes of [0, 1, 512, MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1, 9 * MEBIBYTE + 777]) {
    const data = patterned(bytes)
    fs.writeFileSync(path, data, { mode: 0o640 })
    const result = await archive(repository, path)
    const node = await findNode(repository, result.treeId, path)
    assert.equal(node.size, BigInt(bytes))
    assert.equal(node.type, 'file')
    assert.equal(node.mode, fs.statSync(path).mode & 0o777)
    const lengths = (node.content ?? []).map((id) => repository.locate('data', id)?.plainLength)
    const rest = bytes % MEBIBYTE
    assert.deepEqual(lengths, [...Array<number>(Math.floor(bytes / MEBIBYTE)).fill(MEBIBYTE), ...(rest === 0 ? [] : [rest])])
    assert.ok((await contentOf(repository, node)).equals(data))
    assert.deepEqual([result.bytesProcessed, result.files.new, result.whole], [bytes, 1, true])
  }
})

test('a MiB of zeros is two blobs of 512 KiB, whether it is written or a hole', async (t) => {
  const repository = await openMemory(t)
  const directory = scratch(t)
  const data = Buffer.concat([Buffer.alloc(2 * MEBIBYTE), patterned(MEBIBYTE), Buffer.alloc(3 * MEBIBYTE), Buffer.alloc(1000)])
  // Zeros up to the last byte of a MiB are no zero MiB.
  data[5 * MEBIBYTE - 1] = 1
  fs.writeFileSync(join(directory, 'written'), data)
  const sparse = fs.openSync(join(directory, 'sparse'), 'w')
  fs.ftruncateSync(sparse, data.length)
  fs.writeSync(sparse, data, 2 * MEBIBYTE, MEBIBYTE, 2 * MEBIBYTE)
  fs.writeSync(sparse, data, 5 * MEBIBYTE - 1, 1, 5 * MEBIBYTE - 1)
  fs.closeSync(sparse)
  const written = await findNode(repository, (await archive(repository, join(directory, 'written'))).treeId, join(directory, 'written'))
  const holes = await findNode(repository, (await archive(repository, join(directory, 'sparse'))).treeId, join(directory, 'sparse'))
  assert.deepEqual(holes.content, written.content)
  const zero = written.content?.map((id) => id === zeroChunkId)
  assert.deepEqual(zero, [true, true, true, true, false, true, true, false, true, true, false])
  assert.equal(repository.locate('data', zeroChunkId)?.plainLength, ZERO_CHUNK_BYTES)
  assert.ok((await contentOf(repository, holes)).equals(data))
})

test('of a changed image only what changed is stored, an unchanged one is not read', async (t) => {
  const repository = await openMemory(t)
  const path = join(scratch(t), 'disk.raw')
  const data = patterned(16 * MEBIBYTE)
  fs.writeFileSync(path, data)
  const first = await archive(repository, path)
  assert.equal(first.dataBlobs, 16)
  data[7 * MEBIBYTE + 5] = 0
  const file = fs.openSync(path, 'r+')
  fs.writeSync(file, data, 7 * MEBIBYTE, MEBIBYTE, 7 * MEBIBYTE)
  fs.closeSync(file)
  const second = await archive(repository, path, { parent: first.snapshotId })
  assert.deepEqual([second.dataBlobs, second.dataBytesAdded], [1, MEBIBYTE])
  assert.deepEqual(second.files, { new: 0, changed: 1, unmodified: 0 })
  assert.ok((await contentOf(repository, await findNode(repository, second.treeId, path))).equals(data))

  const third = await archive(repository, path, { parent: second.snapshotId })
  assert.deepEqual(third.files, { new: 0, changed: 0, unmodified: 1 })
  assert.deepEqual([third.dataBytesAdded, third.bytesProcessed], [0, 16 * MEBIBYTE])
  // Setting its time to what it was already changes the change time only, and that is reason enough to read.
  const { atimeNs, mtimeNs, ctimeNs } = fs.statSync(path, { bigint: true })
  setTimes(Buffer.from(path), { accessedNs: atimeNs, modifiedNs: mtimeNs })
  assert.notEqual(fs.statSync(path, { bigint: true }).ctimeNs, ctimeNs)
  const fourth = await archive(repository, path, { parent: third.snapshotId })
  assert.deepEqual(fourth.files, { new: 0, changed: 1, unmodified: 0 })
  assert.equal(fourth.dataBytesAdded, 0)
})

test('an image that becomes shorter under the run is a failure, one that is written to a warning', async (t) => {
  const repository = await openMemory(t)
  const path = join(scratch(t), 'disk.raw')
  fs.writeFileSync(path, patterned(40 * MEBIBYTE))
  let change = () => fs.truncateSync(path, 30 * MEBIBYTE)
  const onProgress = ({ bytesDone, bytesTotal, currentPath }: ArchiveProgress) => {
    assert.deepEqual([bytesTotal, currentPath], [40 * MEBIBYTE, path])
    if (bytesDone < 10 * MEBIBYTE) change()
  }
  await assert.rejects(archive(repository, path, { onProgress }), { code: 'source.changed' })
  assert.deepEqual(await repository.listSnapshots(), [])

  fs.writeFileSync(path, patterned(40 * MEBIBYTE))
  change = () => fs.appendFileSync(path, 'longer')
  const result = await archive(repository, path, { onProgress })
  assert.deepEqual(result.warnings.map(({ code, path: where }) => [code, where]), [['changed', path]])
  assert.ok(result.whole)
  assert.equal((await findNode(repository, result.treeId, path)).size, BigInt(40 * MEBIBYTE))
})

test('what is no disk is refused, and a fifo does not make the run wait', async (t) => {
  const repository = await openMemory(t)
  const directory = scratch(t)
  fs.writeFileSync(join(directory, 'file'), 'x')
  fs.symlinkSync('file', join(directory, 'link'))
  makeNode(Buffer.from(join(directory, 'fifo')), S_IFIFO | 0o600, 0n)
  for (const path of [directory, join(directory, 'link'), join(directory, 'fifo'), '/dev/null', 'relative']) {
    await assert.rejects(archive(repository, path), { code: 'source.wrong_kind' }, path)
  }
  for (const path of [join(directory, 'missing'), join(directory, 'file', 'below')]) {
    await assert.rejects(archive(repository, path), (error: Error & { code?: string }) => error.code?.startsWith('source.') === true)
  }
})

test('a cancelled run commits nothing and keeps what it stored', async (t) => {
  const repository = await openMemory(t)
  const path = join(scratch(t), 'disk.raw')
  fs.writeFileSync(path, patterned(40 * MEBIBYTE))
  const cancelling = new AbortController()
  await assert.rejects(
    archive(repository, path, { signal: cancelling.signal, onProgress: () => cancelling.abort() }), { code: 'cancelled' },
  )
  assert.deepEqual(await repository.listSnapshots(), [])
  const result = await archive(repository, path)
  assert.ok(result.dataBlobs < 40, `${result.dataBlobs} were stored`)
})
