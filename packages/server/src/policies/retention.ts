/**
 * What a policy keeps of the automatic backups that it made of one resource, newest first.
 *
 * - By days: each backup is given its end when it is made (`expired_at`); nothing is judged here.
 * - By count: the newest `max_backups` stay.
 * - By the calendar: the newest backup of each of the last N days, weeks (from Monday), months and years
 *   that have one stay. Periods without a backup do not count, so a vault in which nothing runs any more
 *   keeps what it has.
 * - What any rule keeps is kept. A policy without rules keeps everything.
 */
import type { PolicyDefinition } from '@opencbr/contract'
import type { Micros } from '../clock.ts'

export interface Retention {
  /** Undefined: no limit. */
  readonly countMax: number | undefined
  readonly daysMax: number | undefined
  readonly calendar: Readonly<Record<Period, number>>
  readonly hasCalendar: boolean
  readonly offsetMinutes: number
}

export type Period = 'day' | 'week' | 'month' | 'year'

const PERIODS: readonly Period[] = ['day', 'week', 'month', 'year']
const MICROS_PER_DAY = 24 * 3600 * 1_000_000

type Limits = Pick<PolicyDefinition, 'max_backups' | 'retention_duration_days' | 'day_backups' | 'week_backups' | 'month_backups' | 'year_backups' | 'timezone'>

/** 0 counts as absent everywhere, as -1 does for the two limits. */
export function retentionOf(definition: Limits): Retention {
  const calendar = {
    day: definition.day_backups, week: definition.week_backups, month: definition.month_backups, year: definition.year_backups,
  }
  return {
    countMax: definition.max_backups > 0 ? definition.max_backups : undefined,
    daysMax: definition.retention_duration_days > 0 ? definition.retention_duration_days : undefined,
    calendar,
    hasCalendar: PERIODS.some((period) => calendar[period] > 0),
    offsetMinutes: offsetOf(definition.timezone),
  }
}

function offsetOf(timezone: string | undefined): number {
  const parts = /^UTC([+-])(\d{2}):(\d{2})$/.exec(timezone ?? '')
  if (parts === null) return 0
  return (parts[1] === '-' ? -1 : 1) * (Number(parts[2]) * 60 + Number(parts[3]))
}

/** Whether backups leave by their rank among others, and not by an end of their own. */
export function goesByRank(retention: Retention): boolean {
  return retention.countMax !== undefined || retention.hasCalendar
}

/** The end of a backup that is made now; null when it has none of its own. */
export function expiryOf(retention: Retention, createdAt: Micros): Micros | null {
  return retention.daysMax === undefined ? null : createdAt + retention.daysMax * MICROS_PER_DAY
}

/** Judges the backups of one resource one after the other, newest first: says why each is kept; no reason means that it goes. */
export type Judge = (createdAt: Micros) => string[]

export function openJudge(retention: Retention): Judge {
  let rank = 0
  const kept: Record<Period, number> = { day: 0, week: 0, month: 0, year: 0 }
  const last: Partial<Record<Period, number>> = {}
  return (createdAt) => {
    if (!goesByRank(retention)) return ['no limit by count']
    const reasons: string[] = []
    rank += 1
    if (retention.countMax !== undefined && rank <= retention.countMax) reasons.push(`among the newest ${retention.countMax}`)
    for (const period of PERIODS) {
      const max = retention.calendar[period]
      if (kept[period] >= max) continue
      const number = periodOf(period, createdAt, retention.offsetMinutes)
      if (number === last[period]) continue
      last[period] = number
      kept[period] += 1
      reasons.push(`newest of its ${period}, one of the last ${max}`)
    }
    return reasons
  }
}

/** A number that two times share when they lie in one day, week, month or year at that offset from UTC. */
function periodOf(period: Period, at: Micros, offsetMinutes: number): number {
  const day = Math.floor((at + offsetMinutes * 60_000_000) / MICROS_PER_DAY)
  if (period === 'day') return day
  // 1970-01-01 was a Thursday.
  if (period === 'week') return Math.floor((day + 3) / 7)
  const date = new Date(day * (MICROS_PER_DAY / 1000))
  return period === 'year' ? date.getUTCFullYear() : date.getUTCFullYear() * 12 + date.getUTCMonth()
}

/**
 * Whether a changed policy keeps at least what it kept, whatever runs: what a locked vault asks for.
 * Days and ranks cannot be compared, so a change from one to the other counts as keeping less.
 */
export function keepsAtLeast(before: Retention, after: Retention): boolean {
  const isUnlimited = (retention: Retention): boolean => retention.daysMax === undefined && !goesByRank(retention)
  if (isUnlimited(after)) return true
  if (isUnlimited(before)) return false
  if (before.daysMax !== undefined) return after.daysMax !== undefined && after.daysMax >= before.daysMax
  if (after.daysMax !== undefined) return false
  const sameCalendar = !before.hasCalendar || before.offsetMinutes === after.offsetMinutes
  return sameCalendar && (after.countMax ?? 0) >= (before.countMax ?? 0) && PERIODS.every((period) => after.calendar[period] >= before.calendar[period])
}
