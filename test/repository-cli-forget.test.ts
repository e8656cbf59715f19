/** What our rules keep, and why, beside what stock restic keeps of the same snapshots. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { groupSnapshots, judgeRetention, openRepository, parseSpan, type GroupField, type RetentionPolicy, type SnapshotId } from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { restic, resticBinaries, resticVersion } from './support/restic.ts'
import { openScratchRepository, PASSWORD, scratchDirectory } from './support/scratch-repository.ts'

/** Hours at which snapshots were made: many at first, ever fewer the older they are, some at the same moment. */
const HOURS_AGO = [0, 0.2, 0.9, 1, 3, 7, 7.5, 23, 24, 30, 47, 49, 71, 80, 100, 130, 170, 171, 200, 340, 400, 600, 745, 1000, 1500, 1501, 2200, 3000, 4400, 8000, 8800, 8801, 12_000, 17_600, 20_000]
const NEWEST = Date.UTC(2026, 0, 3, 4, 30)

const two = (number: number) => String(number).padStart(2, '0')

/** `2026-01-03T06:00:00.5+01:30` for a moment, as a clock that is so many minutes ahead of UTC shows it. */
function clockTime(at: number, offsetMinutes: number): string {
  const shown = new Date(at + offsetMinutes * 60_000).toISOString().slice(0, -1)
  const [sign, minutes] = [offsetMinutes < 0 ? '-' : '+', Math.abs(offsetMinutes)]
  return offsetMinutes === 0 ? `${shown}Z` : `${shown}${sign}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`
}

async function makeSnapshots(t: TestContext): Promise<string> {
  const directory = scratchDirectory(t)
  const path = join(directory, 'repository')
  fs.mkdirSync(join(directory, 'folder'))
  await using ours = await openScratchRepository(path)
  const { treeId, snapshotId } = await ours.archiveTree(join(directory, 'folder'))
  for (const [number, hours] of HOURS_AGO.entries()) {
    await ours.repository.saveSnapshot({
      time: clockTime(NEWEST - hours * 3_600_000, [0, 90, -480][number % 3] ?? 0),
      tree: treeId,
      paths: number % 5 === 0 ? ['/other', '/data'] : ['/data', '/other'],
      hostname: number % 4 === 0 ? 'second' : 'first',
      tags: ['weekly', 'monthly', 'a b'].filter((_tag, at) => number % (at + 3) === 0),
    }, ours.lock)
  }
  await ours[Symbol.asyncDispose]()
  await using repository = await openRepository(localStorage(path), { password: PASSWORD })
  await using lock = await repository.lock({ exclusive: true, settleMs: 0 })
  await repository.forgetSnapshots([snapshotId], lock)
  return path
}

interface Case {
  readonly commandLine: readonly string[]
  readonly policy: RetentionPolicy
  readonly groupBy?: readonly GroupField[]
}

const span = (text: string) => parseSpan(text) ?? assert.fail(text)

const cases: readonly Case[] = [
  { commandLine: ['--keep-last', '3'], policy: { last: 3 } },
  { commandLine: ['--keep-hourly', '6'], policy: { hourly: 6 } },
  { commandLine: ['--keep-daily', '7', '--keep-weekly', '5', '--keep-monthly', '12', '--keep-yearly', '75'], policy: { daily: 7, weekly: 5, monthly: 12, yearly: 75 } },
  { commandLine: ['--keep-yearly', '2', '--keep-last', '1'], policy: { yearly: 2, last: 1 } },
  { commandLine: ['--keep-weekly', '100'], policy: { weekly: 100 } },
  { commandLine: ['--keep-within', '1m2d'], policy: { within: span('1m2d') } },
  { commandLine: ['--keep-within', '23h'], policy: { within: span('23h') } },
  { commandLine: ['--keep-within-hourly', '2d', '--keep-within-daily', '14d', '--keep-within-weekly', '2m', '--keep-within-monthly', '1y', '--keep-within-yearly', '10y'],
    policy: { withinHourly: span('2d'), withinDaily: span('14d'), withinWeekly: span('2m'), withinMonthly: span('1y'), withinYearly: span('10y') } },
  { commandLine: ['--keep-tag', 'weekly,monthly', '--keep-tag', 'a b', '--keep-last', '1'], policy: { tags: [['weekly', 'monthly'], ['a b']], last: 1 } },
  { commandLine: ['--keep-daily', '3', '--keep-last', '2'], policy: { daily: 3, last: 2 }, groupBy: ['host', 'paths'] },
  { commandLine: ['--keep-monthly', '4'], policy: { monthly: 4 }, groupBy: ['host', 'tags'] },
]

interface ForgetGroup {
  readonly reasons: readonly { readonly snapshot: { readonly id?: SnapshotId, readonly time: string }, readonly matches: readonly string[] }[] | null
  readonly keep: readonly { readonly id: SnapshotId }[] | null
}

const binaries = resticBinaries().map((binary) => ({ binary, version: resticVersion(binary) }))

for (const { binary, version } of binaries) {
  test(`our rules keep what those of restic ${version} keep, for the same reasons`, async (t: TestContext) => {
    const path = await makeSnapshots(t)
    await using repository = await openRepository(localStorage(path), { password: PASSWORD })
    const snapshots = await repository.listSnapshots()
    assert.equal(snapshots.length, HOURS_AGO.length)
    const now = new Date()
    for (const { commandLine, policy, groupBy = [] } of cases) {
      const output = restic(binary, path, PASSWORD)
        .run('forget', '--dry-run', '--json', '--no-lock', '--group-by', groupBy.join(','), ...commandLine).stdout.toString()
      const groups = JSON.parse(output) as ForgetGroup[]
      const theirs = groups.map(({ keep }) => (keep ?? []).map(({ id }) => id).toSorted()).toSorted(byFirst)
      const verdicts = groupSnapshots(snapshots, new Set(groupBy)).map((group) =>
        judgeRetention(group.snapshots, policy, now, ({ snapshot }) => snapshot)
          .map(({ item, keptBecause }) => ({ item, keptBecause: keptBecause.filter((reason) => isKnownTo(version, reason)) })))
      const ours = verdicts.map((list) => list.filter(({ keptBecause }) => keptBecause.length > 0))
      assert.deepEqual(ours.map((list) => list.map(({ item }) => item.id).toSorted()).toSorted(byFirst), theirs, commandLine.join(' '))
      const theirReasons = groups.flatMap(({ reasons }) => (reasons ?? []).map(({ snapshot, matches }) => [clockFree(snapshot.time), ...matches.toSorted()])).toSorted(byFirst)
      const ourReasons = ours.flatMap((list) => list.map(({ item, keptBecause }) => [clockFree(item.snapshot.time), ...keptBecause.toSorted()])).toSorted(byFirst)
      assert.deepEqual(ourReasons, theirReasons, commandLine.join(' '))
    }
  })
}

/** Restic 0.14 does not keep the oldest snapshot where a rule has something left. */
function isKnownTo(version: string, reason: string): boolean {
  return !version.startsWith('0.14.') || !reason.startsWith('oldest ')
}

function byFirst(a: readonly string[], b: readonly string[]): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1
}

/** Programs may write the same moment in another way. */
function clockFree(time: string): string {
  return new Date(time).toISOString()
}
