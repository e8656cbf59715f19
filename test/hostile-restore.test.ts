/**
 * Restores against hostile repositories and hostile destinations: nothing outside the destination may
 * be made, changed or followed, whatever a tree names and whatever lies in the way.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { Failure, restoreImage, restoreTree, type Repository, type RestoreTreeOptions, type RestoreTreeResult, type SnapshotId } from '@opencbr/engine'
import { makeNode, S_IFIFO } from '../packages/engine/src/posix/posix.ts'
import {
  directoryNode, fileNode, openMemoryRepository, saveHandmadeSnapshot, symlinkNode, type HandmadeNode,
} from './support/handmade-snapshot.ts'

interface Scene {
  readonly repository: Repository
  /** The only allowed root. */
  readonly root: string
  /** In the root; not made yet. */
  readonly destination: string
  /** Beside the root, with a file `secret` and a directory `folder`. */
  readonly outside: string
  restore(snapshotId: SnapshotId, options?: Partial<RestoreTreeOptions>): Promise<RestoreTreeResult>
  /** Throws when anything outside the root is not as it was. */
  assertOutsideUntouched(): void
}

async function makeScene(t: TestContext): Promise<Scene> {
  const top = fs.mkdtempSync(join(os.tmpdir(), 'opencbr-hostile-'))
  t.after(() => fs.rmSync(top, { recursive: true, force: true }))
  const repository = await openMemoryRepository()
  t.after(() => repository[Symbol.asyncDispose]())
  const root = join(top, 'root')
  const outside = join(top, 'outside')
  fs.mkdirSync(root)
  fs.mkdirSync(join(outside, 'folder'), { recursive: true })
  fs.writeFileSync(join(outside, 'secret'), 'untouched', { mode: 0o640 })
  const destination = join(root, 'destination')
  const before = describe(outside)
  return {
    repository, root, destination, outside,
    restore: (snapshotId, options = {}) =>
      restoreTree(repository, { snapshotId, sourcePath: '/source', destination, allowedRoots: [root], ...options }),
    assertOutsideUntouched() {
      assert.deepEqual(describe(outside), before)
      assert.deepEqual(fs.readdirSync(top).sort(), ['outside', 'root'])
    },
  }
}

/** Everything that a restore could have changed about something and everything below it. */
function describe(top: string): string[] {
  const isDirectory = fs.lstatSync(top).isDirectory()
  const names = isDirectory ? fs.readdirSync(top, { recursive: true, encoding: 'utf8' }) : []
  return ['.', ...names].sort().map((name) => {
    const path = join(top, name)
    const status = fs.lstatSync(path, { bigint: true })
    const { mode, uid, gid, size, mtimeNs, ino } = status
    const content = status.isFile() ? fs.readFileSync(path, 'utf8') : ''
    // Tests themselves put things into the top directory and take them away again.
    return [name, mode, uid, gid, size, isDirectory && name === '.' ? '' : mtimeNs, ino, content].join(' ')
  })
}

function isDamage(path: string): (error: unknown) => boolean {
  return (error) => error instanceof Failure && error.code === 'repository.damaged' && error.facts['path'] === path
}

const HOSTILE_NAMES: readonly [quoted: string, bytes: string][] = [
  ['..', '..'], ['.', '.'], ['', ''], ['a/b', 'a/b'], ['/etc/passwd', '/etc/passwd'], ['../escaped', '../escaped'], ['nul\\x00byte', 'nul\0byte'],
]

for (const [quoted, bytes] of HOSTILE_NAMES) {
  test(`the name ${JSON.stringify(bytes)} is refused before anything is written, wherever it is`, async (t) => {
    const scene = await makeScene(t)
    const { repository } = scene
    const kinds: HandmadeNode[] = [
      await fileNode(repository, quoted, 'gotcha'), symlinkNode(quoted, scene.outside), await directoryNode(repository, quoted, []),
    ]
    for (const node of kinds) {
      const atTop = await saveHandmadeSnapshot(repository, [await fileNode(repository, 'good', 'good'), node])
      await assert.rejects(scene.restore(atTop), isDamage(bytes))
      const below = [await fileNode(repository, 'good', 'good'), node]
      const inDepth = await saveHandmadeSnapshot(repository, [await directoryNode(repository, 'a', [await directoryNode(repository, 'b', below)])])
      await assert.rejects(scene.restore(inDepth), isDamage(`a/b/${bytes}`))
    }
    assert.ok(!fs.existsSync(scene.destination))
    scene.assertOutsideUntouched()
  })
}

