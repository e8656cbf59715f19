/** Restores of what stock restic has backed up: the same bytes and attributes, again and again. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import {
  initRepository, kdfForRandomPassword, openRepository, restoreImage, restoreTree, type Repository, type RestoreTreeResult, type SnapshotId,
} from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { setTimes, setXattr } from '../packages/engine/src/posix/posix.ts'
import { compareTrees, firstDifference } from './support/compare-trees.ts'
import { makeNastyTree, pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries, resticVersion, type Restic } from './support/restic.ts'

const PASSWORD = 'only for tests'
const MEBIBYTE = 1 << 20

interface Scene {
  readonly top: string
  readonly source: string
  readonly destination: string
  readonly stock: Restic
  /** Backs the source up with stock restic and opens the repository. */
  backUp(): Promise<{ repository: Repository; snapshotId: SnapshotId }>
  restore(repository: Repository, snapshotId: SnapshotId): Promise<RestoreTreeResult>
  /** What differs between source and destination, apart from what this restic never kept. */
  differences(source?: string, destination?: string): string[]
}

/** Without a binary the repository is ours, which opens faster, and the newest stock restic backs up into it. */
async function makeScene(t: TestContext, binary?: string): Promise<Scene> {
  const top = fs.mkdtempSync(join(os.tmpdir(), 'opencbr-restore-'))
  t.after(() => fs.rmSync(top, { recursive: true, force: true }))
  const source = join(top, 'source')
  const destination = join(top, 'destination')
  fs.mkdirSync(source)
  const judge = binary ?? newestRestic()
  const version = resticVersion(judge)
  const stock = restic(judge, join(top, 'repository'), PASSWORD)
  if (binary === undefined) await initRepository(localStorage(join(top, 'repository')), { password: PASSWORD, kdf: kdfForRandomPassword })
  else stock.run('init')
  return {
    top, source, destination, stock,
    async backUp() {
      stock.run('backup', source)
      const repository = await openRepository(localStorage(join(top, 'repository')), { password: PASSWORD })
      t.after(() => repository[Symbol.asyncDispose]())
      const [newest] = (await repository.listSnapshots()).toReversed()
      assert.ok(newest !== undefined)
      await repository.loadIndex()
      return { repository, snapshotId: newest.id }
    },
    restore: (repository, snapshotId) => restoreTree(repository, { snapshotId, sourcePath: source, destination, allowedRoots: [top] }),
    differences: (expected = source, actual = destination) => compareTrees(expected, actual).filter((difference) => isKeptBy(version, difference)),
  }
}

function newestRestic(): string {
  const binary = resticBinaries().toSorted((a, b) => resticVersion(a).localeCompare(resticVersion(b), 'en', { numeric: true })).at(-1)
  assert.ok(binary !== undefined)
  return binary
}

/** Releases before 0.16 keep neither link targets that are not UTF-8 nor attributes of links. */
function isKeptBy(version: string, difference: string): boolean {
  return !/^0\.(?:\d|1[0-5])\./.test(version) || !/"(?:.*\/)?links\/.*": (?:target|attributes) is/.test(difference)
}

for (const binary of resticBinaries()) {
  const version = resticVersion(binary)
  test(`what restic ${version} backed up comes back byte for byte and attribute for attribute, also a second time`, async (t) => {
    const scene = await makeScene(t, binary)
    await makeNastyTree(Buffer.from(scene.source))
    const { repository, snapshotId } = await scene.backUp()

    const first = await scene.restore(repository, snapshotId)
    assert.deepEqual(first.warnings, [])
    assert.ok(first.whole)
    assert.deepEqual(scene.differences(), [])

    const second = await scene.restore(repository, snapshotId)
    assert.equal(second.bytesWritten, 0)
    assert.equal(second.bytesUnchanged, first.bytesWritten)
    assert.equal(second.files, first.files)
    assert.deepEqual(scene.differences(), [])
  })
}

