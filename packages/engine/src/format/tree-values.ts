/**
 * The values in a tree that Go writes in its own way: times as RFC 3339 text with nanoseconds, and
 * file modes in the bit layout of Go's `os.FileMode` instead of the kernel's.
 */

const NANOSECONDS_PER_SECOND = 1_000_000_000n
const NANOSECONDS_PER_MINUTE = 60n * NANOSECONDS_PER_SECOND
const SECONDS_YEAR_0 = -62_167_219_200n
const SECONDS_YEAR_10000 = 253_402_300_800n
/** The calendar repeats after 400 years. */
const SECONDS_PER_400_YEARS = 12_622_780_800n

// Files that were written together share their seconds, of both their times, and formatting a date is slow.
let lastSeconds: number | undefined
let lastText = ''
let secondsBefore: number | undefined
let textBefore = ''

/**
 * Nanoseconds since 1970 as a tree has them, in UTC. A year outside 0–9999 cannot be written in
 * RFC 3339: it becomes the nearest year that can, and the rest of the time stays.
 */
export function formatTreeTime(nanoseconds: bigint): string {
  let fraction = nanoseconds % NANOSECONDS_PER_SECOND
  if (fraction < 0n) fraction += NANOSECONDS_PER_SECOND
  const seconds = (nanoseconds - fraction) / NANOSECONDS_PER_SECOND
  const inRange = seconds >= SECONDS_YEAR_0 && seconds < SECONDS_YEAR_10000
  return inRange ? formatTimeParts(Number(seconds), Number(fraction)) : withFraction(formatSecondsMoved(seconds), Number(fraction))
}

/** The same of whole seconds and the nanoseconds after them, as the kernel gives them. */
export function formatTimeParts(seconds: number, nanoseconds: number): string {
  if (seconds !== lastSeconds) {
    const text = seconds === secondsBefore ? textBefore : formatSeconds(seconds)
    secondsBefore = lastSeconds
    textBefore = lastText
    lastSeconds = seconds
    lastText = text
  }
  return withFraction(lastText, nanoseconds)
}

function withFraction(text: string, nanoseconds: number): string {
  if (nanoseconds === 0) return `${text}Z`
  const digits = nanoseconds.toString().padStart(9, '0')
  // Most times have all nine.
  return `${text}.${digits.endsWith('0') ? digits.replace(/0+$/, '') : digits}Z`
}

function formatSeconds(seconds: number): string {
  return seconds >= SECONDS_YEAR_0 && seconds < SECONDS_YEAR_10000 ? isoSeconds(seconds) : formatSecondsMoved(BigInt(seconds))
}

function formatSecondsMoved(seconds: bigint): string {
  // JavaScript dates end before the kernel's times do, so the year is moved into their range first.
  const cycles = (seconds - SECONDS_YEAR_0) / SECONDS_PER_400_YEARS
  let moved = seconds - cycles * SECONDS_PER_400_YEARS
  if (moved < SECONDS_YEAR_0) moved += SECONDS_PER_400_YEARS
  const year = seconds < 0n ? '0000' : '9999'
  const rest = isoSeconds(Number(moved)).slice(4)
  // As Go normalises it: year 0 has a 29 February, year 9999 has none.
  return year === '9999' && rest.startsWith('-02-29') ? `9999-03-01${rest.slice(6)}` : `${year}${rest}`
}

function isoSeconds(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 19)
}

const RFC_3339 = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,18}))?(?:Z|([+-])(\d{2}):(\d{2}))$/

let lastParsedText = ''
let lastParsedSeconds = 0n

/** Nanoseconds since 1970 of a time in a tree; undefined when it is none. Digits beyond nanoseconds are dropped. */
export function parseTreeTime(text: string): bigint | undefined {
  const match = RFC_3339.exec(text)
  if (match === null) return undefined
  const [, dateTime = '', fraction = '', sign, hours, minutes] = match
  if (dateTime !== lastParsedText) {
    const milliseconds = Date.parse(`${dateTime}Z`)
    if (Number.isNaN(milliseconds)) return undefined
    lastParsedSeconds = BigInt(milliseconds / 1000)
    lastParsedText = dateTime
  }
  const nanoseconds = lastParsedSeconds * NANOSECONDS_PER_SECOND + BigInt(fraction.slice(0, 9).padEnd(9, '0'))
  if (sign === undefined) return nanoseconds
  const offset = BigInt(Number(hours) * 60 + Number(minutes)) * NANOSECONDS_PER_MINUTE
  return sign === '+' ? nanoseconds - offset : nanoseconds + offset
}

/** Whether two times in trees are the same moment, whatever their zones. */
export function isSameTime(text: string, other: string): boolean {
  return text === other || (parseTreeTime(text) !== undefined && parseTreeTime(text) === parseTreeTime(other))
}

const GO_DIRECTORY = 2 ** 31
const GO_SYMLINK = 2 ** 27
const GO_DEVICE = 2 ** 26
const GO_FIFO = 2 ** 25
const GO_SOCKET = 2 ** 24
const GO_SETUID = 2 ** 23
const GO_SETGID = 2 ** 22
const GO_CHARACTER_DEVICE = 2 ** 21
const GO_STICKY = 2 ** 20
const GO_IRREGULAR = 2 ** 19

const GO_TYPES: Readonly<Record<number, number>> = {
  0o14: GO_SOCKET,
  0o12: GO_SYMLINK,
  0o10: 0,
  0o06: GO_DEVICE,
  0o04: GO_DIRECTORY,
  0o02: GO_DEVICE + GO_CHARACTER_DEVICE,
  0o01: GO_FIFO,
}

const SETUID = 0o4000
const SETGID = 0o2000
const STICKY = 0o1000

/** Go's file mode from the `st_mode` that the kernel gives. */
export function goModeFrom(statMode: number): number {
  let mode = (statMode & 0o777) + (GO_TYPES[statMode >>> 12] ?? GO_IRREGULAR)
  if ((statMode & SETUID) !== 0) mode += GO_SETUID
  if ((statMode & SETGID) !== 0) mode += GO_SETGID
  if ((statMode & STICKY) !== 0) mode += GO_STICKY
  return mode
}

/** The bits for `chmod` (0 to 0o7777) from Go's file mode; the file's type is not among them. */
export function chmodBitsFrom(goMode: number): number {
  let bits = goMode & 0o777
  if ((goMode & GO_SETUID) !== 0) bits |= SETUID
  if ((goMode & GO_SETGID) !== 0) bits |= SETGID
  if ((goMode & GO_STICKY) !== 0) bits |= STICKY
  return bits
}
