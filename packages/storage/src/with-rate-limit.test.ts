import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryStorage, withRateLimit } from './index.ts'
import { bytes } from './storage-conformance.ts'

function openLimited(limits: { uploadBytesPerSecond?: number, downloadBytesPerSecond?: number }) {
  const clock = { time: 5000 }
  const sleep = async (ms: number, signal: AbortSignal | undefined) => {
    signal?.throwIfAborted()
    clock.time += ms
  }
  return { clock, storage: withRateLimit(memoryStorage(), { ...limits, now: () => clock.time, sleep }) }
}

test('puts keep to the limit on the average', async () => {
  const { storage, clock } = openLimited({ uploadBytesPerSecond: 10 })
  for (const key of ['a', 'b', 'c']) await storage.put(key, [bytes('12'), bytes('345')])
  // The third begins when the first two are paid for.
  assert.equal(clock.time, 6000)
  clock.time += 60_000
  await storage.put('d', [bytes('1')])
  assert.equal(clock.time, 66_000)
})

test('reads of ranges and of whole files keep to their own limit', async () => {
  const { storage, clock } = openLimited({ downloadBytesPerSecond: 10 })
  await storage.put('a', [bytes('0123456789')])
  await storage.get('a')
  assert.equal(clock.time, 5000)
  await storage.get('a', { range: { offset: 0, length: 5 } })
  assert.equal(clock.time, 6000)
  await storage.get('a')
  assert.equal(clock.time, 6500)
  await storage.stat('a')
  assert.equal(clock.time, 6500)
})

test('a call that is aborted while it waits takes nothing from the others', async () => {
  const { storage, clock } = openLimited({ uploadBytesPerSecond: 10 })
  await storage.put('a', [bytes('0123456789')])
  const stopping = new AbortController()
  const stopped = withRateLimit(storage, { uploadBytesPerSecond: 1 })
  stopping.abort(new Error('enough'))
  await assert.rejects(stopped.put('b', [bytes('1')], { signal: stopping.signal }), /enough/)
  await storage.put('c', [bytes('1')])
  assert.equal(clock.time, 6000)
})

test('calls at the same time wait in turn', async () => {
  const waitsMs: number[] = []
  const storage = withRateLimit(memoryStorage(), { uploadBytesPerSecond: 10, now: () => 0, sleep: async (ms) => void waitsMs.push(ms) })
  await Promise.all(['a', 'b', 'c'].map((key) => storage.put(key, [bytes('12345')])))
  assert.deepEqual(waitsMs, [500, 1000])
})
