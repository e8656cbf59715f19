/**
 * Stock restic and we at work on one repository at once, in 200 random interleavings. Either side
 * starts when the other has got to a random point, and the other either stands still there until the
 * first one has ended, or goes on beside it. Afterwards `restic check --read-data` must find everything
 * whole, which also proves that no lock was left behind, and every snapshot that either side
 * acknowledged must be there. Whoever is in the way of the other is told of the lock.
 *
 * Both sides take their content from one small pool, so that a backup keeps meeting blobs that somebody
 * is about to prune. OPENCBR_TEST_SEED repeats the choices of a run, though not the scheduler's.
 */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import {
  archiveTree, checkRepository, Failure, initRepository, kdfForRandomPassword, openRepository, planPrune, restoreTree, runPrune,
  type SnapshotId,
} from '@opencbr/engine'
import { localStorage, type Storage } from '@opencbr/storage'
import { gatedStorage } from './support/gated-storage.ts'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { resticBinaries, resticVersion } from './support/restic.ts'
import { HOSTNAME, PASSWORD, scratchDirectory } from './support/scratch-repository.ts'
import { chooseSeed, seededRandom, type SeededRandom } from './support/seeded-random.ts'

const INTERLEAVINGS = 200
/** Most of the time goes into waiting for locks to settle, so several repositories share the processors. */
const LANES = 8
const FILES = 6
const CONTENTS = 14
const SNAPSHOTS_MAX = 8

type Outcome = 'done' | 'locked' | 'changed'
type OurWork = 'backup' | 'forget and prune' | 'prune' | 'plan, then prune'
type TheirWork = 'backup' | 'forget --prune' | 'prune' | 'tag' | 'check'

interface Content {
  readonly source: string
  /** What each file holds, as numbers of the pool. */
  readonly files: readonly number[]
}

/** A snapshot that somebody acknowledged; restic of old says only how its id begins. */
interface Acknowledged extends Content {
  readonly idPrefix: string
}

interface Lane {
  readonly directory: string
  readonly path: string
  readonly binary: string
  readonly random: SeededRandom
  readonly storage: Storage
  snapshots: Acknowledged[]
}

interface ResticRun {
  readonly child: ChildProcess
  readonly ended: Promise<{ readonly exitCode: number | null; readonly stdout: string; readonly stderr: string }>
}

function startRestic({ binary, path }: Lane, ...commandLine: string[]): ResticRun {
  const child = spawn(binary, ['--no-cache', ...commandLine], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], RESTIC_REPOSITORY: path, RESTIC_PASSWORD: PASSWORD, GOMAXPROCS: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => void (output.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (output.stderr += text))
  const ended = new Promise<Awaited<ResticRun['ended']>>((resolve, reject) => {
    child.on('error', reject).on('close', (exitCode) => resolve({ exitCode, ...output }))
  })
  return { child, ended }
}

/** Gives a source other content, of which the repository may have had some before. */
function makeContent(lane: Lane, name: string): Content {
  const source = join(lane.directory, name)
  fs.mkdirSync(join(source, 'folder'), { recursive: true })
  const files = Array.from({ length: FILES }, () => lane.random.below(CONTENTS))
  for (const [file, content] of files.entries()) {
    const place = join(source, file % 2 === 0 ? `${file}` : `folder/${file}`)
    fs.rmSync(place, { force: true })
    fs.writeFileSync(place, pseudoRandomBytes(3000 + content, content))
  }
  return { source, files }
}

/** Snapshots keep the id that they had at first, whatever is done to them; what was listed has its present id, too. */
async function listSnapshots(storage: Storage): Promise<{ id: SnapshotId; firstId: SnapshotId }[]> {
  await using repository = await openRepository(storage, { password: PASSWORD })
  return (await repository.listSnapshots()).map(({ id, snapshot }) => ({ id, firstId: snapshot.original ?? id }))
}

interface Work<Kind> {
  readonly kind: Kind
  readonly victims: readonly SnapshotId[]
  readonly content: Content | undefined
}

