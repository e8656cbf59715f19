import type { Span } from './retention-policy.ts'

/** A moment, and the calendar of the place where it was written down. */
export interface CalendarTime {
  /** Nanoseconds since 1970. */
  readonly nanoseconds: bigint
  /** How far the place's clocks are ahead of UTC, in minutes. */
  readonly offsetMinutes: number
}

const MINUTE_MS = 60_000
const HOUR_NS = 3_600_000_000_000n
const DAY_MS = 86_400_000
const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|([+-])(\d\d):(\d\d))$/

/** Reads an RFC 3339 time of up to nanoseconds; undefined for any other text. */
export function parseCalendarTime(text: string): CalendarTime | undefined {
  const parts = TIME.exec(text)
  if (parts === null) return undefined
  const seconds = Date.parse(`${parts[1]}Z`)
  if (Number.isNaN(seconds)) return undefined
  const offset = Number(parts[5] ?? 0) * 60 + Number(parts[6] ?? 0)
  const offsetMinutes = parts[4] === '-' ? -offset : offset
  const fraction = BigInt((parts[2] ?? '').padEnd(9, '0').slice(0, 9))
  return { nanoseconds: BigInt(seconds - offsetMinutes * MINUTE_MS) * 1_000_000n + fraction, offsetMinutes }
}

/** A date whose UTC fields are those of the place's calendar. */
function wallClock({ nanoseconds, offsetMinutes }: CalendarTime): Date {
  const milliseconds = nanoseconds / 1_000_000n - (nanoseconds % 1_000_000n < 0n ? 1n : 0n)
  return new Date(Number(milliseconds) + offsetMinutes * MINUTE_MS)
}

export type Period = 'hour' | 'day' | 'week' | 'month' | 'year'

/** A text that two times share when they lie in one such period of their calendars. */
export function periodOf(time: CalendarTime, period: Period): string {
  const clock = wallClock(time)
  const text = clock.toISOString()
  switch (period) {
    case 'hour': return text.slice(0, -11)
    case 'day': return text.slice(0, -14)
    case 'month': return text.slice(0, -17)
    case 'year': return text.slice(0, -20)
    case 'week': return isoWeek(clock)
  }
}

/** The year and number of the week, of which the Thursday decides to which year it belongs. */
function isoWeek(clock: Date): string {
  const daysSinceMonday = (clock.getUTCDay() + 6) % 7
  const thursday = new Date(clock.getTime() + (3 - daysSinceMonday) * DAY_MS)
  const year = thursday.getUTCFullYear()
  const dayOfYear = Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / DAY_MS)
  return `${year} week ${Math.floor(dayOfYear / 7) + 1}`
}

/**
 * The moment so long before a time, by its calendar, in nanoseconds since 1970. A day that a month has
 * not becomes one of the next month: one month before the 31st of March is the 3rd of March, or the 2nd.
 */
export function before(time: CalendarTime, span: Span): bigint {
  const clock = wallClock(time)
  const earlier = Date.UTC(
    clock.getUTCFullYear() - span.years, clock.getUTCMonth() - span.months, clock.getUTCDate() - span.days,
    clock.getUTCHours(), clock.getUTCMinutes(), clock.getUTCSeconds(), clock.getUTCMilliseconds(),
  )
  const days = BigInt(clock.getTime() - earlier) * 1_000_000n
  return time.nanoseconds - days - BigInt(span.hours) * HOUR_NS
}