test('two entries of one name are refused, in order or not', async (t) => {
  const scene = await makeScene(t)
  const { repository } = scene
  const link = symlinkNode('trap', scene.outside)
  const directory = await directoryNode(repository, 'trap', [await fileNode(repository, 'secret', 'overwritten')])
  const other = await fileNode(repository, 'other', 'other')
  for (const nodes of [[link, directory], [directory, link], [link, other, directory], [other, link, directory]]) {
    const snapshotId = await saveHandmadeSnapshot(repository, nodes)
    await assert.rejects(scene.restore(snapshotId), isDamage('trap'))
  }
  assert.ok(!fs.existsSync(scene.destination))
  scene.assertOutsideUntouched()
})

test('names that merely look odd are restored, also out of order', async (t) => {
  const scene = await makeScene(t)
  const names = ['...', '..a', 'a..', ' ', '-rf', 'b', 'a', '\\xff']
  const nodes = await Promise.all(names.map((name) => fileNode(scene.repository, name, name)))
  const result = await scene.restore(await saveHandmadeSnapshot(scene.repository, nodes))
  assert.equal(result.files, names.length)
  assert.ok(result.whole)
  const found = fs.readdirSync(scene.destination, { encoding: 'buffer' }).map((name) => name.toString('latin1'))
  assert.deepEqual(found.sort(), [...names.slice(0, -1), '\u00ff'].sort())
})

/** A tree with a directory, a file and a link at each of three levels. */
async function threeLevels(repository: Repository): Promise<HandmadeNode[]> {
  let nodes: HandmadeNode[] = []
  for (let level = 0; level < 3; level += 1) {
    nodes = [
      await directoryNode(repository, 'directory', nodes), await fileNode(repository, 'file', 'restored ', `on level ${level}`), symlinkNode('link', '/nowhere'),
    ]
  }
  return nodes
}

test('symbolic links planted at every level are replaced, never followed', async (t) => {
  const scene = await makeScene(t)
  const snapshotId = await saveHandmadeSnapshot(scene.repository, await threeLevels(scene.repository))
  let directory = scene.destination
  for (let level = 0; level < 3; level += 1) {
    for (const isAbsolute of [true, false]) {
      fs.rmSync(scene.destination, { recursive: true, force: true })
      fs.mkdirSync(directory, { recursive: true })
      const outside = isAbsolute ? scene.outside : `${'../'.repeat(level + 2)}outside`
      assert.ok(fs.existsSync(join(isAbsolute ? '/' : directory, outside, 'secret')), 'the trap leads outside')
      fs.symlinkSync(join(outside, 'folder'), join(directory, 'directory'))
      fs.symlinkSync(join(outside, 'secret'), join(directory, 'file'))
      fs.symlinkSync(join(outside, 'secret'), join(directory, 'link'))
      fs.symlinkSync(join(outside, 'secret'), join(directory, 'extra'))
      const result = await scene.restore(snapshotId)
      assert.deepEqual(result.warnings, [])
      assert.ok(result.whole)
      assert.ok(fs.lstatSync(join(directory, 'directory')).isDirectory())
      assert.equal(fs.readFileSync(join(directory, 'file'), 'utf8'), `restored on level ${2 - level}`)
      assert.ok(fs.lstatSync(join(directory, 'file')).isFile())
      assert.equal(fs.readlinkSync(join(directory, 'link')), '/nowhere')
      assert.equal(fs.readlinkSync(join(directory, 'extra')), join(outside, 'secret'), 'what the backup does not know stays')
      scene.assertOutsideUntouched()
    }
    directory = join(directory, 'directory')
  }
})

