/** Microseconds since 1970-01-01 UTC: the catalogue's unit of time, exact in a double until 2255. */
export type Micros = number

export interface Clock {
  now(): Micros
}

const MICROS_PER_MS = 1000

/** The machine's time in UTC, never running backwards within one process. */
export function systemClock(): Clock {
  let last = 0
  return {
    now() {
      const micros = Math.round((performance.timeOrigin + performance.now()) * MICROS_PER_MS)
      const wall = Date.now() * MICROS_PER_MS
      // The monotonic reading drifts from a corrected wall clock; more than a second apart, the wall clock is right.
      const current = Math.abs(wall - micros) > 1_000_000 ? wall : micros
      last = Math.max(last, current)
      return last
    },
  }
}

/** `2020-02-05T10:38:34.209782`: UTC without zone, as the cloud writes times. */
export function formatTime(micros: Micros): string {
  const ms = Math.floor(micros / MICROS_PER_MS)
  const rest = micros - ms * MICROS_PER_MS
  return new Date(ms).toISOString().slice(0, 23) + String(rest).padStart(3, '0')
}

/** Reads what `formatTime` has written. */
export function parseFormattedTime(text: string): Micros {
  return Date.parse(`${text.slice(0, 23)}Z`) * MICROS_PER_MS + Number(text.slice(23))
}

export function formatTimeOrNull(micros: Micros | null): string | null {
  return micros === null ? null : formatTime(micros)
}

/** RFC 3339 with `Z`, the form of token dates. */
export function formatZonedTime(micros: Micros): string {
  return `${formatTime(micros)}Z`
}

/**
 * Reads the contract's input form, `2018-02-01T12:00:00Z`. Returns undefined for anything else,
 * days that do not exist included.
 */
export function parseTime(text: string): Micros | undefined {
  if (!/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/.test(text)) return undefined
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) return undefined
  return new Date(ms).toISOString().slice(0, 19) === text.slice(0, 19) ? ms * MICROS_PER_MS : undefined
}
