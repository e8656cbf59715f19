/**
 * When a policy runs: the part of RFC 5545 that CBR's schedules use (FREQ=DAILY or WEEKLY with INTERVAL,
 * BYDAY, BYHOUR, BYMINUTE), expanded in the time zone of the schedule.
 *
 * Days are counted since 1970-01-01 in the zone's own calendar, so whether a rule fires on a day is
 * integer arithmetic; only days on which it does are turned into instants. INTERVAL counts from the day
 * on which the schedule begins. Where a rule says no day, hour or minute, those of the beginning count.
 *
 * Clocks that are put forward skip a piece of the day. RFC 5545 drops what falls into it; a backup must
 * not be dropped, so it runs at the first instant after the gap and is marked as moved. Clocks that are
 * put back go through an hour twice; a rule fires in the first one.
 */
import type { Micros } from '../clock.ts'

export interface Rule {
  readonly freq: 'DAILY' | 'WEEKLY'
  readonly interval: number
  /** 0 is Monday. Undefined: every day (DAILY), or the weekday of the beginning (WEEKLY). */
  readonly weekdays: readonly number[] | undefined
  readonly hours: readonly number[] | undefined
  readonly minutes: readonly number[] | undefined
}

export interface Schedule {
  readonly rules: readonly Rule[]
  /** Nothing runs earlier; whole minutes count. */
  readonly startsAt: Micros
  /** An IANA name, or UTC, in which a CBR policy runs unless told otherwise. */
  readonly timeZone: string
}

export interface Run {
  readonly at: Micros
  /** The wall clock that the rule asked for: `2026-03-29T02:30`. */
  readonly local: string
  /** The zone has no such wall clock on that day, so the run comes right after the gap. */
  readonly moved: boolean
}

/** A rule that cannot be used; the words end the sentence "Invalid … provided: …". */
export class BadRule extends Error {
  override name = 'BadRule'
}

export const INTERVAL_MAX = 365
const RULE_LENGTH_MAX = 1024
const WEEKDAYS = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU']
const MINUTES_PER_DAY = 1440
const MINUTES_APART_MIN = 60
const MICROS_PER_MINUTE = 60_000_000
const MICROS_PER_DAY = MINUTES_PER_DAY * MICROS_PER_MINUTE
/** Every rule that fires at all fires within INTERVAL_MAX weeks. */
const DAYS_AHEAD_MAX = INTERVAL_MAX * 7 + 1

/** Reads one rule of the contract's form. Throws a `BadRule`. */
export function parseRule(text: string): Rule {
  if (text.length > RULE_LENGTH_MAX) throw new BadRule(`a rule has at most ${RULE_LENGTH_MAX} characters`)
  const parts = new Map<string, string>()
  for (const part of text.split(';')) {
    const at = part.indexOf('=')
    const [name, value] = [part.slice(0, at), part.slice(at + 1)]
    if (parts.has(name)) throw new BadRule(`${name} stands twice in a rule`)
    parts.set(name, value)
  }
  const freq = parts.get('FREQ')
  if (freq !== 'DAILY' && freq !== 'WEEKLY') throw new BadRule('FREQ must be DAILY or WEEKLY')
  const interval = Number(parts.get('INTERVAL') ?? 1)
  if (!Number.isInteger(interval) || interval < 1 || interval > INTERVAL_MAX) throw new BadRule(`INTERVAL must be from 1 to ${INTERVAL_MAX}`)
  return {
    freq,
    interval,
    weekdays: parts.get('BYDAY')?.split(',').map((name) => WEEKDAYS.indexOf(name)),
    hours: readNumbers('BYHOUR', parts.get('BYHOUR'), 23),
    minutes: readNumbers('BYMINUTE', parts.get('BYMINUTE'), 59),
  }
}

function readNumbers(name: string, text: string | undefined, max: number): number[] | undefined {
  const numbers = text?.split(',').map(Number)
  if (numbers?.some((number) => !Number.isInteger(number) || number < 0 || number > max) === true) {
    throw new BadRule(`${name} must be from 0 to ${max}`)
  }
  return numbers
}

/** A rule with its beginning put in: on which days it fires, and at which minutes of them. */
interface FittedRule {
  readonly rule: Rule
  readonly startDay: number
  readonly weekdays: ReadonlySet<number> | undefined
  /** Ascending minutes of the day. */
  readonly times: readonly number[]
}

function weekdayOf(day: number): number {
  return (((day + 3) % 7) + 7) % 7
}

