/**
 * Tells the operator's receivers of events, at least once each.
 *
 * An event is written in the transaction of what it tells of, and marked as not dispatched. Any server that has receivers then
 * makes, in one transaction, a delivery for each that wants it, and takes the mark off. A delivery is claimed by
 * putting it off, which one server can do; it is gone when it has arrived, and put off further each time it has not. The
 * server that dies with one leaves it to whoever looks when the claim is over; the receiver knows it again by its id.
 *
 * Receivers are named by the operator alone, never by a tenant: whoever names one makes the server call it.
 */
import { Webhook } from 'standardwebhooks'
import { eventToWire, hasUndispatched, listUndispatched, markDispatched } from '../events/index.ts'
import type { WebhookReceiver } from '../config.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { newUuid } from '../ids.ts'
import { ATTEMPT_MS_MAX, bodyOf, CLAIM_MICROS, judgeAnswer, NEWS_MICROS, nextAttemptAt, wants } from './delivery.ts'
import { claimDelivery, deleteDelivery, insertDeliveries, listDueDeliveries, putOffDelivery } from './delivery-store.ts'

const PAGE = 100
const AT_ONCE = 8
const MICROS_PER_MS = 1000

export type WebhookDeps = Pick<Deps, 'db' | 'clock' | 'config'>
type Log = (text: string) => void

/** Does what is due by now; answers how many deliveries arrived. */
export async function deliverEvents(deps: WebhookDeps, log: Log, signal?: AbortSignal): Promise<number> {
  const receivers = deps.config.webhooks ?? []
  if (receivers.length === 0) return 0
  while (await hasUndispatched(deps.db)) await dispatch(deps, receivers)
  const due = await listDueDeliveries(deps.db, deps.clock.now(), PAGE)
  let delivered = 0
  const rest = due.values()
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (const delivery of rest) {
      if (signal?.aborted === true) return
      if (await attempt(deps, receivers, delivery, log, signal)) delivered += 1
    }
  }))
  return delivered
}

async function dispatch({ db, clock }: WebhookDeps, receivers: readonly WebhookReceiver[]): Promise<void> {
  await db.transaction().execute(async (tx) => {
    const events = await listUndispatched(tx, PAGE)
    // Another server was faster.
    if (events.length === 0) return
    const now = clock.now()
    await insertDeliveries(tx, events.filter((event) => event.created_at >= now - NEWS_MICROS).flatMap((event) =>
      receivers.filter((receiver) => wants(receiver, event.kind)).map((receiver) => ({
        id: `msg_${newUuid()}`,
        event_id: event.id,
        receiver: receiver.url,
        body: bodyOf(eventToWire(event)),
        attempts: 0,
        due_at: now,
        created_at: now,
      }))))
    await markDispatched(tx, events.map((event) => event.id))
  })
}

async function attempt(
  { db, clock }: WebhookDeps, receivers: readonly WebhookReceiver[], seen: Row<'webhook_deliveries'>, log: Log, signal: AbortSignal | undefined,
): Promise<boolean> {
  const receiver = receivers.find(({ url }) => url === seen.receiver)
  const isMine = await db.transaction().execute((tx) => claimDelivery(tx, seen, clock.now() + CLAIM_MICROS))
  if (!isMine) return false
  const attempts = seen.attempts + 1
  const result = receiver === undefined ? { ending: 'gone', told: 'it is no receiver any more' } as const : await post(receiver, seen, clock.now(), signal)
  // What a server that stops has cut short is tried again when its claim is over.
  if (result.ending === 'cut_short') return false
  const again = result.ending === 'failed' ? nextAttemptAt(attempts, clock.now()) : undefined
  await db.transaction().execute((tx) => (again === undefined ? deleteDelivery(tx, seen.id) : putOffDelivery(tx, seen.id, again)))
  if (result.ending !== 'delivered' && again === undefined) {
    log(`the event ${seen.event_id} is given up for ${originOf(seen.receiver)} after ${attempts} attempts: ${result.told}`)
  }
  return result.ending === 'delivered'
}

/** An address may hold secrets in its path or query. */
function originOf(url: string): string {
  return URL.parse(url)?.origin ?? 'an unknown receiver'
}

interface PostResult {
  readonly ending: ReturnType<typeof judgeAnswer> | 'cut_short'
  readonly told: string
}

async function post({ url, secret }: WebhookReceiver, { id, body }: Row<'webhook_deliveries'>, now: number, stop: AbortSignal | undefined): Promise<PostResult> {
  const sentAt = new Date(Math.floor(now / MICROS_PER_MS))
  const patience = AbortSignal.timeout(ATTEMPT_MS_MAX)
  try {
    const answer = await fetch(url, {
      method: 'POST',
      // Where to call is the operator's word alone.
      redirect: 'manual',
      signal: stop === undefined ? patience : AbortSignal.any([patience, stop]),
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(sentAt.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign(id, sentAt, body),
      },
      body,
    })
    await answer.body?.cancel()
    return { ending: judgeAnswer(answer.status), told: `it answered ${answer.status}` }
  } catch (error) {
    if (stop?.aborted === true) return { ending: 'cut_short', told: '' }
    const { cause } = error as Error
    return { ending: 'failed', told: cause instanceof Error ? cause.message : (error as Error).message }
  }
}

const LOOK_EVERY_MS = 5_000

/** Looks every few seconds for what is due. */
export function keepDelivering(deps: WebhookDeps): { readonly stop: () => void, readonly close: () => Promise<void> } {
  const stopping = new AbortController()
  const log: Log = (text) => {
    if (deps.config.logLevel !== 'silent') process.stderr.write(`webhooks: ${text}\n`)
  }
  let looking: Promise<unknown> | undefined
  const timer = setInterval(() => {
    looking ??= deliverEvents(deps, log, stopping.signal)
      // The next look finds what this one could not do.
      .catch((error: unknown) => log(error instanceof Error ? error.message : String(error)))
      .finally(() => {
        looking = undefined
      })
  }, LOOK_EVERY_MS)
  timer.unref()
  function stop(): void {
    clearInterval(timer)
    stopping.abort()
  }
  return {
    stop,
    async close() {
      stop()
      await looking
    },
  }
}
