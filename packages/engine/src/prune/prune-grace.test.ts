/** The grace of packs that nobody needs any more, on a storage whose clock is turned by hand. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { withFaults, type Storage } from '@opencbr/storage'
import * as fc from 'fast-check'
import { Failure } from '../failure.ts'
import type { PackId, SnapshotId } from '../repository/types.ts'
import { planPrune } from './plan-prune.ts'
import type { PruneResult } from './prune-plan.ts'
import { runPrune } from './run-prune.ts'
import {
  assertPruned, copyOf, forget, hashes, lockOf, newScene, newStorage, open, packCount, prune, readAll, saveSnapshot, type StorageClock,
} from './test-repository.ts'

const HOUR_MS = 3600_000
const graceMs = 24 * HOUR_MS

/** As far from the machine's clock as can be. */
const newClock = (): StorageClock => ({ now: 1_000_000_000_000 })

async function marksOf(storage: Storage): Promise<Map<PackId, number>> {
  await using repository = await open(storage)
  return new Map((await repository.storedFiles.listTombstones()).map(({ packId, since }) => [packId, since]))
}

async function pruneWithGrace(storage: Storage, options: { batchBytes?: number } = {}): Promise<PruneResult> {
  return (await prune(storage, { graceMs, maxUnusedPercent: 0, ...options })).result
}

test('what nobody needs any more is marked, stays as it is, and goes once its grace is over', async () => {
  const clock = newClock()
  const { storage, kept, files } = await newScene(clock)
  const before = new Set((await Array.fromAsync(storage.list('data/'))).map(({ key }) => key))
  const first = await pruneWithGrace(storage)
  // The pack without a name is no older; three packs are wholly unneeded, and one was copied.
  assert.deepEqual([first.removedPackCount, first.writtenPackCount, first.pendingPackCount], [0, 1, 5])
  assert.ok(first.pendingBytes > 10_000 && first.freedBytes < 0)
  const left = new Set((await Array.fromAsync(storage.list('data/'))).map(({ key }) => key))
  assert.ok(left.isSupersetOf(before) && left.size === before.size + 1)
  assert.deepEqual([...(await marksOf(storage)).values()], Array.from({ length: 4 }, () => clock.now))
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })

  clock.now += graceMs - 1
  const second = await pruneWithGrace(storage)
  assert.deepEqual([second.removedPackCount, second.writtenPackCount, second.pendingPackCount, second.freedBytes], [0, 0, 5, 0])
  assert.equal(second.pendingBytes, first.pendingBytes)

  clock.now += 1
  const third = await pruneWithGrace(storage)
  assert.deepEqual([third.removedPackCount, third.pendingPackCount, third.pendingBytes, third.freedBytes], [5, 0, 0, first.pendingBytes])
  assert.deepEqual(await marksOf(storage), new Map())
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
  await assertPruned(storage)
})

test('backups go on while packs are only marked, for nothing needs the exclusive lock', async () => {
  const { storage } = await newScene(newClock())
  await using backup = await open(storage)
  await using _lock = await backup.lock({ exclusive: false, settleMs: 0 })
  assert.equal((await pruneWithGrace(storage)).pendingPackCount, 5)
})

test('a pack that is needed again loses its mark, and its time begins anew', async () => {
  const clock = newClock()
  const storage = await newStorage(clock)
  const content = randomBytes(3000)
  await forget(storage, await saveSnapshot(storage, { content, other: 'other' }))
  await pruneWithGrace(storage)
  assert.equal((await marksOf(storage)).size, 2)
  clock.now += 20 * HOUR_MS
  const again = await saveSnapshot(storage, { content, other: 'other' })
  assert.equal(await packCount(storage), 2)
  assert.equal((await pruneWithGrace(storage)).pendingPackCount, 0)
  assert.deepEqual(await marksOf(storage), new Map())
  await forget(storage, again)
  await pruneWithGrace(storage)
  clock.now += 23 * HOUR_MS
  assert.equal((await pruneWithGrace(storage)).removedPackCount, 0)
  clock.now += HOUR_MS
  assert.equal((await pruneWithGrace(storage)).removedPackCount, 2)
  assert.equal(await packCount(storage), 0)
})

