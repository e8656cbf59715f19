/** The thread that works on blobs; `worker-pool.ts` starts it and gives it orders. */
import assert from 'node:assert/strict'
import { parentPort } from 'node:worker_threads'
import type { Transferable } from 'node:worker_threads'
import { createSealer } from '../../crypto/envelope.ts'
import type { Sealer } from '../../crypto/envelope.ts'
import { idOf } from '../../crypto/ids.ts'
import { Failure } from '../../failure.ts'
import { openIndexFile } from '../sealed-files.ts'
import type { PackId } from '../types.ts'
import { hashSlot, openStored, sealSlot, slotBytes } from './blob-work.ts'
import type { SealingRules } from './blob-work.ts'
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

function run(sealer: Sealer, rules: SealingRules, work: Work, transfers: Transferable[]): Answers[keyof Answers] {
  switch (work.kind) {
    case 'hash':
      for (const { memory, offset, a: plainLength } of unpackPlaces(work.slots)) {
        hashSlot(new Uint8Array(memory, offset, slotBytes(plainLength)), plainLength)
      }
      return null
    case 'seal':
      for (const { memory, offset, a: plainLength, b: tree } of unpackPlaces(work.slots)) {
        sealSlot(sealer, rules, tree === 1 ? 'tree' : 'data', new Uint8Array(memory, offset, slotBytes(plainLength)), plainLength)
      }
      return null
    case 'open': {
      const answer = openBlobs(sealer, work.blobs, work.ids)
      for (const { buffer } of answer.memories) transfers.push(buffer as ArrayBuffer)
      return answer
    }
    case 'index': {
      const table = openIndexFile(sealer, work.id, work.stored)
      transfers.push(table.blobCounts.buffer, table.ids.buffer, table.numbers.buffer)
      return table
    }
    case 'name':
      return idOf<PackId>(new Uint8Array(work.memory, 0, work.bytes))
    case 'deliver':
      return deliverBlobs(sealer, work.memory, work.ids, work.blobs)
    case 'verify':
      return verifyPack(sealer, work.packId, new Uint8Array(work.memory, 0, work.bytes), work.table)
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
