import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryStorage, type Storage } from '@opencbr/storage'
import { findRemovalGuard, setRemovalGuard, type RemovalGuard } from './removal-guard.ts'

const first: RemovalGuard = { reason: 'Locked until tomorrow.', facts: { until: 'tomorrow' } }
const second: RemovalGuard = { reason: 'Locked until later.', facts: { until: null } }

test('a guard is set, replaced and taken away, and there is one at every moment in between', async () => {
  const base = memoryStorage()
  assert.equal(await findRemovalGuard(base), undefined)
  await setRemovalGuard(base, first)
  assert.deepEqual(await findRemovalGuard(base), first)
  await setRemovalGuard(base, first)
  const seen: (RemovalGuard | undefined)[] = []
  const storage: Storage = {
    location: base.location,
    get: (key, options) => base.get(key, options),
    stat: (key, options) => base.stat(key, options),
    list: (prefix, options) => base.list(prefix, options),
    put: async (...args: Parameters<typeof base.put>) => {
      await base.put(...args)
      seen.push(await findRemovalGuard(base))
    },
    delete: async (...args: Parameters<typeof base.delete>) => {
      seen.push(await findRemovalGuard(base))
      await base.delete(...args)
      seen.push(await findRemovalGuard(base))
    },
  }
  await setRemovalGuard(storage, second)
  assert.ok(seen.length >= 3 && seen.every((guard) => guard !== undefined))
  assert.deepEqual(await findRemovalGuard(base), second)
  await setRemovalGuard(base, undefined)
  assert.equal(await findRemovalGuard(base), undefined)
})

test('what cannot be understood guards all the same', async () => {
  for (const text of ['', 'null', '{"reason":1}', 'x'.repeat(70_000)]) {
    const storage = memoryStorage()
    await storage.put('opencbr-guard/0.json', [Buffer.from(text)])
    assert.match((await findRemovalGuard(storage))?.reason ?? '', /forbids/)
  }
})