test('hard links planted to files outside are unlinked, not written through', async (t) => {
  const scene = await makeScene(t)
  const { repository } = scene
  const linked = { links: 2, inode: 77, device_id: 1, mode: 0o600 }
  const snapshotId = await saveHandmadeSnapshot(repository, [
    { ...(await fileNode(repository, 'first', 'other text')), ...linked },
    { ...(await fileNode(repository, 'second', 'other text')), ...linked },
    // The very content that the file outside has: only its attributes differ.
    { ...(await fileNode(repository, 'same', 'untouched')), mode: 0o777 },
    await fileNode(repository, 'single', 'other text'),
    { name: 'fifo', type: 'fifo', mode: 2 ** 25 + 0o666 },
    symlinkNode('link', 'anywhere'),
  ])
  makeNode(Buffer.from(join(scene.outside, 'fifo')), S_IFIFO | 0o600, 0n)
  fs.symlinkSync('anywhere', join(scene.outside, 'link'))
  fs.lutimesSync(join(scene.outside, 'link'), 1, 1)
  const before = [describe(join(scene.outside, 'fifo')), describe(join(scene.outside, 'link'))]
  fs.mkdirSync(scene.destination)
  for (const name of ['first', 'second', 'same', 'single']) fs.linkSync(join(scene.outside, 'secret'), join(scene.destination, name))
  for (const name of ['fifo', 'link']) fs.linkSync(join(scene.outside, name), join(scene.destination, name))
  const result = await scene.restore(snapshotId)
  assert.deepEqual(result.warnings, [])
  assert.deepEqual([describe(join(scene.outside, 'fifo')), describe(join(scene.outside, 'link'))], before)
  for (const name of ['fifo', 'link']) fs.unlinkSync(join(scene.outside, name))
  scene.assertOutsideUntouched()
  assert.equal(fs.readFileSync(join(scene.destination, 'single'), 'utf8'), 'other text')
  assert.equal(fs.statSync(join(scene.destination, 'same')).mode & 0o777, 0o777)
  assert.equal(fs.statSync(join(scene.destination, 'first')).ino, fs.statSync(join(scene.destination, 'second')).ino)
  assert.equal(fs.statSync(join(scene.outside, 'secret')).nlink, 1)
})

test('a group of links of which one name is outside is not taken for the restored one', async (t) => {
  const scene = await makeScene(t)
  const linked = { links: 2, inode: 77, device_id: 1 }
  const snapshotId = await saveHandmadeSnapshot(scene.repository, [
    { ...(await fileNode(scene.repository, 'first', 'new content')), ...linked }, { ...(await fileNode(scene.repository, 'second', 'new content')), ...linked },
  ])
  await scene.restore(snapshotId)
  const hidden = join(scene.root, 'kept by somebody')
  fs.linkSync(join(scene.destination, 'first'), hidden)
  fs.writeFileSync(hidden, 'old content')
  await scene.restore(snapshotId)
  assert.equal(fs.readFileSync(hidden, 'utf8'), 'old content')
  assert.equal(fs.readFileSync(join(scene.destination, 'second'), 'utf8'), 'new content')
})

test('fifos, sockets, links and empty directories in the way of a file give way, and nothing hangs', async (t) => {
  const scene = await makeScene(t)
  const { repository, destination } = scene
  const names = ['empty', 'fifo', 'full', 'link']
  const snapshotId = await saveHandmadeSnapshot(repository, await Promise.all(names.map((name) => fileNode(repository, name, `content of ${name}`))))
  fs.mkdirSync(join(destination, 'full', 'of', 'life'), { recursive: true })
  fs.mkdirSync(join(destination, 'empty'))
  makeNode(Buffer.from(join(destination, 'fifo')), S_IFIFO | 0o666, 0n)
  fs.symlinkSync('fifo', join(destination, 'link'))
  const result = await scene.restore(snapshotId)
  for (const name of ['empty', 'fifo', 'link']) assert.equal(fs.readFileSync(join(destination, name), 'utf8'), `content of ${name}`)
  assert.deepEqual(result.warnings.map(({ path, code }) => [path, code]), [['full', 'name.occupied']])
  assert.ok(!result.whole, 'a file is not in place')
  assert.ok(fs.existsSync(join(destination, 'full', 'of', 'life')), 'the content of the directory in the way stays')
  scene.assertOutsideUntouched()
})

test('a destination outside the allowed roots is forbidden, however it is named', async (t) => {
  const scene = await makeScene(t)
  const snapshotId = await saveHandmadeSnapshot(scene.repository, [await fileNode(scene.repository, 'file', 'x')])
  fs.mkdirSync(`${scene.root}/inside`)
  fs.symlinkSync(scene.outside, `${scene.root}/to outside`)
  fs.symlinkSync('missing', `${scene.root}/dangling`)
  fs.symlinkSync('loop', `${scene.root}/loop`)
  fs.writeFileSync(`${scene.root}/file`, '')
  const forbidden = [
    scene.outside, `${scene.root}-neighbour`, `${scene.root}/../outside`, `${scene.root}/inside/../../outside`, '/', '', 'relative', './relative',
    `${scene.root}/to outside`, `${scene.root}/to outside/folder`, `${scene.root}/to outside/new`, `${scene.root}/dangling`, `${scene.root}/dangling/x`,
    `${scene.root}/missing/../../outside`, `${scene.root}/missing/../../new`, `${scene.root}/loop`, `${scene.root}/nul\0byte`, `${scene.root}/file`, `${scene.root}/file/below`,
  ]
  for (const destination of forbidden) {
    await assert.rejects(scene.restore(snapshotId, { destination }), { code: 'destination.forbidden' }, destination)
    await assert.rejects(scene.restore(snapshotId, { destination, allowedRoots: [] }), { code: 'destination.forbidden' }, destination)
  }
  for (const allowedRoots of [[], ['relative'], [`${scene.root}/missing`], [`${scene.root}/dest`], ['']]) {
    await assert.rejects(scene.restore(snapshotId, { allowedRoots }), { code: 'destination.forbidden' })
  }
  scene.assertOutsideUntouched()
  assert.deepEqual(fs.readdirSync(scene.root).sort(), ['dangling', 'file', 'inside', 'loop', 'to outside'])
})