test('what was changed in the destination is repaired, and what is extra stays', async (t) => {
  const scene = await makeScene(t)
  await makeNastyTree(Buffer.from(scene.source))
  const { repository, snapshotId } = await scene.backUp()
  await scene.restore(repository, snapshotId)
  const at = (name: string): string => join(scene.destination, name)

  // The size and the time are those of the backup, only the content is not.
  const changed = fs.openSync(at('contents/many chunks'), 'r+')
  const { mtimeNs, ino } = fs.fstatSync(changed, { bigint: true })
  fs.writeSync(changed, 'X', 5 * MEBIBYTE)
  fs.closeSync(changed)
  setTimes(Buffer.from(at('contents/many chunks')), { accessedNs: mtimeNs, modifiedNs: mtimeNs })
  fs.truncateSync(at('contents/compressible'), 1000)
  fs.appendFileSync(at('contents/one byte'), 'and more')
  fs.writeFileSync(at('contents/zeros'), Buffer.alloc(3 * MEBIBYTE, 1))
  fs.rmSync(at('folders'), { recursive: true })
  fs.writeFileSync(at('folders'), 'a file in the way of a directory')
  fs.rmSync(at('links/loop-0'))
  fs.mkdirSync(at('links/loop-0'))
  fs.chmodSync(at('contents'), 0o500)
  setXattr(Buffer.from(at('contents/empty')), Buffer.from('user.left over'), Buffer.from('x'))
  fs.writeFileSync(at('extra'), 'stays')

  const result = await scene.restore(repository, snapshotId)
  assert.ok(result.whole)
  assert.deepEqual(scene.differences(), ['"extra": not expected'])
  assert.equal(fs.readFileSync(at('extra'), 'utf8'), 'stays')
  assert.equal(fs.statSync(at('contents/many chunks'), { bigint: true }).ino, ino, 'a changed file is repaired in its place')
  // Of the big file one chunk was wrong, and no chunk has more than 8 MiB.
  assert.ok(result.bytesUnchanged > 50 * MEBIBYTE)
  assert.ok(fs.statSync(at('contents/zeros')).blocks < 100, 'zeros over data become a hole')
})

test('holes come back as holes', async (t) => {
  const scene = await makeScene(t)
  const file = fs.openSync(join(scene.source, 'sparse'), 'w')
  fs.ftruncateSync(file, 64 * MEBIBYTE + 1234)
  for (const offset of [3 * MEBIBYTE + 4096, 20 * MEBIBYTE + 100, 63 * MEBIBYTE]) fs.writeSync(file, pseudoRandomBytes(10_000, offset), 0, 10_000, offset)
  fs.closeSync(file)
  const { repository, snapshotId } = await scene.backUp()
  await scene.restore(repository, snapshotId)
  assert.deepEqual(scene.differences(), [])
  const [wanted, found] = [scene.source, scene.destination].map((directory) => fs.statSync(join(directory, 'sparse')).blocks * 512)
  assert.ok(wanted !== undefined && found !== undefined)
  assert.ok(found <= wanted + 8192, `${found} bytes are allocated instead of ${wanted}`)
})

/** A folder that takes a while: some big files, many small ones. */
function makeManyFiles(directory: string): void {
  for (let folder = 0; folder < 20; folder += 1) {
    const path = join(directory, `folder ${folder}`)
    fs.mkdirSync(path)
    for (let number = 0; number < 50; number += 1) fs.writeFileSync(join(path, `file ${number}`), pseudoRandomBytes(1000 + 37 * number, folder * 100 + number))
    fs.writeFileSync(join(path, 'big'), pseudoRandomBytes(2 * MEBIBYTE + folder, 10_000 + folder))
    fs.chmodSync(path, folder % 2 === 0 ? 0o755 : 0o555)
  }
}

