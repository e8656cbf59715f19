/**
 * Repairs of damaged repositories, judged by stock restic. What is damaged goes into the quarantine, to
 * the byte; what was good stays, and the snapshots that have lost something are named.
 */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import {
  checkRepository, findDamagedPacks, openRepository, planIndexRepair, planPackRepair, planSnapshotRepair, REPAIRED_TAG, runIndexRepair,
  runPackRepair, runSnapshotRepair, type Repository, type RepositoryLock, type SnapshotId,
} from '@opencbr/engine'
import { localStorage, withFaults, type Storage } from '@opencbr/storage'
import { compareTrees } from './support/compare-trees.ts'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries, type Restic } from './support/restic.ts'
import { openScratchRepository, PASSWORD, scratchDirectory } from './support/scratch-repository.ts'

const judges = resticBinaries()

interface Made {
  readonly directory: string
  readonly path: string
  readonly folders: readonly string[]
  readonly ids: readonly SnapshotId[]
}

/** Two snapshots of folders that share nothing but a file. */
async function makeRepository(t: TestContext): Promise<Made> {
  const directory = scratchDirectory(t)
  const path = join(directory, 'repository')
  const ids: SnapshotId[] = []
  const folders = ['one', 'two'].map((name) => join(directory, name))
  for (const [number, folder] of folders.entries()) {
    fs.mkdirSync(join(folder, 'below'), { recursive: true })
    for (const file of [0, 1, 2, 3]) fs.writeFileSync(join(folder, `${file}`), pseudoRandomBytes(40_000, file === 0 ? 0 : 10 * number + file))
    fs.writeFileSync(join(folder, 'below', 'text'), `text of ${folder}\n`)
    // Opened anew each time, so that each snapshot has packs and an index file of its own.
    await using ours = await openScratchRepository(path)
    ids.push((await ours.archiveTree(folder)).snapshotId)
  }
  return { directory, path, folders, ids }
}

async function locked<Result>(
  path: string, work: (repository: Repository, lock: RepositoryLock, storage: Storage) => Promise<Result>, storage: Storage = localStorage(path),
): Promise<Result> {
  await using repository = await openRepository(storage, { password: PASSWORD })
  await using lock = await repository.lock({ exclusive: true, settleMs: 0, ownerIsDead: () => true })
  return await work(repository, lock, storage)
}

