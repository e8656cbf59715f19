/**
 * What is left after pruning, judged by stock restic: it must find the repository whole, restore what
 * was kept as it was, and have nothing left to prune itself. The repositories are written by it and by us.
 */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import {
  initRepository, kdfForRandomPassword, openRepository, planPrune, runPrune, type PrunePlan, type PruneResult, type SnapshotId,
} from '@opencbr/engine'
import { localStorage, withFaults, type Storage } from '@opencbr/storage'
import { compareTrees } from './support/compare-trees.ts'
import { makeNastyTree, pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries, resticVersion, type Restic } from './support/restic.ts'
import { openScratchRepository, PASSWORD, scratchDirectory } from './support/scratch-repository.ts'

const MEBIBYTE = 1 << 20
const binaries = resticBinaries().map((binary) => ({ binary, version: resticVersion(binary) }))

interface Pruned {
  readonly plan: PrunePlan
  readonly result: PruneResult
}

/** A new repository, whose password costs next to nothing: restic derives its key at every start. */
async function makeRepository(path: string): Promise<void> {
  await initRepository(localStorage(path), { password: PASSWORD, kdf: kdfForRandomPassword })
}

async function prune(storage: Storage): Promise<Pruned> {
  await using repository = await openRepository(storage, { password: PASSWORD })
  const takeLock = (exclusive: boolean) => repository.lock({ exclusive, settleMs: 0, ownerIsDead: () => true })
  const plan = await (async () => {
    await using _lock = await takeLock(false)
    return await planPrune(repository)
  })()
  return { plan, result: await runPrune(repository, takeLock, plan) }
}

