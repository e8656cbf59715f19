/** The thread that works on blobs; `worker-pool.ts` starts it and gives it orders. */
import assert from 'node:assert/strict'
import { parentPort } from 'node:worker_threads'
import type { Transferable } from 'node:worker_threads'
import { createSealer } from '../../crypto/envelope.ts'
import type { Sealer } from '../../crypto/envelope.ts'
import { Failure } from '../../failure.ts'
import { openIndexFile } from '../sealed-files.ts'
import type { PackId } from '../types.ts'
import { hashLanes, hashSlots, openStored, sealSlots, slotBytes } from './blob-work.ts'
import type { FilledSlot, SealingRules, Told } from './blob-work.ts'
import { unpackPlaces } from './protocol.ts'
import { deliverBlobs } from './deliver-blobs.ts'
import type { Answers, Order, Places, Reply, Work } from './protocol.ts'
import { verifyPack } from './verify-pack.ts'

assert(parentPort !== null)
const port = parentPort
const keys = new Map<number, { readonly sealer: Sealer; readonly rules: SealingRules }>()

/** Plaintexts up to this size are answered together. */
const SMALL_BYTES_MAX = 64 * 1024

function openBlobs(sealer: Sealer, blobs: Places, ids: Uint8Array): Answers['open'] {
  const places = [...unpackPlaces(blobs)]
  const smallBytes = places.reduce((sum, { b }) => (b <= SMALL_BYTES_MAX ? sum + b : sum), 0)
  const small = new Uint8Array(smallBytes)
  let filled = 0
  const memories = [small]
  const results = places.map(({ memory, offset, a: storedLength, b: plainLength, c }, i): string | [number, number] => {
    const isSmall = plainLength <= SMALL_BYTES_MAX
    const allocate = (length: number) => (isSmall ? small.subarray(filled, filled + length) : new Uint8Array(length))
    const stored = new Uint8Array(memory, offset, storedLength)
    const opened = openStored(sealer, ids.subarray(i * 32, i * 32 + 32), { plainLength, compressed: c === 1 }, stored, allocate)
    if ('damage' in opened) return opened.damage
    if (!isSmall) return [memories.push(new Uint8Array(opened.plaintext.buffer as ArrayBuffer)) - 1, 0]
    filled += plainLength
    return [0, filled - plainLength]
  })
  return { memories, results }
}

function slotsAt(slots: Places): FilledSlot[] {
  return [...unpackPlaces(slots)].map(({ memory, offset, a: plainLength, b: tree }) => ({
    bytes: new Uint8Array(memory, offset, slotBytes(plainLength)), plainLength, type: tree === 1 ? 'tree' : 'data',
  }))
}

type Outcome = Told<Answers[keyof Answers]>

/** Does what has been ordered, up to hashes that come about beside others: those tell the outcome. */
function begin(sealer: Sealer, rules: SealingRules, work: Work, tell: (outcome: Outcome, transfers?: Transferable[]) => void): void {
  switch (work.kind) {
    case 'hash':
      hashSlots(slotsAt(work.slots), tell)
      return
    case 'seal':
      sealSlots(sealer, rules, slotsAt(work.slots), tell)
      return
    case 'open': {
      const answer = openBlobs(sealer, work.blobs, work.ids)
      tell({ answer }, answer.memories.map(({ buffer }) => buffer as ArrayBuffer))
      return
    }
    case 'index': {
      const table = openIndexFile(sealer, work.id, work.stored)
      tell({ answer: table }, [table.blobCounts.buffer, table.ids.buffer, table.numbers.buffer])
      return
    }
    case 'name':
      hashLanes.add(new Uint8Array(work.memory, 0, work.bytes), (hash) => tell({ answer: Buffer.from(hash).toString('hex') as PackId }))
      return
    case 'deliver':
      deliverBlobs(sealer, work.memory, work.ids, work.blobs, tell)
      return
    case 'verify':
      verifyPack(sealer, work.packId, new Uint8Array(work.memory, 0, work.bytes), work.table, tell)
  }
}

/** Hashes that nothing has come beside go on by so much at a time, so that what comes meanwhile does not wait. */
const IDLE_STEP_BYTES = 1024 * 1024
let idle: NodeJS.Immediate | undefined

/** Immediates come when no message is waiting. */
function goOnIdle(): void {
  idle = hashLanes.goOn(IDLE_STEP_BYTES) ? setImmediate(goOnIdle) : undefined
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
  const tell = (outcome: Outcome, transfers: Transferable[] = []) => port.postMessage(replyOf(orderId, outcome), transfers)
  try {
    const key = keys.get(order.keyId)
    assert(key !== undefined)
    begin(key.sealer, key.rules, order.work, tell)
    idle ??= setImmediate(goOnIdle)
  } catch (error) {
    // Whoever learns of it may use the memory for something else.
    hashLanes.finish()
    tell({ error })
  }
})

function replyOf(orderId: number, outcome: Outcome): Reply {
  if ('answer' in outcome) return { orderId, answer: outcome.answer }
  const { error } = outcome
  if (error instanceof Failure) return { orderId, failure: { code: error.code, facts: error.facts } }
  return { orderId, mistake: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}