function fit(schedule: Schedule): FittedRule[] {
  const start = localMinutes(schedule.startsAt, schedule.timeZone)
  const startDay = Math.floor(start / MINUTES_PER_DAY)
  const startMinute = start - startDay * MINUTES_PER_DAY
  return schedule.rules.map((rule) => {
    const hours = rule.hours ?? [Math.floor(startMinute / 60)]
    const minutes = rule.minutes ?? [startMinute % 60]
    const times = new Set<number>()
    for (const hour of new Set(hours)) for (const minute of new Set(minutes)) times.add(hour * 60 + minute)
    const weekdays = rule.weekdays ?? (rule.freq === 'WEEKLY' ? [weekdayOf(startDay)] : undefined)
    return { rule, startDay, weekdays: weekdays === undefined ? undefined : new Set(weekdays), times: [...times].toSorted((a, b) => a - b) }
  })
}

function firesOn({ rule, startDay, weekdays }: FittedRule, day: number): boolean {
  const weekday = weekdayOf(day)
  if (weekdays !== undefined && !weekdays.has(weekday)) return false
  const periods = rule.freq === 'DAILY' ? day - startDay : (day - weekday - (startDay - weekdayOf(startDay))) / 7
  return periods % rule.interval === 0
}

function runsOfDay(rules: readonly FittedRule[], day: number, timeZone: string): Run[] {
  const times = new Set<number>()
  for (const rule of rules) if (firesOn(rule, day)) for (const time of rule.times) times.add(time)
  const runs: Run[] = []
  for (const time of [...times].toSorted((a, b) => a - b)) {
    const run = toRun(day * MINUTES_PER_DAY + time, timeZone)
    const last = runs.at(-1)
    // Several that a gap moves to its end are one run, and it is no moved one if a rule wants just that.
    if (last?.at === run.at) runs[runs.length - 1] = last.moved ? run : last
    else runs.push(run)
  }
  return runs
}

/**
 * The runs after a time, in order, at most those of the next `daysAhead` days; a schedule that never fires
 * ends after about seven years.
 */
export function* runsAfter(schedule: Schedule, after: Micros, daysAhead = DAYS_AHEAD_MAX): Generator<Run> {
  const rules = fit(schedule)
  const earliest = Math.max(after, floorToMinute(schedule.startsAt) - 1)
  // The day before: its runs may be moved into this one.
  const firstDay = Math.floor(localMinutes(earliest, schedule.timeZone) / MINUTES_PER_DAY) - 1
  let last: Micros | undefined
  for (let day = firstDay; day <= firstDay + daysAhead + 1; day += 1) {
    for (const run of runsOfDay(rules, day, schedule.timeZone)) {
      if (run.at <= earliest || run.at === last) continue
      last = run.at
      yield run
    }
  }
}

export function nextRun(schedule: Schedule, after: Micros): Run | undefined {
  return runsAfter(schedule, after).next().value ?? undefined
}

/** The last run that was due, after a time (exclusive) and until another (inclusive). */
export function latestRun(schedule: Schedule, after: Micros, until: Micros): Run | undefined {
  const rules = fit(schedule)
  const earliest = Math.max(after, floorToMinute(schedule.startsAt) - 1)
  const firstDay = Math.floor(localMinutes(earliest, schedule.timeZone) / MINUTES_PER_DAY) - 1
  for (let day = Math.floor(localMinutes(until, schedule.timeZone) / MINUTES_PER_DAY) + 1; day >= firstDay; day -= 1) {
    const found = runsOfDay(rules, day, schedule.timeZone).findLast((run) => run.at > earliest && run.at <= until)
    if (found !== undefined) return found
  }
  return undefined
}

/** How many runs were due, after a time (exclusive) and until another (inclusive); counts no further than `max`. */
export function countRuns(schedule: Schedule, after: Micros, until: Micros, max: number): number {
  let count = 0
  const days = Math.ceil((until - after) / MICROS_PER_DAY) + 2
  for (const run of runsAfter(schedule, after, days)) {
    if (run.at > until || count === max) break
    count += 1
  }
  return count
}

function floorToMinute(at: Micros): Micros {
  return Math.floor(at / MICROS_PER_MINUTE) * MICROS_PER_MINUTE
}

