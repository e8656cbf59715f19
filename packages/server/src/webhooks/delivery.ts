import type { Event } from '@opencbr/contract'
import type { Micros } from '../clock.ts'
import type { WebhookReceiver } from '../config.ts'

const SECOND = 1_000_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** How long to wait after each failure, as Standard Webhooks proposes; after the last one there is no other try. */
const WAITS: readonly Micros[] = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]

/** A server that dies with a delivery has it for so long: longer than any attempt takes. */
export const CLAIM_MICROS = MINUTE
export const ATTEMPT_MS_MAX = 15_000
/** An event that nobody has taken up by then is news to nobody: the receivers were named later. */
export const NEWS_MICROS = 24 * HOUR

/** When to try again after so many failed attempts; undefined: not any more. */
export function nextAttemptAt(attempts: number, now: Micros): Micros | undefined {
  const wait = WAITS[attempts - 1]
  return wait === undefined ? undefined : now + wait
}

/** What becomes of an answer. Whoever says that nothing is there any more is not asked again. */
export function judgeAnswer(status: number): 'delivered' | 'failed' | 'gone' {
  if (status >= 200 && status < 300) return 'delivered'
  return status === 410 ? 'gone' : 'failed'
}

export function wants(receiver: WebhookReceiver, kind: string): boolean {
  return receiver.events === undefined || receiver.events.includes(kind)
}

/** The body, in the form that Standard Webhooks gives it; the same in each attempt. */
export function bodyOf(event: Event): string {
  return JSON.stringify({ type: event.kind, timestamp: `${event.created_at}Z`, data: event })
}
