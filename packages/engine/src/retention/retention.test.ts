import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { before, parseCalendarTime, periodOf } from './calendar.ts'
import { judgeRetention, type DatedSnapshot } from './judge-retention.ts'
import { parseSpan, showSpan, type RetentionPolicy } from './retention-policy.ts'

const NOW = new Date('2030-01-01T00:00:00Z')

function keptBy(times: readonly string[], policy: RetentionPolicy): Record<string, readonly string[]> {
  const verdicts = judgeRetention(times.map((time) => ({ time })), policy, NOW, (item) => item)
  return Object.fromEntries(verdicts.filter(({ keptBecause }) => keptBecause.length > 0).map(({ item, keptBecause }) => [item.time, keptBecause]))
}

test('a rule keeps the newest snapshot of each of its periods, and the oldest of all while something is left', () => {
  const times = ['2026-03-01T08:00:00Z', '2026-03-01T09:00:00Z', '2026-03-02T08:00:00Z', '2026-03-04T08:00:00Z', '2026-03-04T07:00:00Z']
  assert.deepEqual(keptBy(times, { daily: 2 }), {
    '2026-03-04T08:00:00Z': ['daily snapshot'], '2026-03-02T08:00:00Z': ['daily snapshot'],
  })
  assert.deepEqual(keptBy(times, { daily: 9 }), {
    '2026-03-04T08:00:00Z': ['daily snapshot'], '2026-03-02T08:00:00Z': ['daily snapshot'],
    '2026-03-01T09:00:00Z': ['daily snapshot'], '2026-03-01T08:00:00Z': ['oldest daily snapshot'],
  })
})

test('days are those of the time zone in which a snapshot was made', () => {
  assert.deepEqual(Object.keys(keptBy(['2026-03-01T23:30:00-05:00', '2026-03-02T03:30:00Z', '2026-03-03T12:00:00Z'], { daily: 2 })), [
    '2026-03-03T12:00:00Z', '2026-03-01T23:30:00-05:00',
  ])
})

const week = (time: string) => periodOf(parseCalendarTime(time) ?? assert.fail(time), 'week')

test('weeks belong to the year of their Thursday', () => {
  assert.equal(week('2027-01-03T12:00:00Z'), '2026 week 53')
  assert.equal(week('2027-01-04T12:00:00Z'), '2027 week 1')
  assert.equal(week('2024-12-30T12:00:00Z'), '2025 week 1')
})

test('a month before the 31st of March is the 3rd of March', () => {
  const time = parseCalendarTime('2026-03-31T10:00:00.000000001+02:00') ?? assert.fail()
  const expected = parseCalendarTime('2026-03-03T09:00:00.000000001+02:00') ?? assert.fail()
  assert.equal(before(time, { years: 0, months: 1, days: 0, hours: 1 }), expected.nanoseconds)
})

test('what lies in the future is no measure for the age of others', () => {
  assert.deepEqual(Object.keys(keptBy(['2026-01-01T00:00:00Z', '2026-01-05T00:00:00Z', '2040-01-01T00:00:00Z'], { within: parseSpan('2d') })), [
    '2040-01-01T00:00:00Z', '2026-01-05T00:00:00Z',
  ])
})

test('spans are read and shown', () => {
  assert.deepEqual(parseSpan('1y5m7d2h'), { years: 1, months: 5, days: 7, hours: 2 })
  assert.equal(showSpan(parseSpan('14d') ?? assert.fail()), '14d')
  for (const text of ['', '1', 'd', '1w', '1d1d', '1d ', '-1d']) assert.equal(parseSpan(text), undefined, text)
})

/** The rule in other words: a snapshot is kept when fewer periods than the count begin after its own. */
function keptByBruteForce(snapshots: readonly DatedSnapshot[], policy: RetentionPolicy): Set<number> {
  const times = snapshots.map(({ time }) => Date.parse(time))
  const kept = new Set<number>()
  const order = times.map((_, at) => at).sort((a, b) => (times[b] ?? 0) - (times[a] ?? 0) || a - b)
  const cuts = { hourly: 13, daily: 10, monthly: 7, yearly: 4 } as const
  const periodAt = (at: number, length: number) => new Date(times[at] ?? 0).toISOString().slice(0, length)
  for (const [rule, length] of Object.entries(cuts) as [keyof typeof cuts, number][]) {
    const count = policy[rule]
    if (typeof count !== 'number' || count === 0) continue
    const periods = [...new Set(order.map((at) => periodAt(at, length)))]
    for (const period of periods.slice(0, count)) kept.add(order.find((at) => periodAt(at, length) === period) ?? -1)
    if (periods.length < count) kept.add(order.at(-1) ?? -1)
  }
  if (typeof policy.last === 'number') for (const at of order.slice(0, policy.last)) kept.add(at)
  for (const [at, { tags = [] }] of snapshots.entries()) {
    if ((policy.tags ?? []).some((wanted) => wanted.every((tag) => tags.includes(tag)))) kept.add(at)
  }
  return kept
}

test('whatever the snapshots and the policy, what is kept is what the rule says', () => {
  const hour = fc.integer({ min: 0, max: 24 * 800 })
  const snapshot = fc.record({
    time: hour.map((hours) => new Date(Date.UTC(2026, 0, 1) + hours * 1_200_000).toISOString()),
    tags: fc.uniqueArray(fc.constantFrom('a', 'b', 'c')),
  })
  const count = fc.integer({ min: 0, max: 5 })
  const policy = fc.record({
    last: count, hourly: count, daily: count, monthly: count, yearly: count,
    tags: fc.array(fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { minLength: 1 }), { maxLength: 2 }),
  })
  fc.assert(fc.property(fc.array(snapshot, { minLength: 1, maxLength: 40 }), policy, (snapshots, rules) => {
    const isEmpty = rules.tags.length === 0 && rules.last + rules.hourly + rules.daily + rules.monthly + rules.yearly === 0
    fc.pre(!isEmpty)
    const numbered = snapshots.map((each, number) => ({ ...each, number }))
    const kept = judgeRetention(numbered, rules, NOW, (item) => item).filter(({ keptBecause }) => keptBecause.length > 0)
    assert.deepEqual(kept.map(({ item }) => item.number).sort((a, b) => a - b), [...keptByBruteForce(snapshots, rules)].sort((a, b) => a - b))
  }), { numRuns: 300 })
})