test('links in the way to the destination are resolved when they stay inside the roots', async (t) => {
  const scene = await makeScene(t)
  const snapshotId = await saveHandmadeSnapshot(scene.repository, [await fileNode(scene.repository, 'file', 'x')])
  fs.mkdirSync(`${scene.root}/real`)
  fs.symlinkSync('real', `${scene.root}/alias`)
  fs.symlinkSync(scene.root, `${scene.root}/real/again`)
  await scene.restore(snapshotId, { destination: `${scene.root}/alias/a/b` })
  assert.equal(fs.readFileSync(`${scene.root}/real/a/b/file`, 'utf8'), 'x')
  await scene.restore(snapshotId, { destination: `${scene.root}//real/./again/c/`, allowedRoots: [`${scene.root}/alias/again`] })
  assert.equal(fs.readFileSync(`${scene.root}/c/file`, 'utf8'), 'x')
  scene.assertOutsideUntouched()
})

test('a directory exchanged for a link during the restore is not followed', async (t) => {
  const scene = await makeScene(t)
  const { repository, destination } = scene
  const inside: HandmadeNode[] = []
  for (let number = 100; number < 150; number += 1) inside.push(await fileNode(repository, `file ${number}`, `content ${number}`))
  const snapshotId = await saveHandmadeSnapshot(repository, [
    await directoryNode(repository, 'a', inside), await directoryNode(repository, 'b', [await directoryNode(repository, 'c', inside)]), await fileNode(repository, 'first', '1'),
  ])
  let isExchanged = false
  const restoring = scene.restore(snapshotId, {
    onProgress() {
      if (isExchanged || !fs.existsSync(join(destination, 'b', 'c'))) return
      isExchanged = true
      fs.renameSync(join(destination, 'a'), join(destination, 'moved a'))
      fs.symlinkSync(scene.outside, join(destination, 'a'))
      fs.renameSync(join(destination, 'b'), join(destination, 'moved b'))
      fs.symlinkSync(scene.outside, join(destination, 'b'))
    },
  })
  await restoring.catch((error: unknown) => assert.ok(error instanceof Failure && error.code === 'destination.changed'))
  assert.ok(isExchanged)
  scene.assertOutsideUntouched()
})

test('sizes that trees claim do not decide how much is written', async (t) => {
  const scene = await makeScene(t)
  const { repository, destination } = scene
  const snapshotId = await saveHandmadeSnapshot(repository, [
    { ...(await fileNode(repository, 'empty but huge')), size: 2 ** 50 },
    { ...(await fileNode(repository, 'huge', 'a few bytes')), size: 2 ** 50 },
    { ...(await fileNode(repository, 'long', 'a few bytes')), size: 3 },
    { ...(await fileNode(repository, 'none', 'a few bytes')), content: null, size: 11 },
    { name: 'void', type: 'dir', mode: 2 ** 31 + 0o700 },
    { name: 'what', type: 'irregular' },
  ])
  const result = await scene.restore(snapshotId)
  assert.deepEqual(result.warnings.map(({ path, code }) => `${path}: ${code}`).sort(), [
    'empty but huge: content.size_differs', 'huge: content.size_differs', 'long: content.size_differs', 'none: content.size_differs',
    'void: directory.damaged', 'what: type.unknown',
  ])
  assert.ok(!result.whole)
  assert.equal(fs.readFileSync(join(destination, 'huge'), 'utf8'), 'a few bytes')
  assert.equal(fs.readFileSync(join(destination, 'long'), 'utf8'), 'a few bytes')
  assert.equal(fs.statSync(join(destination, 'empty but huge')).size, 0)
})

