/** The thread that works on blobs; `worker-pool.ts` starts it and gives it orders. */
import assert from 'node:assert/strict'
import { parentPort } from 'node:worker_threads'
import type { Transferable } from 'node:worker_threads'
import { createSealer } from '../../crypto/envelope.ts'
import type { Sealer } from '../../crypto/envelope.ts'
import { idOf } from '../../crypto/ids.ts'
import { Failure } from '../../failure.ts'
import type { PackId } from '../types.ts'
import { hashSlot, openStored, sealSlot, slotBytes } from './blob-work.ts'
import type { SealingRules } from './blob-work.ts'
import type { Answers, OpenedBlob, Order, Reply, SlotPlace, Work } from './protocol.ts'

assert(parentPort !== null)
const port = parentPort
const keys = new Map<number, { readonly sealer: Sealer; readonly rules: SealingRules }>()

const slotAt = ({ memory, offset, plainLength }: SlotPlace) => new Uint8Array(memory, offset, slotBytes(plainLength))

function run(sealer: Sealer, rules: SealingRules, work: Work, transfers: Transferable[]): Answers[keyof Answers] {
  switch (work.kind) {
    case 'hash':
      for (const slot of work.slots) hashSlot(slotAt(slot), slot.plainLength)
      return null
    case 'seal':
      for (const slot of work.slots) sealSlot(sealer, rules, slot.type, slotAt(slot), slot.plainLength)
      return null
    case 'open':
      return work.blobs.map((blob): OpenedBlob => {
        const opened = openStored(sealer, blob.id, blob, new Uint8Array(blob.memory, blob.offset, blob.storedLength))
        if ('damage' in opened) return opened
        const { plaintext } = opened
        // Memory of its own goes over without being copied; a part of something larger does not.
        if (plaintext.buffer instanceof ArrayBuffer && plaintext.buffer.byteLength <= plaintext.length + 1024) transfers.push(plaintext.buffer)
        return { plaintext }
      })
    case 'name':
      return idOf<PackId>(new Uint8Array(work.memory, 0, work.bytes))
  }
}

port.on('message', (order: Order) => {
  if (order.kind === 'learn-key') {
    keys.set(order.keyId, { sealer: createSealer(order.key), rules: order.rules })
    return
  }
  if (order.kind === 'forget-key') {
    keys.delete(order.keyId)
    return
  }
  const { orderId } = order
  const transfers: Transferable[] = []
  let reply: Reply
  try {
    const key = keys.get(order.keyId)
    assert(key !== undefined)
    reply = { orderId, answer: run(key.sealer, key.rules, order.work, transfers) }
  } catch (error) {
    transfers.length = 0
    if (error instanceof Failure) reply = { orderId, failure: { code: error.code, facts: error.facts } }
    else reply = { orderId, mistake: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
  port.postMessage(reply, transfers)
})
