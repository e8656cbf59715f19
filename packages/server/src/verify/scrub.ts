/**
 * Reading every pack of a vault within N days, a share each day.
 *
 * The names of packs are hashes, so packs lie evenly on a circle of 2^48 places, the first 48 bits of
 * their names. A hand goes round the circle in N runs, and a run reads the packs that it passes. So
 * what was read longest ago is always what comes next, new packs are met within a round wherever they
 * lie, and the whole state is where the hand is and until when the circle is covered. A server that was
 * down makes up for it: the hand goes as far as the time that has passed demands, at most once round.
 *
 * A run covers the day that follows it, and the next one begins half an hour before that ends, so that timers and
 * waiting jobs that are late do not add up to more than N days.
 */
import type { Micros } from '../clock.ts'

const PLACES = 2 ** 48
const HOUR = 3600 * 1_000_000
const DAY = 24 * HOUR
const EARLY = HOUR / 2

/** When to try again after a run that failed. */
export const SCRUB_RETRY: Micros = HOUR

export interface ScrubState {
  /** Where the hand is, from 0 to below 2^48. */
  readonly position: number
  readonly coveredUntil: Micros
}

export interface ScrubShare extends ScrubState {
  /** The places to read, as `PackSpan` of the agent has them. */
  readonly span: { readonly from: number, readonly to: number }
}

/** A state further in the future than this is from a clock that has been set back since. */
export const SCRUB_AHEAD_MAX: Micros = 2 * DAY

/** When the next run is due. */
export function scrubDueAt({ coveredUntil }: Pick<ScrubState, 'coveredUntil'>): Micros {
  return coveredUntil - EARLY
}

/** What a run that begins now reads, and the state when it has. */
export function nextShare(state: ScrubState, everyDays: number, now: Micros): ScrubShare {
  const since = state.coveredUntil > now + SCRUB_AHEAD_MAX ? now : state.coveredUntil
  const coveredUntil = Math.max(now + DAY, since)
  const days = Math.max(1, (coveredUntil - since) / DAY)
  const places = Math.ceil((days / everyDays) * PLACES)
  const from = state.position
  const to = (from + Math.min(places, PLACES)) % PLACES
  return { span: { from, to }, position: to, coveredUntil }
}
