import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { RRuleTemporal } from 'rrule-temporal'
import { assertApart, BadRule, countRuns, latestRun, nextRun, parseRule, runsAfter, type Run, type Schedule } from './recurrence.ts'

const DAY = 24 * 3600 * 1_000_000
const DAYS = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU']
/** Both hemispheres, half an hour of summer time, clocks that jump at midnight, and none that jump. */
const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Africa/Cairo', 'America/Santiago', 'Asia/Kolkata']

const micros = (iso: string): number => Date.parse(iso) * 1000
const iso = (at: number): string => new Date(at / 1000).toISOString().slice(0, 16)

function schedule(rules: readonly string[], startsAt: string, timeZone = 'UTC'): Schedule {
  return { rules: rules.map(parseRule), startsAt: micros(startsAt), timeZone }
}

function take(from: Schedule, after: string, count: number): Run[] {
  return [...runsAfter(from, micros(after)).take(count)]
}

function times(rule: string, count: number): string[] {
  const start = '2026-01-15T08:30:00Z'
  return take(schedule([rule], start), start, count).map((run) => iso(run.at))
}

test('days, weeks and intervals count from the beginning', () => {
  assert.deepEqual(times('FREQ=DAILY;INTERVAL=1;BYHOUR=6;BYMINUTE=00', 2), ['2026-01-16T06:00', '2026-01-17T06:00'])
  assert.deepEqual(times('FREQ=DAILY;INTERVAL=3;BYHOUR=9;BYMINUTE=15', 3), ['2026-01-15T09:15', '2026-01-18T09:15', '2026-01-21T09:15'])
  assert.deepEqual(times('FREQ=WEEKLY;BYDAY=MO,TH;BYHOUR=01;BYMINUTE=30', 3), ['2026-01-19T01:30', '2026-01-22T01:30', '2026-01-26T01:30'])
  assert.deepEqual(times('FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR;BYHOUR=0;BYMINUTE=0', 3), ['2026-01-16T00:00', '2026-01-26T00:00', '2026-01-30T00:00'])
  // What a rule does not say, the beginning does.
  assert.deepEqual(times('FREQ=WEEKLY', 2), ['2026-01-22T08:30', '2026-01-29T08:30'])
})

test('in spring a run in the gap comes right after it and is marked; in autumn it comes once', () => {
  const night = schedule(['FREQ=DAILY;BYHOUR=2;BYMINUTE=30'], '2026-01-01T00:00:00Z', 'Europe/Berlin')
  assert.deepEqual(take(night, '2026-03-28T12:00:00Z', 2), [
    { at: micros('2026-03-29T01:00:00Z'), local: '2026-03-29T02:30', moved: true },
    { at: micros('2026-03-30T00:30:00Z'), local: '2026-03-30T02:30', moved: false },
  ])
  assert.deepEqual(take(night, '2026-10-24T12:00:00Z', 2).map((run) => [iso(run.at), run.moved]), [['2026-10-25T00:30', false], ['2026-10-26T01:30', false]])
  // Cairo's summer begins at midnight: that day has no 00:15.
  const cairo = schedule(['FREQ=DAILY;BYHOUR=0;BYMINUTE=15'], '2026-01-01T00:00:00Z', 'Africa/Cairo')
  assert.deepEqual(take(cairo, '2026-04-23T12:00:00Z', 1), [{ at: micros('2026-04-23T22:00:00Z'), local: '2026-04-24T00:15', moved: true }])
  // A run that is moved onto another one is that one.
  const hourly = schedule([`FREQ=DAILY;BYHOUR=${Array.from({ length: 24 }, (_, hour) => hour).join(',')};BYMINUTE=0`], '2026-01-01T00:00:00Z', 'Europe/Berlin')
  const runs = take(hourly, '2026-03-28T23:30:00Z', 3)
  assert.deepEqual(runs.map((run) => [iso(run.at), run.moved]), [['2026-03-29T00:00', false], ['2026-03-29T01:00', false], ['2026-03-29T02:00', false]])
})

const anyRule = ruleUpTo(9)

function ruleUpTo(intervalMax: number): fc.Arbitrary<string> {
  return fc.record({
    freq: fc.constantFrom('DAILY', 'WEEKLY'),
    interval: fc.option(fc.integer({ min: 1, max: intervalMax }), { nil: undefined }),
    days: fc.option(fc.uniqueArray(fc.constantFrom(...DAYS), { minLength: 1 }), { nil: undefined }),
    hours: fc.option(fc.uniqueArray(fc.integer({ min: 0, max: 23 }), { minLength: 1, maxLength: 4 }), { nil: undefined }),
    minutes: fc.option(fc.uniqueArray(fc.integer({ min: 0, max: 59 }), { minLength: 1, maxLength: 2 }), { nil: undefined }),
  }).map(({ freq, interval, days, hours, minutes }) => [
    `FREQ=${freq}`,
    ...(interval === undefined ? [] : [`INTERVAL=${interval}`]),
    ...(days === undefined ? [] : [`BYDAY=${days.join(',')}`]),
    ...(hours === undefined ? [] : [`BYHOUR=${hours.join(',')}`]),
    ...(minutes === undefined ? [] : [`BYMINUTE=${minutes.join(',')}`]),
  ].join(';'))
}