function filesBelow(folder: string): string[] {
  if (!fs.existsSync(folder)) return []
  return fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

/** The pack of the first snapshot's content: the bigger of those that its own index file names. */
function packOf(made: Made, number: number): string {
  const packs = filesBelow(join(made.path, 'data')).toSorted((a, b) => fs.statSync(b).size - fs.statSync(a).size)
  return packs[number] ?? assert.fail('there is no such pack')
}

function flipBit(file: string, at: number): void {
  const bytes = fs.readFileSync(file)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  fs.chmodSync(file, 0o600)
  fs.writeFileSync(file, bytes)
}

function assertWhole(path: string): void {
  for (const binary of judges) restic(binary, path, PASSWORD).run('check', '--read-data')
}

function assertRestores(judge: Restic, made: Made, number: number): void {
  const target = fs.mkdtempSync(join(made.directory, 'restored-'))
  judge.run('restore', made.ids[number] ?? '', '--target', target)
  assert.deepEqual(compareTrees(made.folders[number] ?? '', join(target, made.folders[number] ?? '')), [])
}

const judge = (made: Made): Restic => restic(judges.at(-1) ?? '', made.path, PASSWORD)

async function rebuildIndex(path: string, readAllPacks = false) {
  return locked(path, async (repository, lock, storage) => {
    const plan = await planIndexRepair(repository, { readAllPacks })
    return { plan, result: await runIndexRepair(storage, repository, lock, plan) }
  })
}

test('an index that is gone, or in part, or damaged, is made anew from the packs', async (t: TestContext) => {
  const made = await makeRepository(t)
  const [first = '', second = ''] = filesBelow(join(made.path, 'index'))
  fs.rmSync(first)
  const damaged = fs.readFileSync(second)
  flipBit(second, 60)
  assert.equal((await locked(made.path, (repository) => checkRepository(repository, { level: 'structure' }))).whole, false)

  const { plan, result } = await rebuildIndex(made.path)
  assert.equal(plan.reread.length, plan.packCount)
  assert.deepEqual([plan.damagedIndexFileIds.length, plan.missing, plan.unexplained, result.leftInPlace], [1, [], [], []])
  // What could not be read is not gone.
  const kept = fs.readFileSync(join(made.path, result.quarantined[0] ?? ''))
  assert.deepEqual([kept.length, kept.equals(damaged)], [damaged.length, false])
  kept[60] = (kept[60] ?? 0) ^ 1
  assert.ok(kept.equals(damaged))
  assertWhole(made.path)
  assertRestores(judge(made), made, 0)
  assertRestores(judge(made), made, 1)
  assert.equal((await rebuildIndex(made.path)).plan.needed, false)
})

test('a pack that nothing explains goes into the quarantine, and a pack that is gone leaves the index', async (t: TestContext) => {
  const made = await makeRepository(t)
  const strange = 'ab'.padEnd(64, '0')
  fs.mkdirSync(join(made.path, 'data', 'ab'), { recursive: true })
  fs.writeFileSync(join(made.path, 'data', 'ab', strange), 'This is no pack, but somebody may miss it.')
  const gone = packOf(made, 0)
  fs.rmSync(gone)
  const { plan, result } = await rebuildIndex(made.path)
  assert.deepEqual(plan.unexplained, [strange])
  assert.deepEqual(plan.missing, [gone.slice(-64)])
  assert.deepEqual(result.quarantined, [`quarantine/data/ab/${strange}`])
  assert.equal(fs.readFileSync(join(made.path, result.quarantined[0] ?? ''), 'utf8'), 'This is no pack, but somebody may miss it.')
  assert.equal(fs.existsSync(join(made.path, 'data', 'ab', strange)), false)
  assert.equal((await locked(made.path, (repository) => checkRepository(repository, { level: 'index' }))).whole, true)
})

test('a damaged pack is put aside, what is good in it is kept, and the snapshots that lost something are named', async (t: TestContext) => {
  const made = await makeRepository(t)
  // The pack of the first snapshot, which has one file more, as the second snapshot shares that file.
  const pack = packOf(made, 0)
  flipBit(pack, 50_000)
  const damagedBytes = fs.readFileSync(pack)

  const { plan, result, found } = await locked(made.path, async (repository, lock, storage) => {
    const ids = await findDamagedPacks(repository)
    const packPlan = await planPackRepair(repository, ids)
    return { found: ids, plan: packPlan, result: await runPackRepair(storage, repository, lock, packPlan) }
  })
  assert.deepEqual(found, [pack.slice(-64)])
  assert.deepEqual(plan.packs.map(({ good, lost }) => ({ lost: lost.length, anyGood: good.length > 0 })), [{ lost: 1, anyGood: true }])
  assert.equal(result.blobsSaved, plan.packs[0]?.good.length)
  assert.equal(fs.existsSync(pack), false)
  assert.ok(fs.readFileSync(join(made.path, result.quarantined[0] ?? '')).equals(damagedBytes))

  const check = await locked(made.path, (repository) => checkRepository(repository, { level: 'data' }))
  const damagedIds = new Set(check.findings.flatMap(({ snapshotId }) => (snapshotId === undefined ? [] : [snapshotId])))
  assert.ok(check.findings.every(({ code }) => code === 'file.missing_content'), JSON.stringify(check.findings))
  assert.ok(damagedIds.has(made.ids[0] ?? ('' as SnapshotId)))

  const { repaired, lostPaths } = await locked(made.path, async (repository, lock) => {
    const snapshotPlan = await planSnapshotRepair(repository, await repository.listSnapshots())
    assert.deepEqual(new Set(snapshotPlan.damaged.map(({ id }) => id)), damagedIds)
    return { lostPaths: snapshotPlan.damaged[0]?.lostPaths, repaired: await runSnapshotRepair(repository, lock, snapshotPlan, { forget: true }) }
  })
  assert.equal(lostPaths?.length, 1)
  assertWhole(made.path)
  const listed = JSON.parse(judge(made).run('snapshots', '--json').stdout.toString()) as { id: string, tags?: string[], original?: string }[]
  assert.equal(listed.length, 2)
  for (const { id, repairedId } of repaired) {
    const anew = listed.find((each) => each.id === repairedId)
    assert.deepEqual([anew?.original, anew?.tags?.includes(REPAIRED_TAG)], [id, true])
  }
  // Everything but the lost file is there.
  const target = join(made.directory, 'restored')
  judge(made).run('restore', repaired.find(({ id }) => id === made.ids[0])?.repairedId ?? '', '--target', target)
  fs.rmSync(lostPaths?.[0] ?? '')
  const differences = compareTrees(made.folders[0] ?? '', join(target, made.folders[0] ?? '')).filter((line) => !/mtime/.test(line))
  assert.deepEqual(differences, [])
})

test('of a pack that was cut off, and whose header is gone with its end, what is left is kept', async (t: TestContext) => {
  const made = await makeRepository(t)
  const pack = packOf(made, 0)
  fs.chmodSync(pack, 0o600)
  fs.truncateSync(pack, 100_000)
  // Made anew, the index keeps what it knew of the pack: its header says nothing any more.
  const { plan } = await rebuildIndex(made.path)
  assert.deepEqual(plan.headerDamaged, [pack.slice(-64)])
  const { packs } = await locked(made.path, async (repository, lock, storage) => {
    const packPlan = await planPackRepair(repository, await findDamagedPacks(repository))
    await runPackRepair(storage, repository, lock, packPlan)
    return packPlan
  })
  assert.equal(packs.length, 1)
  assert.ok((packs[0]?.good.length ?? 0) >= 2 && (packs[0]?.lost.length ?? 0) >= 1, JSON.stringify(packs))
  const check = await locked(made.path, (repository) => checkRepository(repository, { level: 'data' }))
  assert.ok(check.findings.every(({ code }) => code === 'file.missing_content'), JSON.stringify(check.findings))
})

test('cut at every write and removal, a repair loses nothing, and the next one completes', async (t: TestContext) => {
  const made = await makeRepository(t)
  const pack = packOf(made, 0)
  flipBit(pack, 50_000)
  const damagedBytes = fs.readFileSync(pack)
  let goodBlobs = 0
  const repair = (path: string, storage: Storage) => locked(path, async (repository, lock) => {
    const ids = await findDamagedPacks(repository)
    const plan = await planPackRepair(repository, ids)
    goodBlobs ||= plan.packs[0]?.good.length ?? 0
    await runPackRepair(storage, repository, lock, plan)
  }, storage)

  for (let cut = 1; ; cut += 1) {
    assert.ok(cut < 30, 'the repair never ends')
    const path = join(made.directory, `cut ${cut}`)
    fs.cpSync(made.path, path, { recursive: true })
    let changes = 0
    const faulty = withFaults(localStorage(path), ({ operation, key }) => {
      if ((operation !== 'put' && operation !== 'delete') || key.startsWith('locks/')) return undefined
      changes += 1
      return changes === cut ? { kind: cut % 2 === 0 ? 'crash-before' : 'crash-after' } : undefined
    })
    const isCut = await repair(path, faulty).then(() => false, () => true)
    await repair(path, localStorage(path))
    const copies = filesBelow(join(path, 'quarantine'))
    assert.deepEqual(copies.map((file) => fs.readFileSync(file).equals(damagedBytes)), [true])
    const check = await locked(path, (repository) => checkRepository(repository, { level: 'data' }))
    const errors = check.findings.filter(({ severity }) => severity === 'error')
    assert.ok(errors.length > 0 && errors.every(({ code }) => code === 'file.missing_content'), JSON.stringify(errors))
    fs.rmSync(path, { recursive: true })
    if (isCut) continue
    assert.ok(cut > 5 && goodBlobs > 0, `only ${cut - 1} writes`)
    return
  }
})
