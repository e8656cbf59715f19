/** Disks above 64 GiB, which a snapshot holds in segments: archived, continued, judged by stock restic, and restored. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Failure, holdsImage, listTree, restoreImage, type BlobId, type BlobType, type SnapshotId } from '@opencbr/engine'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { resticBinaries, resticVersion } from './support/restic.ts'
import { openScratchRepository, scratchDirectory } from './support/scratch-repository.ts'

const MEBIBYTE = 1 << 20
const GIBIBYTE = 1 << 30
const DISK_BYTES = 65 * GIBIBYTE + 12_345
const SEGMENTS = 66
const LAST = 'segment-0000065'

/** What lies on the disk, by its place; everything else is holes. */
const PIECES: readonly (readonly [offset: number, bytes: Buffer])[] = [
  [0, pseudoRandomBytes(3 * MEBIBYTE, 1)],
  // Across the border of two segments.
  [7 * GIBIBYTE - MEBIBYTE - 100, pseudoRandomBytes(2 * MEBIBYTE, 2)],
  [40 * GIBIBYTE + 4096, Buffer.from('a line of text '.repeat(10_000))],
  [DISK_BYTES - 5000, pseudoRandomBytes(5000, 3)],
]

function write(path: string, pieces: typeof PIECES, flags = 'r+'): void {
  const file = fs.openSync(path, flags)
  if (flags === 'w') fs.ftruncateSync(file, DISK_BYTES)
  for (const [offset, bytes] of pieces) fs.writeSync(file, bytes, 0, bytes.length, offset)
  fs.closeSync(file)
}

function assertHolds(path: string, pieces: typeof PIECES): void {
  const file = fs.openSync(path, 'r')
  for (const [offset, bytes] of pieces) {
    const found = Buffer.alloc(bytes.length)
    assert.equal(fs.readSync(file, found, 0, bytes.length, offset), bytes.length)
    assert.ok(found.equals(bytes), `${bytes.length} bytes at ${offset}`)
  }
  fs.closeSync(file)
  const { size, blocks } = fs.statSync(path)
  assert.equal(size, DISK_BYTES)
  // There is nothing else but holes.
  assert.ok(blocks * 512 < 16 * MEBIBYTE, `${blocks * 512} bytes are allocated`)
}

test('a disk above 64 GiB is kept in segments, of which a backup stores those that were written to', { timeout: 300_000 }, async (t) => {
  const directory = scratchDirectory(t)
  const path = join(directory, 'disk.raw')
  write(path, PIECES, 'w')
  fs.chmodSync(path, 0o640)
  const ours = await openScratchRepository(join(directory, 'repository'))
  const first = await ours.archiveImage(path)
  assert.deepEqual([first.bytesProcessed, first.files, first.whole], [DISK_BYTES, { new: SEGMENTS, changed: 0, unmodified: 0 }, true])

  const unchanged = await ours.archiveImage(path, { parent: first.snapshotId })
  assert.deepEqual([unchanged.files.unmodified, unchanged.dataBlobs, unchanged.bytesProcessed], [SEGMENTS, 0, DISK_BYTES])

  const change: (typeof PIECES)[number] = [40 * GIBIBYTE + 8 * MEBIBYTE, Buffer.from('changed')]
  write(path, [change])
  const second = await ours.archiveImage(path, { parent: unchanged.snapshotId })
  // One list of a segment, the list of the segments, and the directories above.
  assert.deepEqual([second.files, second.dataBlobs], [{ new: 0, changed: 1, unmodified: SEGMENTS - 1 }, 1])
  assert.ok(second.treeBlobs <= 1 + path.split('/').length, `${second.treeBlobs} trees were stored`)
  assert.ok(second.bytesAddedPacked < 64 * 1024, `${second.bytesAddedPacked} bytes were stored`)
  assert.equal(await holdsImage(ours.repository, second.snapshotId, path), true)
  assert.equal(await holdsImage(ours.repository, second.snapshotId, directory), false)

  const target = join(directory, 'restored.raw')
  const options = { snapshotId: first.snapshotId, sourcePath: path, targetPath: target, allowedRoots: [directory] }
  const made = await restoreImage(ours.repository, options)
  assert.deepEqual([made.whole, made.bytesWritten, made.warnings], [true, DISK_BYTES, []])
  assertHolds(target, [...PIECES, [change[0], Buffer.alloc(7)]])
  assert.equal(fs.statSync(target).mode & 0o777, 0o640)
  const again = await restoreImage(ours.repository, { ...options, snapshotId: second.snapshotId })
  assert.deepEqual([again.whole, again.bytesWritten], [true, MEBIBYTE])
  assertHolds(target, [...PIECES, change])

  await ours[Symbol.asyncDispose]()
  for (const binary of resticBinaries()) {
    const version = resticVersion(binary)
    const program = ours.restic(binary)
    program.run('check', '--read-data')
    if (!version.startsWith('0.14.')) {
      assert.match(program.run('rewrite', '--exclude', 'nothing matches this', '--dry-run', second.snapshotId).stdout.toString(), /no snapshots/)
    }
    const out = join(directory, `restored by ${version}`)
    program.run('restore', second.snapshotId, '--target', out, '--include', join(path, LAST))
    const restored = fs.readFileSync(join(out, path, LAST, 'data'))
    assert.equal(restored.length, DISK_BYTES % GIBIBYTE)
    assert.ok(restored.subarray(-5000).equals(PIECES[3]?.[1] ?? Buffer.alloc(0)))
    fs.rmSync(out, { recursive: true })
  }
})

test('a lost list of a segment costs that segment only, and is told', async (t) => {
  const directory = scratchDirectory(t)
  const path = join(directory, 'disk.raw')
  write(path, PIECES, 'w')
  await using ours = await openScratchRepository(join(directory, 'repository'))
  const { snapshotId } = await ours.archiveImage(path)
  const { repository } = ours
  const [segment] = await Array.fromAsync(listTree(repository, snapshotId, join(path, 'segment-0000040'), { recursive: false }))
  const damaged = {
    locate: repository.locate.bind(repository),
    locateAll: repository.locateAll.bind(repository),
    readPack: repository.readPack.bind(repository),
    openBlob: repository.openBlob.bind(repository),
    findSnapshot: (id: SnapshotId) => repository.findSnapshot(id),
    async loadBlob(type: BlobType, id: BlobId) {
      if (id === segment?.node.subtree) throw new Failure('blob.damaged', { blobId: id })
      return repository.loadBlob(type, id)
    },
  }
  const target = join(directory, 'restored.raw')
  const restored = await restoreImage(damaged, { snapshotId, sourcePath: path, targetPath: target, allowedRoots: [directory] })
  assert.equal(restored.whole, false)
  assert.deepEqual(restored.warnings.map(({ code, message }) => [code, /(\d+) bytes at (\d+)/.exec(message)?.slice(1)]), [
    ['content.damaged', [String(GIBIBYTE), String(40 * GIBIBYTE)]],
  ])
  assertHolds(target, PIECES.filter(([offset]) => offset < 40 * GIBIBYTE || offset >= 41 * GIBIBYTE))
})