/** Whole minutes of 2020 to 2030. */
const anyTime = fc.integer({ min: Date.UTC(2020, 0) / 60_000, max: Date.UTC(2030, 0) / 60_000 }).map((minute) => minute * 60_000_000)

test('rules are expanded as RFC 5545 does it, but for the runs that a gap moves', () => {
  const seen = { runs: 0, moved: 0 }
  fc.assert(fc.property(anyRule, anyTime, fc.constantFrom(...ZONES), (rule, startsAt, timeZone) => {
    const start = Temporal.Instant.fromEpochMilliseconds(startsAt / 1000).toZonedDateTimeISO(timeZone)
    const stamp = start.toPlainDateTime().toString({ smallestUnit: 'second' }).replaceAll(/[-:]/g, '')
    const oracle = new RRuleTemporal({ rruleString: `DTSTART;TZID=${timeZone}:${stamp}\nRRULE:${rule}` })
    const until = startsAt + 500 * DAY
    const expected = oracle.between(start, Temporal.Instant.fromEpochMilliseconds(until / 1000).toZonedDateTimeISO(timeZone), true)
      .map((each) => each.epochMilliseconds * 1000)
    const own: Schedule = { rules: [parseRule(rule)], startsAt, timeZone }
    const found = [...runsAfter(own, startsAt - 1, 502)].filter((run) => run.at <= until)
    const regular = found.filter((run) => !run.moved).map((run) => run.at)
    // Where clocks are put back, a beginning in the second pass lies after the first one, in which rules fire.
    const isRepeated = start.toPlainDateTime().toZonedDateTime(timeZone, { disambiguation: 'earlier' }).epochMilliseconds !== start.epochMilliseconds
    const movedOnto = new Set(found.filter((run) => run.moved).map((run) => run.at))
    assert.deepEqual(regular, expected.filter((at) => !movedOnto.has(at) && !(isRepeated && at < startsAt)))
    seen.runs += found.length
    for (const run of found) {
      if (!run.moved) continue
      seen.moved += 1
      const zoned = Temporal.Instant.fromEpochMilliseconds(run.at / 1000).toZonedDateTimeISO(timeZone)
      assert.ok(zoned.subtract({ nanoseconds: 1 }).offsetNanoseconds < zoned.offsetNanoseconds, 'it comes right after a gap')
      assert.notEqual(zoned.toPlainDateTime().toString({ smallestUnit: 'minute' }), run.local)
    }
  }), { numRuns: 150, seed: 8 })
  assert.ok(seen.runs > 1000 && seen.moved > 0, JSON.stringify(seen))
})

test('the latest, the next and the number of runs agree with all of them in order', () => {
  fc.assert(fc.property(fc.array(anyRule, { minLength: 1, maxLength: 3 }), anyTime, fc.constantFrom(...ZONES), fc.nat(400), fc.nat(60), (rules, startsAt, timeZone, wait, length) => {
    const own: Schedule = { rules: rules.map(parseRule), startsAt, timeZone }
    const [after, until] = [startsAt + wait * DAY, startsAt + (wait + length) * DAY]
    const all = [...runsAfter(own, after, length + 3)].filter((run) => run.at <= until)
    assert.ok(all.every((run, place) => run.at > after && run.at > (all[place - 1]?.at ?? 0)), 'in order, each once')
    assert.equal(latestRun(own, after, until)?.at, all.at(-1)?.at)
    assert.equal(countRuns(own, after, until, 1e6), all.length)
    if (all.length > 0) assert.deepEqual(nextRun(own, after), all[0])
  }), { numRuns: 150 })
})

test('rules are called too close exactly when two of their runs are', () => {
  fc.assert(fc.property(fc.array(ruleUpTo(3), { minLength: 1, maxLength: 3 }), anyTime, (rules, startsAt) => {
    const own: Schedule = { rules: rules.map(parseRule), startsAt, timeZone: 'UTC' }
    let refusal: BadRule | undefined
    try {
      assertApart(own)
    } catch (error) {
      assert.ok(error instanceof BadRule)
      refusal = error
    }
    // All that intervals of up to three days and weeks can do together repeats after six weeks.
    const runs = [...runsAfter(own, startsAt - 1, 2 * 6 * 7)]
    const isTooClose = runs.some((run, place) => place > 0 && run.at - (runs[place - 1]?.at ?? 0) < 3600 * 1_000_000)
    const neverRuns = own.rules.some((rule) => nextRun({ ...own, rules: [rule] }, startsAt - 1) === undefined)
    assert.equal(refusal !== undefined, isTooClose || neverRuns, refusal === undefined ? rules.join(' and ') : refusal.message)
  }), { numRuns: 300 })
})