interface Ended {
  readonly outcome: Outcome
  readonly acknowledged?: Acknowledged
  /** Whether the victims are forgotten, whatever came after. */
  readonly hasForgotten?: boolean
}

async function doOurs(storage: Storage, { kind, victims, content }: Work<OurWork>): Promise<Ended> {
  let hasForgotten = false
  await using repository = await openRepository(storage, { password: PASSWORD })
  try {
    if (kind === 'backup') {
      assert.ok(content !== undefined)
      await using lock = await repository.lock({ exclusive: false })
      const { source } = content
      const [parent] = (await repository.listSnapshots({ paths: [source] })).toReversed()
      const result = await archiveTree(repository, lock, { path: source, hostname: HOSTNAME, tags: [], time: new Date(), parent: parent?.id })
      assert.ok(result.whole)
      return { outcome: 'done', acknowledged: { ...content, idPrefix: result.snapshotId } }
    }
    const takeLock = (exclusive: boolean) => repository.lock({ exclusive })
    const plan = async () => {
      await using _lock = await takeLock(false)
      return await planPrune(repository, { maxUnusedPercent: 0 })
    }
    const early = kind === 'plan, then prune' ? await plan() : undefined
    if (victims.length > 0) {
      await using lock = await takeLock(true)
      await repository.forgetSnapshots(victims, lock)
      hasForgotten = true
    }
    // Two rounds where there is much to copy.
    await runPrune(repository, takeLock, early ?? await plan(), { batchBytes: 4000, roundBytes: 20_000 })
    return { outcome: 'done', hasForgotten }
  } catch (error) {
    if (error instanceof Failure && error.code === 'repository.locked') return { outcome: 'locked', hasForgotten }
    if (error instanceof Failure && error.code === 'repository.changed') return { outcome: 'changed', hasForgotten }
    throw error
  }
}

function startTheirs(lane: Lane, { kind, victims, content }: Work<TheirWork>): ResticRun {
  if (kind === 'backup') return startRestic(lane, 'backup', '--json', '--host', HOSTNAME, content?.source ?? '')
  if (kind === 'forget --prune') return startRestic(lane, 'forget', ...victims, '--prune', '--max-unused', '0')
  if (kind === 'prune') return startRestic(lane, 'prune', '--max-unused', '0')
  if (kind === 'tag') return startRestic(lane, 'tag', '--add', `tag-${lane.random.below(1000)}`)
  return startRestic(lane, 'check')
}

async function endOfTheirs(run: ResticRun, { kind, content }: Work<TheirWork>): Promise<Ended> {
  const { exitCode, stdout, stderr } = await run.ended
  if (exitCode !== 0) {
    assert.match(stderr, /already locked/, `restic ${kind} ended with ${exitCode}:\n${stdout}${stderr}`)
    return { outcome: 'locked' }
  }
  if (content === undefined) return { outcome: 'done' }
  const idPrefix = /"snapshot_id":"([0-9a-f]+)"/.exec(stdout)?.[1]
  assert.ok(idPrefix !== undefined, stdout)
  return { outcome: 'done', acknowledged: { ...content, idPrefix } }
}

/** Resolves at the given event in the repository's folders, and at the latest when the process ends. */
async function atEvent(lane: Lane, run: ResticRun, number: number): Promise<void> {
  const reached = Promise.withResolvers<void>()
  let events = 0
  const watchers = ['locks', 'snapshots', 'index', 'data/00'].map((folder) =>
    fs.watch(join(lane.path, folder), () => {
      events += 1
      if (events === number) reached.resolve()
    }))
  void run.ended.then(() => reached.resolve())
  await reached.promise
  for (const watcher of watchers) watcher.close()
}

