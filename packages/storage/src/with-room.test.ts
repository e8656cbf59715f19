import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryStorage } from './memory-storage.ts'
import { StorageFailure } from './storage.ts'
import { withRoom } from './with-room.ts'

const isOverCapacity = (error: unknown): boolean => error instanceof StorageFailure && error.code === 'storage.over_capacity'

test('what would not fit is not written, several at once included, and nothing counts that is elsewhere', async () => {
  const base = memoryStorage()
  const storage = withRoom(base, { prefix: 'data/', bytesMax: () => 10 })
  await storage.put('index/a', [new Uint8Array(100)])
  await storage.put('data/a', [new Uint8Array(3), new Uint8Array(3)])
  await assert.rejects(storage.put('data/a', [new Uint8Array(4)]), 'it is there already')
  const results = await Promise.allSettled(['data/b', 'data/c', 'data/d'].map((key) => storage.put(key, [new Uint8Array(2)])))
  assert.deepEqual(results.map((result) => result.status), ['fulfilled', 'fulfilled', 'rejected'])
  await assert.rejects(storage.put('data/e', [new Uint8Array(0)]), isOverCapacity, 'once full it stays full')
  await storage.put('snapshots/a', [new Uint8Array(1)])
  const kept: string[] = []
  for await (const { key } of base.list('data/')) kept.push(key)
  assert.deepEqual(kept.toSorted(), ['data/a', 'data/b', 'data/c'])
})