/** The files and directories that this process holds open; threads have descriptors of other kinds. */
function openFiles(): string[] {
  const targets = fs.readdirSync('/proc/self/fd').map((descriptor) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${descriptor}`)
    } catch {
      // The descriptor through which the list itself was read.
      return ''
    }
  })
  return targets.filter((target) => target.startsWith('/')).toSorted()
}

test('a restore that is cancelled says so, and running it again completes it', async (t) => {
  const scene = await makeScene(t)
  makeManyFiles(scene.source)
  const { repository, snapshotId } = await scene.backUp()
  const filesBefore = openFiles()
  for (const filesWanted of [1, 300, 700]) {
    const stop = new AbortController()
    const restoring = restoreTree(repository, {
      snapshotId, sourcePath: scene.source, destination: scene.destination, allowedRoots: [scene.top], signal: stop.signal,
      onProgress({ filesDone }) {
        if (filesDone >= filesWanted) stop.abort()
      },
    })
    await assert.rejects(restoring, { code: 'cancelled' })
    assert.notDeepEqual(scene.differences(), [])
  }
  assert.deepEqual(openFiles(), filesBefore)
  const result = await scene.restore(repository, snapshotId)
  assert.ok(result.bytesUnchanged > 0)
  assert.deepEqual(scene.differences(), [])
})

test('a restore that is killed at any moment can be run again and completes', async (t) => {
  const scene = await makeScene(t)
  makeManyFiles(scene.source)
  const { repository, snapshotId } = await scene.backUp()
  const options = { snapshotId, sourcePath: scene.source, destination: scene.destination, allowedRoots: [scene.top] }
  const program = `
    import { openRepository, restoreTree } from '@opencbr/engine'
    import { localStorage } from '@opencbr/storage'
    const repository = await openRepository(localStorage(${JSON.stringify(join(scene.top, 'repository'))}), { password: ${JSON.stringify(PASSWORD)} })
    await repository.loadIndex()
    await restoreTree(repository, { ...${JSON.stringify(options)}, onProgress: ({ bytesDone }) => process.stdout.write(bytesDone + '\\n') })
  `
  for (const bytesWanted of [1, 5 * MEBIBYTE, 20 * MEBIBYTE]) {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] })
    child.stdout.on('data', (text: Buffer) => {
      if (Number(text.toString().trim().split('\n').at(-1)) >= bytesWanted) child.kill('SIGKILL')
    })
    const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
    assert.equal(signal, 'SIGKILL')
  }
  const result = await scene.restore(repository, snapshotId)
  assert.ok(result.bytesUnchanged > 0)
  assert.ok(result.whole)
  assert.deepEqual(scene.differences(), [])
})

test('a part of a snapshot is found by its path, and what is not there is said', async (t) => {
  const scene = await makeScene(t)
  await makeNastyTree(Buffer.from(scene.source))
  const { repository, snapshotId } = await scene.backUp()
  const options = { snapshotId, destination: scene.destination, allowedRoots: [scene.top] }
  await restoreTree(repository, { ...options, sourcePath: join(scene.source, 'names') })
  assert.deepEqual(scene.differences(join(scene.source, 'names')), [])
  for (const sourcePath of ['/missing', join(scene.source, 'missing'), join(scene.source, 'contents/empty'), join(scene.source, 'contents/empty/below')]) {
    await assert.rejects(restoreTree(repository, { ...options, sourcePath }), { code: 'snapshot.path_not_found' })
  }
  await assert.rejects(restoreTree(repository, { ...options, sourcePath: '/', snapshotId: 'f'.repeat(64) as SnapshotId }), { code: 'snapshot.not_found' })
  await restoreTree(repository, { ...options, sourcePath: '/', destination: join(scene.top, 'whole') })
  assert.deepEqual(scene.differences(scene.source, join(scene.top, 'whole', scene.source)), [])
})

// Images.

const IMAGE_BYTES = 24 * MEBIBYTE + 512

function makeImage(path: string): void {
  const file = fs.openSync(path, 'wx', 0o640)
  fs.ftruncateSync(file, IMAGE_BYTES)
  for (const megabyte of [0, 1, 7, 8, 23]) fs.writeSync(file, pseudoRandomBytes(MEBIBYTE, megabyte), 0, MEBIBYTE, megabyte * MEBIBYTE)
  fs.closeSync(file)
}

test('an image goes into a new file, sparse and with its attributes', async (t) => {
  const scene = await makeScene(t)
  const image = join(scene.source, 'disk.img')
  makeImage(image)
  const { repository, snapshotId } = await scene.backUp()
  const targetPath = join(scene.top, 'new folder', 'restored.img')
  const result = await restoreImage(repository, { snapshotId, sourcePath: image, targetPath, allowedRoots: [scene.top] })
  assert.deepEqual([result.bytesWritten, result.bytesUnchanged, result.whole], [IMAGE_BYTES, 0, true])
  assert.equal(firstDifference(image, targetPath), undefined)
  const [wanted, found] = [fs.statSync(image), fs.statSync(targetPath)]
  assert.ok(found.blocks <= wanted.blocks + 16, `${found.blocks} blocks instead of ${wanted.blocks}`)
  assert.equal(found.mode, wanted.mode)
})

test('an image goes back into a file that is there: only what differs is written, the rest of the file stays', async (t) => {
  const scene = await makeScene(t)
  const image = join(scene.source, 'disk.img')
  makeImage(image)
  const { repository, snapshotId } = await scene.backUp()
  const targetPath = join(scene.top, 'bigger.img')
  const options = { snapshotId, sourcePath: image, targetPath, allowedRoots: [scene.top] }
  fs.copyFileSync(image, targetPath)
  fs.appendFileSync(targetPath, 'behind the end')
  fs.chmodSync(targetPath, 0o604)
  const target = fs.openSync(targetPath, 'r+')
  fs.writeSync(target, 'in a hole', 4 * MEBIBYTE + 99)
  fs.writeSync(target, 'in data', 7 * MEBIBYTE + 99)
  fs.writeSync(target, Buffer.alloc(MEBIBYTE), 0, MEBIBYTE, 23 * MEBIBYTE)
  fs.closeSync(target)

  const result = await restoreImage(repository, options)
  assert.ok(result.whole)
  assert.equal(result.bytesWritten + result.bytesUnchanged, IMAGE_BYTES)
  // Three places were changed, each in one or two chunks of at most 8 MiB.
  assert.ok(result.bytesWritten > 0 && result.bytesUnchanged > 0)
  const restored = fs.readFileSync(targetPath)
  assert.equal(restored.compare(fs.readFileSync(image), 0, IMAGE_BYTES, 0, IMAGE_BYTES), 0)
  assert.equal(restored.subarray(IMAGE_BYTES).toString(), 'behind the end')
  assert.equal(fs.statSync(targetPath).mode & 0o777, 0o604)

  const again = await restoreImage(repository, options)
  assert.deepEqual([again.bytesWritten, again.bytesUnchanged], [0, IMAGE_BYTES])
})

test('an image does not go into something smaller, which stays as it is', async (t) => {
  const scene = await makeScene(t)
  const image = join(scene.source, 'disk.img')
  makeImage(image)
  const { repository, snapshotId } = await scene.backUp()
  const targetPath = join(scene.top, 'smaller.img')
  fs.writeFileSync(targetPath, Buffer.alloc(IMAGE_BYTES - 1, 9))
  await assert.rejects(restoreImage(repository, { snapshotId, sourcePath: image, targetPath, allowedRoots: [scene.top] }), {
    code: 'destination.too_small', facts: { path: targetPath, sizeBytes: IMAGE_BYTES - 1, neededBytes: IMAGE_BYTES },
  })
  assert.ok(fs.readFileSync(targetPath).equals(Buffer.alloc(IMAGE_BYTES - 1, 9)))
})

test('an image restore that is cancelled can be run again', async (t) => {
  const scene = await makeScene(t)
  const image = join(scene.source, 'disk.img')
  makeImage(image)
  const { repository, snapshotId } = await scene.backUp()
  const options = { snapshotId, sourcePath: image, targetPath: join(scene.top, 'restored.img'), allowedRoots: [scene.top] }
  const stop = new AbortController()
  const restoring = restoreImage(repository, { ...options, signal: stop.signal, onProgress: () => stop.abort() })
  await assert.rejects(restoring, { code: 'cancelled' })
  const result = await restoreImage(repository, options)
  assert.ok(result.whole)
  assert.equal(firstDifference(image, options.targetPath), undefined)
})

test('an image goes onto a block device: what was there is overwritten, zeros included, and nothing behind it', async (t) => {
  const scene = await makeScene(t)
  const image = join(scene.source, 'disk.img')
  makeImage(image)
  const { repository, snapshotId } = await scene.backUp()
  const backing = join(scene.top, 'backing')
  fs.writeFileSync(backing, pseudoRandomBytes(32 * MEBIBYTE, 99))
  const attached = spawnSync('losetup', ['--find', '--show', backing], { encoding: 'utf8' })
  if (attached.status !== 0) {
    t.skip(`no loop device can be made here: ${attached.error?.message ?? attached.stderr.trim()}`)
    return
  }
  const device = attached.stdout.trim()
  t.after(() => spawnSync('losetup', ['--detach', device]))
  const options = { snapshotId, sourcePath: image, targetPath: device }
  await assert.rejects(restoreImage(repository, { ...options, allowedRoots: [scene.top] }), { code: 'destination.forbidden' })

  const result = await restoreImage(repository, { ...options, allowedRoots: ['/dev'] })
  assert.ok(result.whole)
  assert.equal(result.bytesWritten + result.bytesUnchanged, IMAGE_BYTES)
  const written = fs.readFileSync(backing)
  assert.equal(written.compare(fs.readFileSync(image), 0, IMAGE_BYTES, 0, IMAGE_BYTES), 0)
  assert.ok(written.subarray(IMAGE_BYTES).equals(pseudoRandomBytes(32 * MEBIBYTE, 99).subarray(IMAGE_BYTES)))
  assert.equal((await restoreImage(repository, { ...options, allowedRoots: [device] })).bytesWritten, 0)

  const small = join(scene.top, 'small')
  fs.writeFileSync(small, Buffer.alloc(8 * MEBIBYTE))
  const second = spawnSync('losetup', ['--find', '--show', small], { encoding: 'utf8' }).stdout.trim()
  t.after(() => spawnSync('losetup', ['--detach', second]))
  await assert.rejects(restoreImage(repository, { ...options, targetPath: second, allowedRoots: ['/dev'] }), { code: 'destination.too_small' })
  assert.ok(fs.readFileSync(small).equals(Buffer.alloc(8 * MEBIBYTE)))
})

test('a destination that fills up ends the restore with a clear failure, and more room completes it', async (t) => {
  const scene = await makeScene(t)
  makeManyFiles(scene.source)
  const { repository, snapshotId } = await scene.backUp()
  const mount = join(scene.top, 'small disk')
  fs.mkdirSync(mount)
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=10m', 'tmpfs', mount], { encoding: 'utf8' })
  if (mounted.status !== 0) {
    t.skip(`no file system can be mounted here: ${mounted.error?.message ?? mounted.stderr.trim()}`)
    return
  }
  // Unmounted before the folder around it is removed, which the hooks would do in the other order.
  try {
    const destination = join(mount, 'destination')
    const options = { snapshotId, sourcePath: scene.source, destination, allowedRoots: [mount] }
    await assert.rejects(restoreTree(repository, options), { code: 'destination.full' })
    assert.equal(spawnSync('mount', ['-o', 'remount,size=100m', mount]).status, 0)
    const result = await restoreTree(repository, options)
    assert.ok(result.whole && result.bytesUnchanged > 0)
    assert.deepEqual(scene.differences(scene.source, destination), [])
  } finally {
    spawnSync('umount', [mount])
  }
})
