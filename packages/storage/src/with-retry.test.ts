import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryStorage, StorageFailure, withFaults, withRetry } from './index.ts'
import type { Fault, RetryOptions, StorageCall } from './index.ts'
import { bytes, failure, keysOf } from './storage-conformance.ts'

/** Retries over a storage in memory that misbehaves as told, on a clock that only sleeping turns. */
function openRetried(decide: (call: StorageCall) => Fault | undefined, options: RetryOptions = {}) {
  const below = memoryStorage()
  const faulty = withFaults(below, decide)
  const sleptMs: number[] = []
  let time = 0
  const sleep = async (ms: number, signal: AbortSignal | undefined) => {
    signal?.throwIfAborted()
    sleptMs.push(ms)
    time += ms
  }
  return { below, faulty, sleptMs, storage: withRetry(faulty, { now: () => time, sleep, random: () => 1, ...options }) }
}

const unavailable: Fault = { kind: 'fail', code: 'storage.unavailable' }

test('passing failures are repeated, with waits that double up to a limit', async () => {
  const { storage, sleptMs } = openRetried(({ number }) => (number <= 5 ? unavailable : undefined), { delayMsFirst: 100, delayMsMax: 500 })
  await storage.put('a', [bytes('1')])
  assert.deepEqual(sleptMs, [100, 200, 400, 500, 500])
  assert.deepEqual(await storage.get('a'), bytes('1'))
})

test('half of each wait is random', async () => {
  const { storage, sleptMs } = openRetried(({ number }) => (number <= 2 ? unavailable : undefined), { delayMsFirst: 100, random: () => 0 })
  await storage.stat('a').catch(() => undefined)
  assert.deepEqual(sleptMs, [50, 100])
})

test('a server that names a time is waited for', async () => {
  const sleptMs: number[] = []
  let attempts = 0
  const busy = {
    ...memoryStorage(),
    async delete() {
      attempts += 1
      if (attempts === 1) throw new StorageFailure('storage.unavailable', { retryAfterMs: 7000 })
    },
  }
  await withRetry(busy, { sleep: async (ms) => void sleptMs.push(ms) }).delete('a')
  assert.deepEqual(sleptMs, [7000])
})

test('failures that asking again does not change are not repeated', async () => {
  for (const code of ['storage.not_found', 'storage.exists', 'storage.out_of_range', 'storage.full', 'storage.forbidden', 'storage.wrong_place'] as const) {
    const { storage, sleptMs } = openRetried(() => ({ kind: 'fail', code }))
    await assert.rejects(storage.put('a', [bytes('1')]), failure(code))
    await assert.rejects(storage.get('a'), failure(code))
    await assert.rejects(keysOf(storage, ''), failure(code))
    assert.deepEqual(sleptMs, [])
  }
})

test('no attempt begins after the time is up, and the failure says how many there were', async () => {
  const { storage, faulty, sleptMs } = openRetried(() => unavailable, { delayMsFirst: 100, totalMsMax: 1000 })
  await assert.rejects(storage.get('a'), (error) => failure('storage.unavailable')(error) && error instanceof StorageFailure && error.facts['attempts'] === 4)
  assert.deepEqual(sleptMs, [100, 200, 400])
  assert.equal(faulty.calls.length, 4)
})

test('an abort ends the waiting with its reason', async () => {
  const stopping = new AbortController()
  const sleep = async (_ms: number, signal: AbortSignal | undefined) => {
    stopping.abort(new Error('enough'))
    signal?.throwIfAborted()
  }
  const { storage, faulty } = openRetried(() => unavailable, { sleep })
  await assert.rejects(storage.put('a', [bytes('1')], { signal: stopping.signal }), /enough/)
  assert.equal(faulty.calls.length, 1)
})

test('a put whose answer was lost has succeeded', async () => {
  const { storage, below } = openRetried(({ number }) => (number === 1 ? { kind: 'lose-answer' } : undefined))
  await storage.put('a', [bytes('12'), bytes('3')])
  assert.deepEqual(await below.get('a'), bytes('123'))
})

test('a name taken by other bytes stays taken, also after a failure', async () => {
  for (const other of ['other', '1234', '12', '']) {
    const { storage, below } = openRetried(({ number }) => (number === 1 ? unavailable : undefined))
    await below.put('a', [bytes(other)])
    await assert.rejects(storage.put('a', [bytes('12'), bytes('3')]), failure('storage.exists'))
  }
  const { storage } = openRetried(() => undefined)
  await storage.put('a', [bytes('1')])
  await assert.rejects(storage.put('a', [bytes('1')]), failure('storage.exists'))
})

test('memory is asked for once, however many attempts there are', async () => {
  let asked = 0
  const { storage } = openRetried(({ operation, number }) => (operation === 'get' && number < 4 ? { kind: 'lose-answer' } : undefined))
  await storage.put('a', [bytes('123')])
  const memory = new Uint8Array(3)
  const read = await storage.get('a', { allocate: () => ((asked += 1), memory) })
  assert.equal(read, memory)
  assert.equal(asked, 1)
})

test('a listing that breaks off goes on, and shows each file once', async () => {
  const { storage, below } = openRetried(({ operation, number }) => (operation === 'list' && number === 1 ? { kind: 'lose-answer' } : undefined))
  for (const key of ['a', 'b', 'c']) await below.put(key, [bytes(key)])
  assert.deepEqual(await keysOf(storage, ''), ['a', 'b', 'c'])
})

test('whoever stops taking a listing, or fails over it, gets no second one', async () => {
  const { storage, faulty, below } = openRetried(() => undefined)
  for (const key of ['a', 'b']) await below.put(key, [bytes(key)])
  await assert.rejects(async () => {
    for await (const { key } of storage.list('')) throw new StorageFailure('storage.unavailable', { key })
  }, failure('storage.unavailable'))
  assert.equal(faulty.calls.length, 1)
})