async function oursFirst(lane: Lane, ours: Work<OurWork>, theirs: Work<TheirWork>, holds: boolean): Promise<[Ended, Ended]> {
  const point = 1 + lane.random.below(24)
  const reached = Promise.withResolvers<void>()
  const theirsEnded = Promise.withResolvers<void>()
  const gated = gatedStorage(lane.storage, ({ number }) => {
    if (number === point) reached.resolve()
    return holds && number >= point ? theirsEnded.promise : undefined
  })
  const ourEnd = doOurs(gated, ours)
  // Our failure is thrown further down, when the others have ended as well.
  await Promise.race([reached.promise, ourEnd.then(() => undefined, () => undefined)])
  try {
    const theirEnd = await endOfTheirs(startTheirs(lane, theirs), theirs)
    theirsEnded.resolve()
    return [await ourEnd, theirEnd]
  } finally {
    theirsEnded.resolve()
    await Promise.allSettled([ourEnd])
  }
}

async function theirsFirst(lane: Lane, ours: Work<OurWork>, theirs: Work<TheirWork>, holds: boolean): Promise<[Ended, Ended]> {
  const run = startTheirs(lane, theirs)
  try {
    await atEvent(lane, run, 1 + lane.random.below(8))
    if (holds) run.child.kill('SIGSTOP')
    const ourEnd = await doOurs(lane.storage, ours)
    run.child.kill('SIGCONT')
    return [ourEnd, await endOfTheirs(run, theirs)]
  } finally {
    run.child.kill('SIGCONT')
    await run.ended
  }
}

/** Chooses what both sides do, lets them, and judges the repository. Returns what has happened, in words. */
async function interleave(lane: Lane): Promise<string> {
  const { random, storage } = lane
  const before = await listSnapshots(storage)
  const pickVictims = () => {
    const count = before.length > SNAPSHOTS_MAX ? before.length - 3 : 1 + random.below(3)
    return before.length > 2 ? Array.from({ length: count }, () => random.pick(before)) : []
  }
  const isOurBackup = random.chance(60)
  const ourKind: OurWork = isOurBackup ? 'backup' : random.pick(['forget and prune', 'forget and prune', 'prune', 'plan, then prune'] as const)
  const theirKind: TheirWork =
    isOurBackup ? random.pick(['backup', 'forget --prune', 'forget --prune', 'prune', 'tag', 'check'] as const)
    : random.chance(80) ? 'backup' : random.pick(['prune', 'tag', 'check'] as const)
  const ourVictims = ourKind === 'forget and prune' ? pickVictims() : []
  // Forgetting nothing is a mistake of restic's command line.
  const theirVictims = theirKind === 'forget --prune' ? pickVictims() : []
  const ours = { kind: ourKind, victims: ourVictims.map(({ id }) => id), content: ourKind === 'backup' ? makeContent(lane, 'ours') : undefined }
  const theirs = {
    kind: theirKind === 'forget --prune' && theirVictims.length === 0 ? 'prune' : theirKind,
    victims: [...new Set(theirVictims.map(({ id }) => id))],
    content: theirKind === 'backup' ? makeContent(lane, 'theirs') : undefined,
  } as const

  const holds = random.chance(50)
  const [ourEnd, theirEnd] = random.chance(50) ? await oursFirst(lane, ours, theirs, holds) : await theirsFirst(lane, ours, theirs, holds)
  const story = `we ${ours.kind}: ${ourEnd.outcome}; restic ${theirs.kind}: ${theirEnd.outcome}`
  if (ourEnd.outcome === 'changed') assert.notEqual(ours.kind, 'backup')

  const judged = await startRestic(lane, 'check', '--read-data').ended
  assert.equal(judged.exitCode, 0, `after ${story}\n${judged.stdout}${judged.stderr}`)
  const acknowledged = [...lane.snapshots, ourEnd.acknowledged, theirEnd.acknowledged].filter((snapshot) => snapshot !== undefined)
  const present = (await listSnapshots(storage)).map(({ firstId }) => firstId)
  const forgotten = [...(ourEnd.hasForgotten === true ? ourVictims : []), ...(theirEnd.outcome === 'locked' ? [] : theirVictims)]
  for (const { idPrefix } of acknowledged) {
    const isForgotten = forgotten.some(({ firstId }) => firstId.startsWith(idPrefix))
    assert.ok(isForgotten || present.some((id) => id.startsWith(idPrefix)), `${idPrefix} is lost after ${story}`)
  }
  // A tag may have given a snapshot another id before it was forgotten by its old one; then it stays.
  lane.snapshots = acknowledged.filter(({ idPrefix }) => present.some((id) => id.startsWith(idPrefix)))
  assert.equal(lane.snapshots.length, present.length, `a snapshot that nobody acknowledged, after ${story}`)
  return story
}