test('a pack that was copied and of which something else is needed again is copied again, and waits anew', async () => {
  const clock = newClock()
  const storage = await newStorage(clock)
  const files = { a: randomBytes(3000), b: randomBytes(3000) }
  const both = await saveSnapshot(storage, files)
  const kept = await saveSnapshot(storage, { a: files.a })
  await forget(storage, both)
  await pruneWithGrace(storage)
  clock.now += 20 * HOUR_MS
  const revived = await saveSnapshot(storage, { b: files.b, late: 'late' })
  assert.equal((await pruneWithGrace(storage)).removedPackCount, 0)
  clock.now += 5 * HOUR_MS
  await pruneWithGrace(storage)
  const expected = { [kept]: hashes({ a: files.a }), [revived]: hashes({ b: files.b, late: 'late' }) }
  assert.deepEqual(await readAll(storage), expected)
  clock.now += graceMs
  await pruneWithGrace(storage)
  assert.deepEqual(await readAll(storage), expected)
  await assertPruned(storage)
})

test('a pack whose grace is over and that a snapshot needs which came after the plan stays, without a mark', async () => {
  const clock = newClock()
  const storage = await newStorage(clock)
  const files = { content: randomBytes(3000) }
  await forget(storage, await saveSnapshot(storage, files))
  await pruneWithGrace(storage)
  clock.now += graceMs
  await using repository = await open(storage)
  const plan = await planPrune(repository)
  const added = await saveSnapshot(storage, files)
  const result = await runPrune(repository, lockOf(repository), plan, { graceMs })
  assert.deepEqual([result.removedPackCount, result.sparedPackCount, result.pendingPackCount], [0, 2, 0])
  assert.deepEqual(await readAll(storage), { [added]: hashes(files) })
  assert.deepEqual(await marksOf(storage), new Map())
})

test('a mark that vanished between the two locks keeps its pack', async () => {
  const clock = newClock()
  const storage = await newStorage(clock)
  await forget(storage, await saveSnapshot(storage, { content: randomBytes(3000) }))
  await pruneWithGrace(storage)
  clock.now += graceMs
  await using repository = await open(storage)
  const plan = await planPrune(repository)
  const result = await runPrune(repository, async (exclusive) => {
    // Somebody needed the packs meanwhile, another prune saw it, and they were given up again.
    if (exclusive) for (const { key } of await Array.fromAsync(storage.list('opencbr-tombstones/'))) await storage.delete(key)
    return lockOf(repository)(exclusive)
  }, plan, { graceMs })
  assert.deepEqual([result.removedPackCount, result.pendingPackCount], [0, 2])
})

test('many small packs are put together once, however often it is looked before they may go', async () => {
  const clock = newClock()
  const storage = await newStorage(clock)
  for (let day = 0; day < 12; day += 1) await saveSnapshot(storage, { [`day ${day}`]: randomBytes(100) })
  const before = await readAll(storage)
  await pruneWithGrace(storage)
  assert.equal(await packCount(storage), 26)
  for (let look = 0; look < 3; look += 1) {
    clock.now += HOUR_MS
    const { writtenPackCount, removedPackCount } = await pruneWithGrace(storage)
    assert.deepEqual([writtenPackCount, removedPackCount], [0, 0])
  }
  clock.now += graceMs
  await pruneWithGrace(storage)
  assert.equal(await packCount(storage), 2)
  assert.deepEqual(await readAll(storage), before)
  await assertPruned(storage)
})

test('a mark of a clock that was ahead is renewed', async () => {
  const clock = newClock()
  const storage = await newStorage(clock)
  await forget(storage, await saveSnapshot(storage, { content: randomBytes(3000) }))
  clock.now += 1000 * HOUR_MS
  await pruneWithGrace(storage)
  clock.now -= 1000 * HOUR_MS
  await pruneWithGrace(storage)
  assert.deepEqual([...(await marksOf(storage)).values()], [clock.now, clock.now])
  clock.now += graceMs
  assert.equal((await pruneWithGrace(storage)).removedPackCount, 2)
})

