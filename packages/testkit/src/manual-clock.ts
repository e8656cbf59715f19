import type { Clock, Micros } from '@opencbr/server'

const MICROS_PER_SECOND = 1_000_000

/** A clock that stands still until a test turns it. */
export class ManualClock implements Clock {
  #now: Micros

  /** Starts on 2026-01-15 08:30:00 UTC unless told otherwise. */
  constructor(start: Micros = Date.UTC(2026, 0, 15, 8, 30) * 1000) {
    this.#now = start
  }

  now(): Micros {
    return this.#now
  }

  advanceSeconds(seconds: number): void {
    this.#now += Math.round(seconds * MICROS_PER_SECOND)
  }

  /** For what has to differ in time only: one microsecond. */
  tick(): void {
    this.#now += 1
  }
}
