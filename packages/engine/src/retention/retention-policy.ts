/** A length of time as people say it; how long a month is depends on where it begins. */
export interface Span {
  readonly years: number
  readonly months: number
  readonly days: number
  readonly hours: number
}

/** How many snapshots to keep of a kind; `unlimited` keeps all of them. */
export type KeepCount = number | 'unlimited'

/**
 * Which snapshots of a group to keep. What any of its rules keeps is kept. A rule such as `daily` keeps
 * the newest snapshot of each of the last so many days that have one; `withinDaily` the newest of each
 * day in the time before the newest snapshot.
 */
export interface RetentionPolicy {
  readonly last?: KeepCount | undefined
  readonly hourly?: KeepCount | undefined
  readonly daily?: KeepCount | undefined
  readonly weekly?: KeepCount | undefined
  readonly monthly?: KeepCount | undefined
  readonly yearly?: KeepCount | undefined
  readonly within?: Span | undefined
  readonly withinHourly?: Span | undefined
  readonly withinDaily?: Span | undefined
  readonly withinWeekly?: Span | undefined
  readonly withinMonthly?: Span | undefined
  readonly withinYearly?: Span | undefined
  /** Keeps what carries all tags of one of the lists. */
  readonly tags?: readonly (readonly string[])[] | undefined
}

const units = { y: 'years', m: 'months', d: 'days', h: 'hours' } as const

/** Reads `1y5m7d2h`, each part once at most; undefined when it is not of that form. */
export function parseSpan(text: string): Span | undefined {
  const span = { years: 0, months: 0, days: 0, hours: 0 }
  const seen = new Set<string>()
  let rest = text
  while (rest !== '') {
    const part = /^(\d{1,6})([ymdh])/.exec(rest)
    const unit = part?.[2] as keyof typeof units | undefined
    if (part === null || unit === undefined || seen.has(unit)) return undefined
    seen.add(unit)
    span[units[unit]] = Number(part[1])
    rest = rest.slice(part[0].length)
  }
  return seen.size === 0 ? undefined : span
}

/** The form that `parseSpan` reads, without parts that are zero. */
export function showSpan(span: Span): string {
  return Object.entries(units).map(([letter, unit]) => (span[unit] === 0 ? '' : `${span[unit]}${letter}`)).join('')
}

export function isZeroSpan(span: Span | undefined): boolean {
  return span === undefined || showSpan(span) === ''
}

/** Whether a policy has no rule that keeps anything. */
export function isEmptyPolicy(policy: RetentionPolicy): boolean {
  const counts = [policy.last, policy.hourly, policy.daily, policy.weekly, policy.monthly, policy.yearly]
  const spans = [policy.within, policy.withinHourly, policy.withinDaily, policy.withinWeekly, policy.withinMonthly, policy.withinYearly]
  return counts.every((count) => count === undefined || count === 0) && spans.every(isZeroSpan) && (policy.tags ?? []).length === 0
}