test('without a grace everything goes at once, marked or not, and so do the marks', async () => {
  const { storage, kept, files } = await newScene(newClock())
  await pruneWithGrace(storage)
  const { result } = await prune(storage)
  assert.deepEqual([result.removedPackCount, result.pendingPackCount], [5, 0])
  assert.deepEqual(await marksOf(storage), new Map())
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
  await assertPruned(storage)
})

test('of two that mark at once none undoes what the other did', async () => {
  const clock = newClock()
  const { storage, kept, files } = await newScene(clock)
  await Promise.all([pruneWithGrace(storage), pruneWithGrace(storage)])
  assert.ok((await marksOf(storage)).size >= 4)
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
  clock.now += graceMs
  await pruneWithGrace(storage)
  clock.now += graceMs
  await pruneWithGrace(storage)
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
  await assertPruned(storage)
})

for (const kind of ['crash-before', 'crash-after', 'lose-answer'] as const) {
  test(`cut at every call (${kind}), of marking and of removing: what is left is whole, and later runs complete`, async () => {
    const start = newClock()
    const { storage: fresh, kept, files } = await newScene(start)
    const expected = { [kept]: hashes(files) }
    const marked = await copyOf(fresh, start)
    await pruneWithGrace(marked, { batchBytes: 1 })
    for (const [original, hours] of [[fresh, 0], [marked, 24]] as const) {
      let calls = Infinity
      for (let number = 0; number <= calls; number += 1) {
        const clock = { now: start.now + hours * HOUR_MS }
        const storage = await copyOf(original, clock)
        const faulty = withFaults(storage, (call) => (call.number === number ? { kind } : undefined))
        const error = await pruneWithGrace(faulty, { batchBytes: 1 }).then(() => undefined, (reason: unknown) => reason)
        // The first run is not cut, and counts.
        if (number === 0) calls = faulty.calls.length
        assert.ok(error === undefined || error instanceof Failure, `call ${number}: ${String(error)}`)
        assert.deepEqual(await readAll(storage), expected, `after call ${number}`)
        for (let look = 0; look < 2; look += 1) {
          await pruneWithGrace(storage)
          assert.deepEqual(await readAll(storage), expected, `call ${number}, after a later look`)
          clock.now += graceMs
        }
        await pruneWithGrace(storage)
        assert.deepEqual(await readAll(storage), expected, `call ${number}, in the end`)
        await assertPruned(storage)
        assert.deepEqual(await marksOf(storage), new Map(), `call ${number}`)
      }
      assert.ok(calls > 20, `only ${calls} calls were made`)
    }
  })
}

test('whatever comes and goes, snapshots stay whole, and no pack goes before its grace is over', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('save' as const), contents: fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 3 }) }),
    fc.record({ kind: fc.constant('forget' as const), which: fc.nat(5) }),
    fc.record({ kind: fc.constant('prune' as const) }),
    fc.record({ kind: fc.constant('wait' as const), hours: fc.constantFrom(1, 12, 24) }),
  )
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
    const clock = newClock()
    const storage = await newStorage(clock)
    const expected: Record<SnapshotId, Record<string, string>> = {}
    for (const taken of steps) {
      if (taken.kind === 'save') {
        const files = Object.fromEntries(taken.contents.map((each) => [`file ${each}`, `content ${each} `.repeat(100)]))
        expected[await saveSnapshot(storage, files)] = hashes(files)
      } else if (taken.kind === 'forget') {
        const ids = Object.keys(expected).toSorted() as SnapshotId[]
        const id = ids[taken.which % Math.max(1, ids.length)]
        if (id === undefined) continue
        await forget(storage, id)
        delete expected[id]
      } else if (taken.kind === 'wait') clock.now += taken.hours * HOUR_MS
      else {
        const marks = await marksOf(storage)
        const before = await Array.fromAsync(storage.list('data/'))
        await pruneWithGrace(storage)
        const after = new Set((await Array.fromAsync(storage.list('data/'))).map(({ key }) => key))
        for (const { key } of before.filter((pack) => !after.has(pack.key))) {
          const since = marks.get(key.slice(-64) as PackId)
          assert.ok(since !== undefined && clock.now - since >= graceMs, `${key} went too early`)
        }
      }
      assert.deepEqual(await readAll(storage), expected)
    }
  }), { numRuns: 40 })
})
