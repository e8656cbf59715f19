import { before, parseCalendarTime, periodOf, type CalendarTime, type Period } from './calendar.ts'
import { isEmptyPolicy, isZeroSpan, showSpan, type KeepCount, type RetentionPolicy, type Span } from './retention-policy.ts'

/** What a policy looks at in a snapshot. */
export interface DatedSnapshot {
  /** RFC 3339; days and weeks are those of its own time zone. */
  readonly time: string
  readonly tags?: readonly string[] | undefined
}

export interface RetentionVerdict<Item> {
  readonly item: Item
  /** None means that it goes. */
  readonly keptBecause: readonly string[]
}

interface Judged<Item> {
  readonly item: Item
  readonly tags: readonly string[]
  readonly time: CalendarTime
}

interface PeriodRule {
  readonly reason: string
  readonly period: Period | undefined
  /** Snapshots that it may still keep. */
  left: number
  /** Keeps only what is younger, in nanoseconds since 1970. */
  readonly after: bigint | undefined
  lastPeriod: string | undefined
}

/**
 * Judges which snapshots of one group a policy keeps, and why. Newest first; snapshots with one time
 * keep their order. The oldest snapshot stays as long as a rule that counts has something left, so that
 * a history which is shorter than the policy allows for keeps its beginning. A policy without rules
 * keeps everything.
 *
 * @param now what lies after it is no measure for the rules that go by the age
 * @param snapshotOf what the policy looks at in an item
 */
export function judgeRetention<Item>(
  items: readonly Item[], policy: RetentionPolicy, now: Date, snapshotOf: (item: Item) => DatedSnapshot,
): RetentionVerdict<Item>[] {
  const newestFirst = items.map((item): Judged<Item> => {
    const { time, tags = [] } = snapshotOf(item)
    const parsed = parseCalendarTime(time)
    if (parsed === undefined) throw new RangeError(`${time} is not a time.`)
    return { item, tags, time: parsed }
  }).toSorted((a, b) => Number(b.time.nanoseconds > a.time.nanoseconds) - Number(b.time.nanoseconds < a.time.nanoseconds))
  if (isEmptyPolicy(policy)) return newestFirst.map(({ item }) => ({ item, keptBecause: ['policy is empty'] }))

  const nowNanoseconds = BigInt(now.getTime()) * 1_000_000n
  const measure = newestFirst.find(({ time }) => time.nanoseconds < nowNanoseconds)?.time
  const rules = [...countingRules(policy), ...ageRules(policy, measure)]
  const youngestOut = boundOf(policy.within, measure)
  return newestFirst.map(({ item, tags, time }, rank) => {
    const keptBecause: string[] = []
    for (const wanted of policy.tags ?? []) if (hasTags(tags, wanted)) keptBecause.push(`has tags [${wanted.join(', ')}]`)
    if (policy.within !== undefined && youngestOut !== undefined && time.nanoseconds > youngestOut) keptBecause.push(`within ${showSpan(policy.within)}`)
    for (const rule of rules) {
      const reason = judgeByPeriod(rule, time, rank, rank === newestFirst.length - 1)
      if (reason !== undefined) keptBecause.push(reason)
    }
    return { item, keptBecause }
  })
}

/** Why a rule keeps the next snapshot, counting it; undefined when it does not. */
function judgeByPeriod(rule: PeriodRule, time: CalendarTime, rank: number, isOldest: boolean): string | undefined {
  if (rule.left <= 0 || (rule.after !== undefined && time.nanoseconds <= rule.after)) return undefined
  const period = rule.period === undefined ? String(rank) : periodOf(time, rule.period)
  const isNew = period !== rule.lastPeriod
  if (!isNew && !isOldest) return undefined
  rule.lastPeriod = period
  rule.left -= 1
  return isNew ? rule.reason : `oldest ${rule.reason}`
}

function hasTags(tags: readonly string[], wanted: readonly string[]): boolean {
  if (wanted.length === 1 && wanted[0] === '') return tags.length === 0
  return wanted.every((tag) => tags.includes(tag))
}

function countingRule(reason: string, period: Period | undefined, count: KeepCount = 0): PeriodRule {
  return { reason, period, left: count === 'unlimited' ? Infinity : count, after: undefined, lastPeriod: undefined }
}

function countingRules(policy: RetentionPolicy): PeriodRule[] {
  return [
    countingRule('last snapshot', undefined, policy.last),
    countingRule('hourly snapshot', 'hour', policy.hourly),
    countingRule('daily snapshot', 'day', policy.daily),
    countingRule('weekly snapshot', 'week', policy.weekly),
    countingRule('monthly snapshot', 'month', policy.monthly),
    countingRule('yearly snapshot', 'year', policy.yearly),
  ]
}

function ageRules(policy: RetentionPolicy, measure: CalendarTime | undefined): PeriodRule[] {
  const rule = (reason: string, period: Period, span: Span | undefined): PeriodRule[] => {
    const after = boundOf(span, measure)
    if (span === undefined || after === undefined) return []
    return [{ reason: `${reason} within ${showSpan(span)}`, period, left: Infinity, after, lastPeriod: undefined }]
  }
  return [
    ...rule('hourly', 'hour', policy.withinHourly),
    ...rule('daily', 'day', policy.withinDaily),
    ...rule('weekly', 'week', policy.withinWeekly),
    ...rule('monthly', 'month', policy.withinMonthly),
    ...rule('yearly', 'year', policy.withinYearly),
  ]
}

/** Where the time before the measure begins. Without a measure all lies in the future, and nothing is too old. */
function boundOf(span: Span | undefined, measure: CalendarTime | undefined): bigint | undefined {
  if (span === undefined || isZeroSpan(span)) return undefined
  return measure === undefined ? -(2n ** 63n) : before(measure, span)
}
