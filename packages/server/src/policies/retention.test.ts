import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { expiryOf, keepsAtLeast, openJudge, retentionOf, type Retention } from './retention.ts'

const DAY = 24 * 3600 * 1_000_000
const NONE = { max_backups: -1, retention_duration_days: -1, day_backups: 0, week_backups: 0, month_backups: 0, year_backups: 0 }

const anyLimits = fc.record({
  max_backups: fc.integer({ min: -1, max: 9 }),
  day_backups: fc.nat(9), week_backups: fc.nat(6), month_backups: fc.nat(14), year_backups: fc.nat(5),
  timezone: fc.constantFrom('UTC+00:00', 'UTC+08:00', 'UTC-03:30', 'UTC+14:00'),
})
const anyTimes = fc.uniqueArray(fc.integer({ min: Date.UTC(2020, 0) / 1000, max: Date.UTC(2026, 0) / 1000 }), { maxLength: 120 })
  .map((seconds) => seconds.map((second) => second * 1_000_000))

function keptOf(times: readonly number[], retention: Retention): Set<number> {
  const judge = openJudge(retention)
  return new Set(times.toSorted((a, b) => b - a).filter((at) => judge(at).length > 0))
}

/** The rule as the reference says it, without a thought for cost: for each backup, whether it is the newest of its period and of how many. */
function keptByBruteForce(times: readonly number[], limits: { [Name in keyof typeof NONE]: number } & { timezone: string }): Set<number> {
  const [sign, hours, minutes] = [limits.timezone[3], Number(limits.timezone.slice(4, 6)), Number(limits.timezone.slice(7))]
  const zone = `${sign}${String(hours).padStart(2, '0')}:${String(minutes).padStart(2, '0')}`
  const local = new Map(times.map((at) => [at, Temporal.Instant.fromEpochMilliseconds(Math.floor(at / 1000)).toZonedDateTimeISO(zone)]))
  const periods: readonly (readonly [number, (time: Temporal.ZonedDateTime) => string])[] = [
    [limits.day_backups, (time) => time.toPlainDate().toString()],
    [limits.week_backups, (time) => `${time.yearOfWeek} ${time.weekOfYear}`],
    [limits.month_backups, (time) => time.toPlainDate().toString().slice(0, 7)],
    [limits.year_backups, (time) => String(time.year)],
  ]
  const isUnlimited = limits.max_backups <= 0 && periods.every(([max]) => max === 0)
  const keys = periods.map(([, keyOf]) => new Map([...local].map(([at, time]) => [at, keyOf(time)])))
  return new Set(times.filter((at) => {
    const newer = times.filter((other) => other > at)
    if (isUnlimited || newer.length < limits.max_backups) return true
    return periods.some(([max], place) => {
      const keyOf = keys[place] ?? assert.fail()
      const newerPeriods = new Set(newer.map((other) => keyOf.get(other)))
      return !newerPeriods.has(keyOf.get(at)) && newerPeriods.size < max
    })
  }))
}

test('what is kept is what the rule says, by count, days, weeks, months and years', () => {
  fc.assert(fc.property(anyTimes, anyLimits, (times, limits) => {
    const all = { ...NONE, ...limits }
    assert.deepEqual(keptOf(times, retentionOf(all)), keptByBruteForce(times, all))
  }), { numRuns: 200 })
})

test('ten years of a day, week, month and year policy, judged night by night, end as one look at all of it does', () => {
  const limits = { ...NONE, max_backups: 3, day_backups: 7, week_backups: 5, month_backups: 12, year_backups: 10, timezone: 'UTC+08:00' }
  const retention = retentionOf(limits)
  const start = Date.UTC(2026, 0, 1, 16, 30) * 1000
  let held: number[] = []
  const all: number[] = []
  for (let night = 0; night < 3653; night += 1) {
    const at = start + night * DAY
    all.push(at)
    held = [...keptOf([...held, at], retention)]
    if (night % 365 === 364) assert.deepEqual(new Set(held), keptByBruteForce(held, limits), 'what is held is kept by the rule')
  }
  // The newest of a period is the newest whatever went before it, so deleting night by night loses nothing.
  assert.deepEqual(new Set(held), keptOf(all, retention))
  assert.deepEqual(new Set(held), keptByBruteForce(all, limits))
  assert.ok(held.length > 20 && held.length <= 3 + 7 + 5 + 12 + 10)
})

type Limits = typeof anyLimits extends fc.Arbitrary<infer Each> ? Each : never

/** Mostly more of the same, so that comparable policies are met. */
function raise(limits: Limits, by: Limits, factor: number): Limits {
  return {
    max_backups: limits.max_backups + factor * Math.max(0, by.max_backups),
    day_backups: limits.day_backups + by.day_backups,
    week_backups: limits.week_backups + by.week_backups,
    month_backups: limits.month_backups,
    year_backups: limits.year_backups + by.year_backups,
    timezone: limits.timezone,
  }
}

test('the newest always stays, more limits never keep less, and order of asking does not matter', () => {
  fc.assert(fc.property(anyTimes, anyLimits, anyLimits, fc.nat(2), (times, limits, more, kind) => {
    const kept = keptOf(times, retentionOf({ ...NONE, ...limits }))
    if (times.length > 0) assert.ok(kept.has(Math.max(...times)))
    const [before, after] = [retentionOf({ ...NONE, ...limits }), retentionOf({ ...NONE, ...(kind === 0 ? more : raise(limits, more, kind)) })]
    if (!keepsAtLeast(before, after)) return
    const keptLater = keptOf(times, after)
    for (const at of kept) assert.ok(keptLater.has(at), 'a policy that passes for keeping as much keeps as much')
  }), { numRuns: 300 })
})

test('days give each backup an end, and nothing else does', () => {
  assert.equal(expiryOf(retentionOf({ ...NONE, retention_duration_days: 7 }), 5), 5 + 7 * DAY)
  for (const days of [-1, 0]) assert.equal(expiryOf(retentionOf({ ...NONE, retention_duration_days: days }), 5), null)
  assert.deepEqual(openJudge(retentionOf(NONE))(5), ['no limit by count'])
})

test('keeping at least as much: days with days, ranks with ranks, and no limit with everything', () => {
  const days = (count: number): Retention => retentionOf({ ...NONE, retention_duration_days: count })
  const count = (max: number, over: Partial<typeof NONE> & { timezone?: string } = {}): Retention => retentionOf({ ...NONE, max_backups: max, ...over })
  const free = retentionOf(NONE)
  for (const [before, after, expected] of [
    [days(7), days(7), true], [days(7), days(8), true], [days(7), days(6), false], [days(7), free, true], [free, days(99_999), false],
    [days(7), count(99), false], [count(1), days(99_999), false], [count(3), count(3), true], [count(3), count(2), false], [count(3), free, true],
    [count(3), count(2, { day_backups: 9, timezone: 'UTC+00:00' }), false],
    [count(1, { day_backups: 2, timezone: 'UTC+00:00' }), count(1, { day_backups: 2, timezone: 'UTC+01:00' }), false],
  ] as const) assert.equal(keepsAtLeast(before, after), expected, JSON.stringify([before, after]))
})
