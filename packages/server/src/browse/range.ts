/** The header `Range` of HTTP, as far as one part of one file is wanted (RFC 9110, 14). */
import type { WantedRange } from '@opencbr/agent'

/** Undefined when the whole file is to be sent: no range, a form that is not known, or several parts at once. */
export function parseRange(header: string | undefined): WantedRange | undefined {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined
  if (first === '') return { suffix: Number(last) }
  if (last === '') return { start: Number(first) }
  return Number(last) < Number(first) ? undefined : { start: Number(first), last: Number(last) }
}

/** Whether a list of entity tags names one; weak ones count for `If-None-Match`, and not for `If-Range`. */
export function namesTag(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false
  return header.trim() === '*' || header.split(',').some((each) => each.trim().replace(/^W\//, '') === tag)
}