/** Minutes since 1970-01-01T00:00 by the wall clock of the zone. */
function localMinutes(at: Micros, timeZone: string): number {
  const minutes = Math.floor(at / MICROS_PER_MINUTE)
  if (timeZone === 'UTC') return minutes
  const zoned = Temporal.Instant.fromEpochMilliseconds(minutes * 60_000).toZonedDateTimeISO(timeZone)
  return minutes + Math.floor(zoned.offsetNanoseconds / 60_000_000_000)
}

function toRun(wallMinutes: number, timeZone: string): Run {
  const wall = Temporal.Instant.fromEpochMilliseconds(wallMinutes * 60_000).toZonedDateTimeISO('UTC').toPlainDateTime()
  const local = wall.toString({ smallestUnit: 'minute' })
  if (timeZone === 'UTC') return { at: wallMinutes * MICROS_PER_MINUTE, local, moved: false }
  // In a gap, "earlier" reads the wall clock with the offset after it, which gives a time before the gap.
  const zoned = wall.toZonedDateTime(timeZone, { disambiguation: 'earlier' })
  if (zoned.toPlainDateTime().equals(wall)) return { at: zoned.epochMilliseconds * 1000, local, moved: false }
  const end = zoned.getTimeZoneTransition('next') ?? zoned
  return { at: end.epochMilliseconds * 1000, local, moved: true }
}

/** Whether a zone is known to this machine; offsets such as +02:00 are none, since they know no summer. */
export function isTimeZone(text: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+\-/]{0,63}$/.test(text)) return false
  try {
    Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(text)
    return true
  } catch {
    return false
  }
}

/** One of the sets of days on which a rule fires: those that leave all these remainders. */
type Remainders = readonly { readonly remainder: number, readonly modulus: number }[]

function daysOf({ rule, startDay, weekdays }: FittedRule): Remainders[] {
  if (rule.freq === 'WEEKLY') {
    const monday = startDay - weekdayOf(startDay)
    return [...weekdays ?? []].map((weekday) => [{ remainder: monday + weekday, modulus: 7 * rule.interval }])
  }
  const each = { remainder: startDay, modulus: rule.interval }
  // Day 4 of 1970 was the first Monday.
  return weekdays === undefined ? [[each]] : [...weekdays].map((weekday) => [each, { remainder: 4 + weekday, modulus: 7 }])
}

/** Days with given remainders exist when each two of the conditions agree (Chinese remainder theorem). */
function canMeet(conditions: Remainders): boolean {
  return conditions.every((a, place) => conditions.slice(place + 1).every((b) => (a.remainder - b.remainder) % gcd(a.modulus, b.modulus) === 0))
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}

/**
 * Refuses rules that never fire, and rules of which two runs would ever be less than an hour apart by the
 * wall clock; runs at one and the same time are one run. Throws a `BadRule`. Exact for all time to come, as it solves
 * for common days instead of trying some.
 */
export function assertApart(schedule: Schedule): void {
  const rules = fit(schedule).map((rule) => ({ times: rule.times, days: daysOf(rule).filter(canMeet) }))
  for (const [place, a] of rules.entries()) {
    const tooClose = a.times.find((time, at) => at > 0 && time - (a.times[at - 1] ?? 0) < MINUTES_APART_MIN)
    if (tooClose !== undefined) throw tooCloseAt(tooClose)
    if (a.days.length === 0) throw new BadRule('there is no day on which it runs')
    for (const b of rules.slice(place)) {
      for (const meeting of closeTimes(a.times, b.times)) {
        if (a.days.some((days) => b.days.some((other) => canMeet([...days, ...shift(other, -meeting.daysLater)])))) throw tooCloseAt(meeting.time)
      }
    }
  }
}

/** Where a time of `b`, on the same day as one of `a` or on the one before or after, is less than an hour away but not the same. */
function closeTimes(a: readonly number[], b: readonly number[]): { readonly time: number, readonly daysLater: number }[] {
  return [-1, 0, 1].flatMap((daysLater) => b.filter((time) => a.some((other) => {
    const apart = Math.abs(time + daysLater * MINUTES_PER_DAY - other)
    return apart > 0 && apart < MINUTES_APART_MIN
  })).map((time) => ({ time, daysLater })))
}

function shift(days: Remainders, by: number): Remainders {
  return days.map(({ remainder, modulus }) => ({ remainder: remainder + by, modulus }))
}

function tooCloseAt(time: number): BadRule {
  const clock = `${String(Math.floor(time / 60)).padStart(2, '0')}:${String(time % 60).padStart(2, '0')}`
  return new BadRule(`the run at ${clock} and another one are less than an hour apart`)
}