function packBytes(repository: string): number {
  return fs.readdirSync(join(repository, 'data'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((bytes, { parentPath, name }) => bytes + fs.statSync(join(parentPath, name)).size, 0)
}

/** What stock restic would still do, in its own words. */
function leftToPrune(judge: Restic): string[] {
  const report = judge.run('prune', '--dry-run').stdout.toString()
  const lines = report.split('\n').filter((line) => /^(?:to repack|this removes|to delete|total prune|not yet known):/.test(line))
  assert.ok(lines.length >= 4, report)
  return lines.filter((line) => !/ 0 blobs \/ 0 B/.test(line) && !/: +0 B$/.test(line))
}

function assertKept(judge: Restic, directory: string, expected: Readonly<Record<string, string>>): void {
  judge.run('check', '--read-data')
  for (const [snapshotId, source] of Object.entries(expected)) {
    const target = fs.mkdtempSync(join(directory, 'restored-'))
    judge.run('restore', snapshotId, '--target', target)
    assert.deepEqual(compareTrees(source, join(target, source)), [])
    fs.rmSync(target, { recursive: true })
  }
}

/** A folder of plain files, of which two thirds are the same in every version; 4 MB are not. */
function makeFolder(folder: string, version: number): void {
  fs.mkdirSync(folder, { recursive: true })
  for (let file = 0; file < 30; file += 1) {
    const isShared = file % 3 !== 0
    fs.writeFileSync(join(folder, `file ${file}`), pseudoRandomBytes(400_000 + file, isShared ? file : 1000 * version + file))
  }
  fs.mkdirSync(join(folder, 'texts'))
  for (let text = 0; text < 100; text += 1) fs.writeFileSync(join(folder, 'texts', `${text}`), `line ${text % 7} of ${version}\n`.repeat(text))
}

function latestId(judge: Restic): SnapshotId {
  const [latest] = JSON.parse(judge.run('snapshots', '--json', '--latest', '1').stdout.toString()).toReversed() as { id: SnapshotId }[]
  assert.ok(latest !== undefined)
  return latest.id
}

for (const { binary, version } of binaries) {
  test(`restic ${version} finds what it wrote whole after our pruning, and has nothing left to prune`, async (t: TestContext) => {
    const directory = scratchDirectory(t)
    const repository = join(directory, 'repository')
    const stock = restic(binary, repository, PASSWORD)
    await makeRepository(repository)
    const nasty = join(directory, 'nasty')
    fs.mkdirSync(nasty)
    await makeNastyTree(Buffer.from(nasty))
    fs.rmSync(join(nasty, 'links'), { recursive: true })
    fs.rmSync(join(nasty, 'times'), { recursive: true })
    const folders = [1, 2, 3].map((number) => join(directory, 'sources', `${number}`))
    const ids: SnapshotId[] = []
    for (const [at, folder] of folders.entries()) {
      makeFolder(folder, at + 1)
      stock.run('backup', folder)
      ids.push(latestId(stock))
    }
    stock.run('backup', nasty)
    const nastyId = latestId(stock)
    const [first = '', second = '', third = ''] = ids
    stock.run('forget', first, third)

    const before = packBytes(repository)
    const { plan, result } = await prune(localStorage(repository))
    assert.equal(before - packBytes(repository), result.freedBytes)
    assert.ok(Math.abs(result.freedBytes - plan.freedBytes) < 1000, `${plan.freedBytes} were promised`)
    assert.ok(result.freedBytes > 7 * MEBIBYTE, `only ${result.freedBytes} were freed`)
    assert.deepEqual(leftToPrune(stock), [])
    assertKept(stock, directory, { [second]: folders[1] ?? '', [nastyId]: nasty })

    // The same once more, with everything forgotten, and then restic goes on with the empty repository.
    stock.run('forget', second, nastyId)
    await prune(localStorage(repository))
    assert.equal(packBytes(repository), 0)
    stock.run('backup', folders[0] ?? '')
    assertKept(stock, directory, { [latestId(stock)]: folders[0] ?? '' })
  })
}

test('what we wrote is whole after our pruning, and no restic has anything left to prune', async (t: TestContext) => {
  const directory = scratchDirectory(t)
  const path = join(directory, 'repository')
  const folders = [1, 2, 3].map((number) => join(directory, 'sources', `${number}`))
  const ids: SnapshotId[] = []
  {
    await using ours = await openScratchRepository(path)
    for (const [at, folder] of folders.entries()) {
      makeFolder(folder, at + 1)
      ids.push((await ours.archiveTree(folder)).snapshotId)
    }
  }
  {
    await using repository = await openRepository(localStorage(path), { password: PASSWORD })
    await using lock = await repository.lock({ exclusive: true, settleMs: 0 })
    await repository.forgetSnapshots(ids.slice(1), lock)
  }
  const before = packBytes(path)
  const { result } = await prune(localStorage(path))
  assert.equal(before - packBytes(path), result.freedBytes)
  assert.ok(result.freedBytes > 7 * MEBIBYTE, `only ${result.freedBytes} were freed`)
  for (const { binary } of binaries) {
    assert.deepEqual(leftToPrune(restic(binary, path, PASSWORD)), [])
    assertKept(restic(binary, path, PASSWORD), directory, { [ids[0] ?? '']: folders[0] ?? '' })
  }
  // What was pruned can be backed up anew.
  const again = await (async () => {
    await using ours = await openScratchRepository(path)
    return await ours.archiveTree(folders[2] ?? '')
  })()
  assert.ok(again.dataBlobs > 0)
  for (const { binary } of binaries) assertKept(restic(binary, path, PASSWORD), directory, { [again.snapshotId]: folders[2] ?? '' })
})

test('a repository of version 1 is pruned like one of version 2', async (t: TestContext) => {
  const directory = scratchDirectory(t)
  const path = join(directory, 'repository')
  const [oldest] = binaries
  assert.ok(oldest !== undefined)
  const stock = restic(oldest.binary, path, PASSWORD)
  stock.run('init', '--repository-version', '1')
  const folders = [1, 2].map((number) => join(directory, 'sources', `${number}`))
  const ids: SnapshotId[] = []
  for (const [at, folder] of folders.entries()) {
    makeFolder(folder, at + 1)
    stock.run('backup', folder)
    ids.push(latestId(stock))
  }
  stock.run('forget', ids[1] ?? '')
  const { result } = await prune(localStorage(path))
  assert.ok(result.freedBytes > 3 * MEBIBYTE)
  for (const { binary } of binaries) {
    assert.deepEqual(leftToPrune(restic(binary, path, PASSWORD)), [])
    assertKept(restic(binary, path, PASSWORD), directory, { [ids[0] ?? '']: folders[0] ?? '' })
  }
})

test('cut at every write and removal: restic finds it whole, and the next run completes', async (t: TestContext) => {
  const directory = scratchDirectory(t)
  const original = join(directory, 'original')
  const newest = binaries.at(-1)
  assert.ok(newest !== undefined)
  const stock = restic(newest.binary, original, PASSWORD)
  await makeRepository(original)
  const sources = [1, 2, 3].map((number) => join(directory, 'sources', `${number}`))
  const ids: SnapshotId[] = []
  for (const [at, source] of sources.entries()) {
    fs.mkdirSync(source, { recursive: true })
    for (const file of [0, 1, 2, 3]) fs.writeFileSync(join(source, `file ${file}`), pseudoRandomBytes(20_000, at === 2 ? 100 + file : file < 2 ? file : 10 * at + file))
    stock.run('backup', source)
    ids.push(latestId(stock))
  }
  stock.run('forget', ids[0] ?? '', ids[2] ?? '')
  const expected = { [ids[1] ?? '']: sources[1] ?? '' }

  async function cutAt(number: number, kind: 'crash-before' | 'crash-after'): Promise<boolean> {
    const path = join(directory, `cut ${number} ${kind}`)
    fs.cpSync(original, path, { recursive: true })
    let changes = 0
    const faulty = withFaults(localStorage(path), ({ operation, key }) => {
      // The lock's own file is no part of the work.
      if ((operation !== 'put' && operation !== 'delete') || key.startsWith('locks/')) return undefined
      changes += 1
      return changes === number ? { kind } : undefined
    })
    const ended = await prune(faulty).then(() => true, () => false)
    const judge = restic(newest?.binary ?? '', path, PASSWORD)
    judge.run('check', '--read-data', '--no-lock')
    await prune(localStorage(path))
    assertKept(judge, directory, expected)
    assert.deepEqual(leftToPrune(judge), [])
    fs.rmSync(path, { recursive: true })
    return ended
  }

  let cuts = 0
  for (let number = 1; ; number += 1) {
    const before = await cutAt(number, 'crash-before')
    if (before) break
    await cutAt(number, 'crash-after')
    cuts += 1
  }
  // A new pack and index file for what the second snapshot shares with the first; the first one's and the third one's index
  // file, and both packs of each.
  assert.ok(cuts >= 8, `only ${cuts} writes and removals were made`)
})