test('a damaged file of several names is told of under each of them, and not made up when nothing of it is left', async (t) => {
  const scene = await makeScene(t)
  const { repository, destination } = scene
  const missing = 'f'.repeat(64)
  const half = await fileNode(repository, 'half 1', 'this half is there ')
  const halfContent = { ...half, links: 3, inode: 1, device_id: 1, content: [...(half['content'] as string[]), missing], size: 30 }
  const lost = { ...half, links: 3, inode: 2, device_id: 1, content: [missing], size: 30 }
  // More chunks than two windows hold: the last names come when the damaged file is long finished.
  const one = await fileNode(repository, 'filled', 'x')
  const filled = { ...one, content: Array.from({ length: 20_000 }, () => (one['content'] as string[])[0]), size: 20_000 }
  const nodes = [halfContent, { ...halfContent, name: 'half 2' }, { ...lost, name: 'lost 1' }, { ...lost, name: 'lost 2' }]
  const snapshotId = await saveHandmadeSnapshot(repository, [
    ...nodes, filled,
    await directoryNode(repository, 'last', [{ ...halfContent, name: 'half 3' }, { ...lost, name: 'lost 3' }]),
  ])
  for (const round of [1, 2]) {
    const result = await scene.restore(snapshotId)
    assert.deepEqual(result.warnings.map(({ path, code }) => `${code} ${path}`).sort(), [
      'half 1', 'half 2', 'last/half 3', 'last/lost 3', 'lost 1', 'lost 2',
    ].map((path) => `content.damaged ${path}`), `round ${round}`)
    assert.deepEqual(fs.readdirSync(destination).sort(), ['filled', 'half 1', 'half 2', 'last'])
    assert.deepEqual(fs.readdirSync(join(destination, 'last')), ['half 3'])
    assert.equal(fs.readFileSync(join(destination, 'last/half 3'), 'latin1'), `this half is there ${'\0'.repeat(11)}`)
    assert.equal(fs.statSync(join(destination, 'half 1')).nlink, 3)
    assert.equal(fs.statSync(join(destination, 'last')).mtime.toISOString(), '2024-02-29T12:34:56.123Z')
    assert.equal(result.files, 1)
  }
})

test('a tree that multiplies without end is surveyed at once, and the restore of it can be ended', async (t) => {
  const scene = await makeScene(t)
  const { repository } = scene
  let nodes: HandmadeNode[] = []
  for (let number = 0; number < 64; number += 1) nodes.push(await fileNode(repository, `file ${number}`, 'x'))
  for (let level = 0; level < 40; level += 1) {
    const subtree = (await directoryNode(repository, 'a', nodes))['subtree']
    nodes = ['a', 'b'].map((name) => ({ name, type: 'dir', mode: 2 ** 31 + 0o755, subtree }))
  }
  const snapshotId = await saveHandmadeSnapshot(repository, nodes)
  const stop = new AbortController()
  let filesTotal = 0
  const restoring = scene.restore(snapshotId, {
    signal: stop.signal,
    onProgress(progress) {
      filesTotal = progress.filesTotal
      stop.abort()
    },
  })
  // The walk comes to a window's worth of files before the first is reported; that is soon enough.
  await assert.rejects(restoring, { code: 'cancelled' })
  assert.equal(filesTotal, 64 * 2 ** 40)
})

test('an image is never written through a link, into a file with other names, or outside the roots', async (t) => {
  const scene = await makeScene(t)
  const { repository, root, outside } = scene
  const snapshotId = await saveHandmadeSnapshot(repository, [await fileNode(repository, 'image', Buffer.alloc(8192, 1))])
  const restore = (targetPath: string, allowedRoots = [root]) =>
    restoreImage(repository, { snapshotId, sourcePath: '/source/image', targetPath, allowedRoots })
  fs.writeFileSync(join(root, 'large'), Buffer.alloc(8192))
  fs.symlinkSync('large', join(root, 'link'))
  fs.symlinkSync(join(outside, 'secret'), join(root, 'link out'))
  fs.symlinkSync('missing', join(root, 'dangling'))
  fs.symlinkSync(outside, join(root, 'folder out'))
  for (const name of ['link', 'link out', 'dangling', 'folder out', 'folder out/new', '../outside/new', '', '.', '..', 'nul\0byte']) {
    await assert.rejects(restore(`${root}/${name}`), { code: 'destination.forbidden' }, name)
  }
  await assert.rejects(restore(join(outside, 'new')), { code: 'destination.forbidden' })
  await assert.rejects(restore(join(root, 'large'), []), { code: 'destination.forbidden' })

  fs.writeFileSync(join(outside, 'disk'), Buffer.alloc(8192))
  fs.linkSync(join(outside, 'disk'), join(root, 'linked'))
  await assert.rejects(restore(join(root, 'linked')), { code: 'destination.unsuitable' })
  assert.deepEqual(fs.readFileSync(join(outside, 'disk')), Buffer.alloc(8192))
  fs.rmSync(join(outside, 'disk'))
  makeNode(Buffer.from(join(root, 'fifo')), S_IFIFO | 0o600, 0n)
  for (const name of ['fifo', '.']) await assert.rejects(restore(name === '.' ? root : join(root, name), [root]), /destination/)
  assert.deepEqual(fs.readFileSync(join(root, 'large')), Buffer.alloc(8192))
  assert.deepEqual(fs.readdirSync(outside).sort(), ['folder', 'secret'])
  assert.equal((await restore(join(root, 'large'), [join(root, 'large')])).whole, true)
  assert.deepEqual(fs.readFileSync(join(root, 'large')), Buffer.alloc(8192, 1))
})

