/** Disk images that we archive, judged by stock restic, and block devices. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { firstDifference } from './support/compare-trees.ts'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { resticBinaries, resticVersion } from './support/restic.ts'
import { HOSTNAME, openScratchRepository, scratchDirectory } from './support/scratch-repository.ts'

const MEBIBYTE = 1 << 20
const IMAGE_MEBIBYTES = 48

/** A disk with data in places, zeros that are written, and holes. */
function makeImage(path: string): void {
  const image = fs.openSync(path, 'w')
  fs.ftruncateSync(image, IMAGE_MEBIBYTES * MEBIBYTE + 12_288)
  fs.writeSync(image, pseudoRandomBytes(5 * MEBIBYTE, 1), 0, 5 * MEBIBYTE, 0)
  fs.writeSync(image, Buffer.alloc(4 * MEBIBYTE), 0, 4 * MEBIBYTE, 10 * MEBIBYTE)
  fs.writeSync(image, 'a line of text '.repeat(100_000), 20 * MEBIBYTE + 4096)
  fs.writeSync(image, pseudoRandomBytes(8192, 2), 0, 8192, IMAGE_MEBIBYTES * MEBIBYTE)
  fs.closeSync(image)
}

test('restic finds an image whole, restores it sparse, and changes nothing about it', async (t) => {
  const directory = scratchDirectory(t)
  const path = join(directory, 'disk.raw')
  makeImage(path)
  const ours = await openScratchRepository(join(directory, 'repository'))
  const first = await ours.archiveImage(path)
  assert.ok(first.whole)
  await ours[Symbol.asyncDispose]()
  for (const binary of resticBinaries()) {
    const version = resticVersion(binary)
    const program = ours.restic(binary)
    program.run('check', '--read-data')
    const target = join(directory, `restored by ${version}`)
    const isOld = version.startsWith('0.14.')
    program.run('restore', first.snapshotId, '--target', target, ...(isOld ? [] : ['--sparse']))
    assert.equal(firstDifference(path, join(target, path)), undefined, version)
    const { blocks, size } = fs.statSync(join(target, path))
    if (!isOld) assert.ok(blocks * 512 < size / 2, `${version} restored ${blocks * 512} allocated bytes of ${size}`)
    fs.rmSync(target, { recursive: true })
    if (!isOld) assert.match(program.run('rewrite', '--exclude', 'nothing matches this', '--dry-run', first.snapshotId).stdout.toString(), /no snapshots/)
    // Their own backup of the same file takes ours for its parent and reads nothing.
    const output = program.run('backup', '--json', '--host', HOSTNAME, path).stdout.toString().trim().split('\n').at(-1) ?? ''
    const summary = JSON.parse(output) as Record<string, number>
    assert.deepEqual([summary['files_unmodified'], summary['data_blobs']], [1, 0], version)
  }
})

/** A block device over an image; undefined, with the reason told, where the machine lets nobody make one. */
function attachLoopDevice(t: TestContext, image: string): string | undefined {
  const run = spawnSync('losetup', ['--find', '--show', image], { encoding: 'utf8' })
  if (run.status !== 0) {
    t.skip(`no loop device can be made here: ${run.error?.message ?? run.stderr.trim()}`)
    return undefined
  }
  const device = run.stdout.trim()
  t.after(() => spawnSync('losetup', ['--detach', device]))
  return device
}

test('a block device is archived with its content, and read again every time', async (t) => {
  const directory = scratchDirectory(t)
  const image = join(directory, 'disk.raw')
  makeImage(image)
  const device = attachLoopDevice(t, image)
  if (device === undefined) return
  await using ours = await openScratchRepository(join(directory, 'repository'))
  const first = await ours.archiveImage(device)
  assert.equal(first.bytesProcessed, fs.statSync(image).size)
  const ofImage = await ours.archiveImage(image)
  assert.equal(ofImage.dataBytesAdded, 0)

  const written = fs.openSync(device, 'r+')
  fs.writeSync(written, 'changed behind the inode', 3 * MEBIBYTE)
  fs.fsyncSync(written)
  fs.closeSync(written)
  const second = await ours.archiveImage(device, { parent: first.snapshotId })
  assert.deepEqual([second.dataBlobs, second.dataBytesAdded], [1, MEBIBYTE])
  await ours.lock[Symbol.asyncDispose]()
  for (const binary of resticBinaries()) {
    const program = ours.restic(binary)
    program.run('check', '--read-data')
    const target = join(directory, 'restored')
    program.run('restore', second.snapshotId, '--target', target)
    const status: fs.Stats = fs.statSync(join(target, device))
    assert.ok(status.isFile())
    assert.equal(status.size, fs.statSync(image).size)
    assert.equal(firstDifference(device, join(target, device)), undefined)
    fs.rmSync(target, { recursive: true })
  }
})
