/**
 * A disk with not one byte free, a real one of a few megabytes: what makes room must work there, and what
 * only reads. Needs the right to mount; without it the tests are skipped, and the faults of
 * `engine-faults.test.ts` are all there is.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import {
  archiveTree, initRepository, kdfForRandomPassword, openRepository, planPrune, restoreTree, runPrune, type SnapshotId,
} from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { compareTrees } from './support/compare-trees.ts'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { HOSTNAME, PASSWORD, scratchDirectory } from './support/scratch-repository.ts'

const MEBIBYTE = 1 << 20
const DISK_BYTES = 40 * MEBIBYTE

function run(...commandLine: readonly string[]): string | undefined {
  const [program = '', ...rest] = commandLine
  const { status, stdout, stderr, error } = spawnSync(program, rest, { encoding: 'utf8' })
  return status === 0 ? undefined : `${commandLine.join(' ')}: ${error?.message ?? (stderr || stdout)}`
}

const mounts: Readonly<Record<string, (directory: string, place: string) => string | undefined>> = {
  tmpfs: (_directory, place) => run('mount', '-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', place),
  ext4(directory, place) {
    const image = join(directory, 'disk.img')
    fs.writeFileSync(image, '')
    fs.truncateSync(image, DISK_BYTES)
    // Nothing is kept for root, who may be the one who tests.
    return run('mkfs.ext4', '-q', '-m', '0', '-O', '^has_journal', image) ?? run('mount', '-o', 'loop', image, place)
  },
}

/** Writes until nothing goes any more. */
function fillUp(place: string): void {
  const file = fs.openSync(place, 'w')
  for (let bytes = MEBIBYTE; bytes >= 1;) {
    try {
      if (fs.writeSync(file, Buffer.alloc(bytes, 1)) < bytes) bytes >>= 1
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
      bytes >>= 1
    }
  }
  fs.closeSync(file)
}

function makeFolder(folder: string, version: number): string {
  fs.mkdirSync(folder, { recursive: true })
  for (let file = 0; file < 6; file += 1) {
    fs.writeFileSync(join(folder, `file ${file}`), pseudoRandomBytes(700_000, file < 3 ? file : 100 * version + file))
  }
  return folder
}

for (const [kind, mount] of Object.entries(mounts)) {
  test(`on a full disk (${kind}) snapshots are forgotten, pruned and restored`, async (t: TestContext) => {
    const directory = scratchDirectory(t)
    const disk = join(directory, 'disk')
    fs.mkdirSync(disk)
    const refusal = mount(directory, disk)
    if (refusal !== undefined) {
      t.skip(refusal)
      return
    }
    try {
      await workOnFullDisk(t, directory, disk)
    } finally {
      assert.equal(run('umount', disk), undefined)
    }
  })
}

async function workOnFullDisk(t: TestContext, directory: string, disk: string): Promise<void> {
  const path = join(disk, 'repository')
  await initRepository(localStorage(path, { keepsReserve: true }), { password: PASSWORD, kdf: kdfForRandomPassword })
  const folders = [1, 2].map((version) => makeFolder(join(directory, `folder ${version}`), version))
  const ids: SnapshotId[] = []
  const open = () => openRepository(localStorage(path), { password: PASSWORD })
  for (const folder of folders) {
    await using repository = await open()
    await using lock = await repository.lock({ exclusive: false, settleMs: 0 })
    const { snapshotId } = await archiveTree(repository, lock, { path: folder, hostname: HOSTNAME, tags: [], time: new Date(0) })
    ids.push(snapshotId)
  }
  const [forgotten, kept] = ids
  assert.ok(forgotten !== undefined && kept !== undefined)
  const filler = join(disk, 'filler')
  fillUp(filler)
  assert.throws(() => fs.writeFileSync(join(path, 'one byte'), 'x'), { code: 'ENOSPC' })
  fs.rmSync(join(path, 'one byte'), { force: true })

  {
    await using repository = await open()
    // Without a reserve there is no space for a lock, which shows that the disk is full indeed.
    const reserve = join(path, 'opencbr-reserve')
    const aside = join(path, 'aside')
    fs.renameSync(reserve, aside)
    await assert.rejects(repository.lock({ exclusive: true, settleMs: 0 }), { code: 'storage.full' })
    fs.renameSync(aside, reserve)
  }
  {
    await using repository = await open()
    await using _lock = await repository.lock({ exclusive: false, settleMs: 0 })
    await repository.loadIndex()
    const destination = join(directory, 'restored early')
    await restoreTree(repository, { snapshotId: forgotten, sourcePath: folders[0] ?? '', destination, allowedRoots: [directory] })
    assert.deepEqual(compareTrees(folders[0] ?? '', destination), [])
  }
  // What the lock gave back was taken by somebody else at once.
  fillUp(join(disk, 'more filler'))
  {
    await using repository = await open()
    const takeLock = (exclusive: boolean) => repository.lock({ exclusive, settleMs: 0 })
    {
      await using lock = await takeLock(true)
      await repository.forgetSnapshots([forgotten], lock)
    }
    fillUp(join(disk, 'still more filler'))
    const result = await runPrune(repository, takeLock, await planPrune(repository, { maxUnusedPercent: 0 }))
    t.diagnostic(JSON.stringify(result))
    assert.ok(result.freedBytes > 2_000_000, `only ${result.freedBytes} were freed`)
  }
  assert.equal(fs.statSync(join(path, 'opencbr-reserve')).size, 8 * MEBIBYTE)
  assert.ok(fs.statfsSync(disk).bavail > 0)
  for (const name of fs.readdirSync(disk)) if (name.includes('filler')) fs.rmSync(join(disk, name))
  for (const binary of resticBinaries()) restic(binary, path, PASSWORD).run('check', '--read-data')
  await using repository = await open()
  await repository.loadIndex()
  const destination = join(directory, 'restored')
  await restoreTree(repository, { snapshotId: kept, sourcePath: folders[1] ?? '', destination, allowedRoots: [directory] })
  assert.deepEqual(compareTrees(folders[1] ?? '', destination), [])
}