/** Restores twice over the same place, as a user without any rights, and prints what came of it. */
const UNPRIVILEGED_RUN = `
  import * as fs from 'node:fs'
  import { restoreTree } from '@opencbr/engine'
  import { directoryNode, fileNode, openMemoryRepository, saveHandmadeSnapshot } from './support/handmade-snapshot.ts'
  const [root] = process.argv.slice(1)
  await using repository = await openMemoryRepository()
  const directory = async (name, mode, nodes) => ({ ...(await directoryNode(repository, name, nodes)), mode: 2 ** 31 + mode })
  const file = async (name, fields) => ({ ...(await fileNode(repository, name, name)), ...fields })
  const snapshotId = await saveHandmadeSnapshot(repository, [
    await directory('closed', 0, [await file('in closed', {})]),
    await directory('read-only', 0o555, [await file('in read-only', { mode: 0o400 }), await directory('inner', 0o300, [await file('deep', {})])]),
    await file('setuid', { uid: 0, mode: 2 ** 23 + 0o755 }),
  ])
  const runs = []
  for (const round of [1, 2]) {
    const { warnings, whole, bytesWritten } = await restoreTree(repository, { snapshotId, sourcePath: '/source', destination: root + '/destination', allowedRoots: [root] })
    runs.push({ codes: warnings.map(({ path, code }) => path + ': ' + code), whole, bytesWritten })
  }
  process.stdout.write(JSON.stringify(runs))
`

test('a user without rights restores into closed and read-only directories, and makes no setuid program of his own', async (t) => {
  const nobody = { uid: 65_534, gid: 65_534 }
  if (process.getuid?.() !== 0) {
    t.skip('only root can become another user')
    return
  }
  const canRead = spawnSync(process.execPath, ['--eval', `fs.readFileSync(${JSON.stringify(import.meta.filename)})`], nobody)
  if (canRead.status !== 0) {
    t.skip(`another user cannot read this checkout, or not run this Node: ${canRead.error?.message ?? canRead.stderr.toString()}`)
    return
  }
  const root = fs.mkdtempSync(join(os.tmpdir(), 'opencbr-hostile-'))
  t.after(() => fs.rmSync(root, { recursive: true, force: true }))
  fs.chownSync(root, nobody.uid, nobody.gid)
  const run = spawnSync(process.execPath, ['--input-type=module', '--eval', UNPRIVILEGED_RUN, root], { ...nobody, cwd: import.meta.dirname, encoding: 'utf8' })
  assert.equal(run.status, 0, run.stderr)
  const codes = ['setuid: owner.not_set', 'setuid: mode.reduced']
  const [first, second] = JSON.parse(run.stdout) as { bytesWritten: number }[]
  assert.ok(first !== undefined && first.bytesWritten > 0)
  assert.deepEqual(first, { codes, whole: true, bytesWritten: first.bytesWritten })
  assert.deepEqual(second, { codes, whole: true, bytesWritten: 0 })
  const modeOf = (name: string): number => fs.statSync(join(root, 'destination', name)).mode & 0o7777
  assert.deepEqual(['closed', 'read-only', 'read-only/inner', 'read-only/in read-only', 'setuid'].map(modeOf), [0, 0o555, 0o300, 0o400, 0o755])
  assert.equal(fs.readFileSync(join(root, 'destination/read-only/inner/deep'), 'utf8'), 'deep')
})