/** Restores every snapshot that is left, and compares it with what its source held. */
async function assertContents(lane: Lane): Promise<void> {
  await using repository = await openRepository(lane.storage, { password: PASSWORD })
  const { findings } = await checkRepository(repository, { level: 'data' })
  assert.deepEqual(findings.filter(({ severity }) => severity === 'error'), [])
  const listed = await repository.listSnapshots()
  for (const { idPrefix, source, files } of lane.snapshots) {
    const found = listed.find(({ id, snapshot }) => (snapshot.original ?? id).startsWith(idPrefix))
    assert.ok(found !== undefined)
    const destination = join(lane.directory, `restored ${idPrefix}`)
    const result = await restoreTree(repository, { snapshotId: found.id, sourcePath: source, destination, allowedRoots: [lane.directory] })
    assert.ok(result.whole)
    for (const [file, content] of files.entries()) {
      const restored = fs.readFileSync(join(destination, file % 2 === 0 ? `${file}` : `folder/${file}`))
      assert.ok(restored.equals(pseudoRandomBytes(3000 + content, content)), `${idPrefix} ${file}`)
    }
  }
}

async function runLane(directory: string, number: number, seed: number, stories: string[]): Promise<void> {
  const binaries = resticBinaries()
  const binary = number % 2 === 0 ? binaries[0] : binaries.at(-1)
  assert.ok(binary !== undefined)
  const path = join(directory, 'repository')
  const lane: Lane = { directory, path, binary, random: seededRandom(seed + number), storage: localStorage(path), snapshots: [] }
  await initRepository(lane.storage, { password: PASSWORD, kdf: kdfForRandomPassword })
  for (const folder of ['locks', 'snapshots', 'index', 'data/00']) fs.mkdirSync(join(path, folder), { recursive: true })
  for (let turn = 0; turn < INTERLEAVINGS / LANES; turn += 1) {
    try {
      stories.push(await interleave(lane))
    } catch (error) {
      throw new Error(`seed ${seed}, lane ${number} with restic ${resticVersion(binary)}, turn ${turn}`, { cause: error })
    }
  }
  await assertContents(lane)
}

test(`${INTERLEAVINGS} random interleavings with stock restic: nothing is damaged, nothing acknowledged is lost`, async (t: TestContext) => {
  const seed = chooseSeed()
  t.diagnostic(`seed ${seed}`)
  const stories: string[] = []
  const lanes = Array.from({ length: LANES }, (_, number) => runLane(scratchDirectory(t), number, seed, stories))
  const ended = await Promise.allSettled(lanes)
  const counts = Map.groupBy(stories, (story) => story)
  for (const story of [...counts.keys()].sort()) t.diagnostic(`${counts.get(story)?.length} × ${story}`)
  const failed = ended.filter((lane) => lane.status === 'rejected').map(({ reason }) => reason as unknown)
  if (failed.length > 0) throw new AggregateError(failed, `${failed.length} of ${LANES} repositories, seed ${seed}`)
  assert.equal(stories.length, INTERLEAVINGS)
  // Without these the choices or the timing would have proven nothing.
  const has = (pattern: RegExp) => stories.some((story) => pattern.test(story))
  assert.ok(has(/we backup: done; restic .*prune: done/) && has(/we backup: done; restic backup: done/))
  assert.ok(has(/: locked/) && has(/restic .*: locked/) && has(/we .*prune: done; restic backup: done/))
})
