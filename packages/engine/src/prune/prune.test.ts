import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { withFaults } from '@opencbr/storage'
import type { Fault, FaultyStorage, Storage, StorageCall } from '@opencbr/storage'
import { idOf } from '../crypto/ids.ts'
import { Failure } from '../failure.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { StoredBlob } from '../repository/stored-files.ts'
import type { BlobId, BlobType, PackId, SnapshotId } from '../repository/types.ts'
import { planPrune } from './plan-prune.ts'
import type { PrunePlan, PruneProgress } from './prune-plan.ts'
import { runPrune } from './run-prune.ts'
import type { TakeLock } from './run-prune.ts'
import {
  assertPruned, bytesBelow, copyOf, failure, forget, hashes, KIBIBYTE, lockOf, newScene, newStorage, open, packCount, prune, readAll, replace, saveSnapshot,
  type PruneOptions,
} from './test-repository.ts'

test('nothing is done to a repository of which all is needed', async () => {
  const storage = await newStorage()
  await saveSnapshot(storage, { a: randomBytes(1000), b: 'b' })
  const before = (await Array.fromAsync(storage.list(''))).map(({ key }) => key).toSorted()
  const { plan, result } = await prune(storage)
  assert.equal(plan.freedBytes, 0)
  assert.equal(plan.remainingUnusedBytes, 0)
  assert.deepEqual(result, { removedPackCount: 0, sparedPackCount: 0, writtenPackCount: 0, freedBytes: 0, pendingPackCount: 0, pendingBytes: 0 })
  assert.deepEqual((await Array.fromAsync(storage.list(''))).map(({ key }) => key).toSorted(), before)
})

test('a repository that never held anything can be pruned', async () => {
  const storage = await newStorage()
  const { plan } = await prune(storage)
  assert.deepEqual([plan.usedBytes, plan.freedBytes], [0, 0])
})

test('what only forgotten snapshots needed goes, and the rest stays readable', async () => {
  const { storage, kept, files } = await newScene()
  const before = await bytesBelow(storage, 'data/')
  const { plan, result } = await prune(storage)
  assert.equal(plan.unindexedPacks.length, 1)
  // Of the first snapshot a pack of data is repacked and a pack of trees removed; of the third both are removed.
  assert.deepEqual([plan.removedPacks.length, plan.repackedPacks.length], [3, 1])
  const freed = before - (await bytesBelow(storage, 'data/'))
  assert.equal(result.freedBytes, freed)
  assert.ok(Math.abs(plan.freedBytes - freed) < 100, `${plan.freedBytes} were promised, ${freed} freed`)
  assert.ok(freed > 10_000)
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
  await assertPruned(storage)
})

test('once nothing is needed any more nothing is left', async () => {
  const { storage, kept } = await newScene()
  await forget(storage, kept)
  const { plan } = await prune(storage)
  assert.equal(plan.usedBytes, 0)
  assert.equal(await bytesBelow(storage, 'data/'), 0)
  assert.equal(await bytesBelow(storage, 'index/'), 0)
})

test('afterwards the same repository takes what is gone as new', async () => {
  const storage = await newStorage()
  const content = randomBytes(2000)
  const id = await saveSnapshot(storage, { content })
  await using repository = await open(storage)
  await repository.loadIndex()
  assert.equal((await repository.saveBlob('data', content)).known, true)
  await forget(storage, id)
  await runPrune(repository, lockOf(repository), await planPrune(repository))
  assert.equal((await repository.saveBlob('data', content)).known, false)
})

test('a plan is data that survives being written down', async () => {
  const { storage, kept, files } = await newScene()
  await using repository = await open(storage)
  const plan = JSON.parse(JSON.stringify(await planPrune(repository))) as PrunePlan
  assert.equal(plan.look, undefined)
  await runPrune(repository, lockOf(repository), plan)
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
  await assertPruned(storage)
})

test('a blob in several packs is kept once, in the pack of which most is needed', async () => {
  const storage = await newStorage()
  const shared = randomBytes(20 * KIBIBYTE)
  const forgotten = await saveSnapshot(storage, { shared, other: randomBytes(100 * KIBIBYTE) })
  const kept = await saveSnapshot(storage, { shared, own: 'own' })
  await using repository = await open(storage)
  await repository.loadIndex()
  // As another backup would leave that ran at the same time.
  const { storedFiles } = repository
  const place = repository.locate('data', idOf(shared))
  assert.ok(place !== undefined)
  const stored = await repository.readPack(place.packId, place.offset, place.length)
  const twin = await storedFiles.savePack([{ type: 'data', id: idOf(shared), plainLength: shared.length, compressed: place.compressed, stored }])
  await storedFiles.saveIndexFile([twin])
  await forget(storage, forgotten)
  const { plan } = await prune(storage)
  assert.deepEqual(plan.repackedPacks, [])
  assert.deepEqual((await readAll(storage))[kept], hashes({ shared, own: 'own' }))
  await repository.loadIndex({ reload: true })
  assert.deepEqual(repository.locateAll('data', idOf(shared)).map(({ packId }) => packId), [twin.id])
})

test('data and trees that lie in one pack are parted', async () => {
  const storage = await newStorage()
  const kept = await saveSnapshot(storage, { a: 'a', b: 'b' })
  {
    await using repository = await open(storage)
    const blobs: StoredBlob[] = []
    const indexFiles = await repository.storedFiles.listIndexFiles()
    for (const id of indexFiles) {
      for (const pack of await repository.storedFiles.readIndexFile(id)) {
        for (const blob of pack.blobs) blobs.push({ ...blob, stored: await repository.readPack(pack.id, blob.offset, blob.length) })
      }
    }
    await repository.storedFiles.saveIndexFile([await repository.storedFiles.savePack(blobs)])
    await using lock = await repository.lock({ exclusive: true, settleMs: 0 })
    await repository.storedFiles.removeIndexFiles(indexFiles, lock)
  }
  await prune(storage)
  await using repository = await open(storage)
  await repository.loadIndex()
  const kinds = [...repository.indexedPacks()].map(({ blobs }) => [...new Set(blobs.map(({ type }) => type))])
  assert.deepEqual(kinds.toSorted(), [['data'], ['tree']] satisfies BlobType[][])
  assert.deepEqual((await readAll(storage))[kept], hashes({ a: 'a', b: 'b' }))
  await assertPruned(storage)
})

test('large packs are only rewritten beyond the tolerated share', async () => {
  const storage = await newStorage()
  const files = { a: randomBytes(500 * KIBIBYTE), b: randomBytes(500 * KIBIBYTE) }
  const forgotten = await saveSnapshot(storage, { ...files, c: randomBytes(100 * KIBIBYTE) })
  const kept = await saveSnapshot(storage, files)
  await forget(storage, forgotten)
  const tolerant = await prune(storage, { maxUnusedPercent: 20 })
  assert.deepEqual(tolerant.plan.repackedPacks, [])
  assert.ok(tolerant.plan.remainingUnusedBytes > 100 * KIBIBYTE)
  const strict = await prune(storage, { maxUnusedPercent: 5 })
  assert.equal(strict.plan.repackedPacks.length, 1)
  assert.equal(strict.plan.remainingUnusedBytes, 0)
  assert.ok(strict.result.freedBytes > 100 * KIBIBYTE)
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
})

test('many small packs and index files become few', async () => {
  const storage = await newStorage()
  const expected: Record<string, Record<string, string>> = {}
  for (let day = 0; day < 12; day += 1) expected[await saveSnapshot(storage, { [`day ${day}`]: randomBytes(100) })] = hashes({})
  const before = await readAll(storage)
  assert.equal(await packCount(storage), 24)
  await prune(storage)
  assert.equal(await packCount(storage), 2)
  assert.equal((await Array.fromAsync(storage.list('index/'))).length, 1)
  assert.deepEqual(await readAll(storage), before)
  assert.deepEqual(Object.keys(before).toSorted(), Object.keys(expected).toSorted())
  await assertPruned(storage)
})

test('a run in many batches does the same as one in one', async () => {
  const { storage, kept, files } = await newScene()
  for (let day = 0; day < 12; day += 1) await forget(storage, await saveSnapshot(storage, { ...files, [`day ${day}`]: randomBytes(100) }))
  const { result } = await prune(storage, { batchBytes: 1 })
  assert.ok(result.writtenPackCount >= 1)
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
})

test('planning refuses when a needed blob has no place in the index', async () => {
  const { storage } = await newScene()
  const [first] = await Array.fromAsync(storage.list('index/'))
  assert.ok(first !== undefined)
  await storage.delete(first.key)
  await using repository = await open(storage)
  // Whichever index file it was, the tree or the content is unknown now, or nothing that is needed is.
  const outcome = await planPrune(repository).then(() => 'fine', (error: unknown) => (error instanceof Failure ? error.code : error))
  const needed = await readAll(storage).then(() => true, () => false)
  assert.equal(outcome, needed ? 'fine' : 'blob.missing')
})

test('planning refuses when a needed pack is gone or has another size, and when a tree or snapshot cannot be read', async () => {
  const storage = await newStorage()
  await saveSnapshot(storage, { a: randomBytes(5000) })
  for (const { key } of await Array.fromAsync(storage.list('data/'))) {
    const gone = await copyOf(storage)
    await gone.delete(key)
    await assert.rejects(open(gone).then((repository) => planPrune(repository)), failure('blob.missing'))
    const short = await copyOf(storage)
    await replace(short, key, (await storage.get(key)).subarray(1))
    await assert.rejects(open(short).then((repository) => planPrune(repository)), (error) =>
      failure('repository.damaged')(error) || failure('blob.damaged')(error))
  }
  for (const { key, size } of await Array.fromAsync(storage.list('data/'))) {
    if (size > 4000) continue
    const flipped = await copyOf(storage)
    const bytes = await storage.get(key)
    bytes[20] = (bytes[20] ?? 0) ^ 1
    await replace(flipped, key, bytes)
    await assert.rejects(open(flipped).then((repository) => planPrune(repository)), failure('blob.damaged'))
  }
  for (const { key } of await Array.fromAsync(storage.list('snapshots/'))) {
    await replace(storage, key, randomBytes(100))
    await assert.rejects(open(storage).then((repository) => planPrune(repository)), failure('repository.damaged'))
  }
})

test('a damaged blob is not given a new pack, and what holds it stays', async () => {
  const storage = await newStorage()
  const files = { a: randomBytes(1000), b: randomBytes(1000) }
  const forgotten = await saveSnapshot(storage, { ...files, c: randomBytes(1000) })
  await saveSnapshot(storage, files)
  await forget(storage, forgotten)
  const [largest] = (await Array.fromAsync(storage.list('data/'))).toSorted((a, b) => b.size - a.size)
  assert.ok(largest !== undefined)
  const bytes = await storage.get(largest.key)
  // In the second blob of the pack, which is needed.
  bytes[1500] = (bytes[1500] ?? 0) ^ 1
  await replace(storage, largest.key, bytes)
  await assert.rejects(prune(storage), failure('blob.damaged'))
  assert.equal((await storage.stat(largest.key)).size, largest.size)
  await using repository = await open(storage)
  assert.deepEqual((await planPrune(repository)).unindexedPacks, [])
})

test('an index that names a pack piecemeal is refused', async () => {
  const storage = await newStorage()
  await saveSnapshot(storage, { a: randomBytes(1000), b: randomBytes(1000) })
  await using repository = await open(storage)
  const { storedFiles } = repository
  const indexFiles = await storedFiles.listIndexFiles()
  for (const id of indexFiles) {
    for (const pack of await storedFiles.readIndexFile(id)) {
      for (const blob of pack.blobs) await storedFiles.saveIndexFile([{ id: pack.id, blobs: [blob] }])
    }
  }
  await using lock = await repository.lock({ exclusive: true, settleMs: 0 })
  await storedFiles.removeIndexFiles(indexFiles, lock)
  await assert.rejects(planPrune(repository), (error) => failure('repository.damaged')(error) && /piecemeal/.test(String((error as Failure).facts.reason)))
})

for (const isWrittenDown of [false, true]) {
  const how = isWrittenDown ? 'a plan that was written down' : 'a plan'

  test(`${how} spares what a snapshot needs that was made since, and does the rest`, async () => {
    const { storage, kept, files } = await newScene()
    await using repository = await open(storage)
    const made = await planPrune(repository)
    const plan = isWrittenDown ? JSON.parse(JSON.stringify(made)) as PrunePlan : made
    const [unindexed] = plan.unindexedPacks
    // This brings back some of what was forgotten, out of packs that the plan repacks.
    const added = await saveSnapshot(storage, { ...files, late: 'late' })
    const result = await runPrune(repository, lockOf(repository), plan)
    assert.ok(result.removedPackCount > 0 && unindexed !== undefined)
    assert.equal(await repository.statPack(unindexed.id), undefined)
    assert.deepEqual(await readAll(storage), { [kept]: hashes(files), [added]: hashes({ ...files, late: 'late' }) })
    await prune(storage)
    await assertPruned(storage)
  })

  test(`${how} does not harm a snapshot that shares what was unneeded when it was made`, async () => {
    const storage = await newStorage()
    const content = randomBytes(3000)
    await forget(storage, await saveSnapshot(storage, { content, other: randomBytes(500) }))
    await using repository = await open(storage)
    const made = await planPrune(repository)
    const plan = isWrittenDown ? JSON.parse(JSON.stringify(made)) as PrunePlan : made
    assert.equal(plan.usedBytes, 0)
    const added = await saveSnapshot(storage, { content })
    const result = await runPrune(repository, lockOf(repository), plan)
    // The content's pack stays; the trees are others.
    assert.deepEqual([result.sparedPackCount, result.removedPackCount], [1, 1])
    assert.deepEqual(await readAll(storage), { [added]: hashes({ content }) })
    await prune(storage)
    await assertPruned(storage)
  })
}

test('a snapshot of which all was unneeded needs nothing written, and is spared whole', async () => {
  const storage = await newStorage()
  const files = { content: randomBytes(3000) }
  await forget(storage, await saveSnapshot(storage, files))
  await using repository = await open(storage)
  const plan = await planPrune(repository)
  const added = await saveSnapshot(storage, files)
  assert.deepEqual((await planPrune(repository)).indexFiles.map(({ id }) => id), plan.indexFiles.map(({ id }) => id))
  const before = await packCount(storage)
  assert.equal((await runPrune(repository, lockOf(repository), plan)).removedPackCount, 0)
  assert.equal(await packCount(storage), before)
  assert.deepEqual(await readAll(storage), { [added]: hashes(files) })
})

test('a snapshot made between the rounds of a run is spared what the later rounds would remove', async () => {
  const storage = await newStorage()
  const contents = [1, 2, 3].map(() => ({ kept: randomBytes(2000), lost: randomBytes(2000) }))
  const ids: SnapshotId[] = []
  for (const { kept, lost } of contents) ids.push(await saveSnapshot(storage, { kept, lost }))
  const keeps: Record<string, Record<string, string>> = {}
  for (const { kept } of contents) keeps[await saveSnapshot(storage, { kept })] = hashes({ kept })
  await forget(storage, ...ids)
  await using repository = await open(storage)
  const plan = await planPrune(repository, { maxUnusedPercent: 0 })
  assert.equal(plan.repackedPacks.length, 3)
  let locks = 0
  const takeLock: TakeLock = async (exclusive) => {
    locks += 1
    // After the first round: everything that was lost is wanted again.
    if (locks === 3) {
      for (const { lost } of contents) keeps[await saveSnapshot(storage, { lost })] = hashes({ lost })
    }
    return lockOf(repository)(exclusive)
  }
  const result = await runPrune(repository, takeLock, plan, { batchBytes: 1, roundBytes: 1 })
  // The first round had removed one; that backup had to store it again.
  assert.equal(result.sparedPackCount, 2)
  assert.deepEqual(await readAll(storage), keeps)
})

test('a plan is refused once the index has changed, and new packs without a name stay', async () => {
  const { storage, kept, files } = await newScene()
  await using repository = await open(storage)
  const outdated = await planPrune(repository)
  await prune(storage)
  const before = await packCount(storage)
  await assert.rejects(runPrune(repository, lockOf(repository), outdated), failure('repository.changed'))
  assert.equal(await packCount(storage), before)
  const plan = await planPrune(repository)
  const late = await repository.storedFiles.savePack([
    { type: 'data', id: idOf<BlobId>(Buffer.from('y')), plainLength: 1, compressed: false, stored: randomBytes(33) },
  ])
  await runPrune(repository, lockOf(repository), plan)
  assert.equal(await repository.statPack(late.id), late.size)
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
})

test('a pack that had no name when the plan was made and has one since is no leftover', async () => {
  const { storage, kept, files } = await newScene()
  // A backup is under way: its pack is stored, its index file is not.
  await using backup = await open(storage)
  await backup.loadIndex()
  const own = await backup.storedFiles.savePack([
    { type: 'data', id: idOf<BlobId>(Buffer.from('z')), plainLength: 1, compressed: false, stored: randomBytes(33) },
  ])
  await using repository = await open(storage)
  const plan = await planPrune(repository)
  assert.equal(plan.unindexedPacks.length, 2)
  await backup.storedFiles.saveIndexFile([own])
  await runPrune(repository, lockOf(repository), plan)
  assert.equal(await repository.statPack(own.id), own.size)
  assert.deepEqual(Object.keys(await readAll(storage)), [kept])
  assert.deepEqual((await readAll(storage))[kept], hashes(files))
})

test('a backup runs from its beginning to its end while packs are copied', async () => {
  const { storage, kept, files } = await newScene()
  const late = { ...files, late: randomBytes(3000) }
  let added: SnapshotId | undefined
  await using repository = await open({
    ...storage,
    async put(key, parts, options) {
      // The first pack of the long phase is on its way.
      if (key.startsWith('data/') && added === undefined) {
        added = await saveSnapshot(storage, late)
        await assert.rejects(open(storage).then((other) => other.lock({ exclusive: true, settleMs: 0 })), failure('repository.locked'))
      }
      await storage.put(key, parts, options)
    },
  })
  const result = await runPrune(repository, lockOf(repository), await planPrune(repository))
  assert.ok(added !== undefined && result.removedPackCount > 0)
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files), [added]: hashes(late) })
  await prune(storage)
  await assertPruned(storage)
})

test('what was copied is not copied again by the run after one that did not get the exclusive lock', async () => {
  const { storage, kept, files } = await newScene()
  await using repository = await open(storage)
  await using other = await open(storage)
  const plan = await planPrune(repository)
  {
    await using _backup = await other.lock({ exclusive: false, settleMs: 0 })
    const takeLock: TakeLock = (exclusive) => repository.lock({ exclusive, settleMs: 0 })
    await assert.rejects(runPrune(repository, takeLock, plan), failure('repository.locked'))
  }
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
  const { plan: next, result } = await prune(storage)
  assert.deepEqual([next.repackedPacks, result.writtenPackCount], [[], 0])
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
  await assertPruned(storage)
})

test('a new pack that has vanished stops the run before it removes the old ones', async () => {
  const { storage } = await newScene()
  const before = await packCount(storage)
  await using repository = await open(storage)
  const plan = await planPrune(repository)
  const old = new Set((await Array.fromAsync(storage.list('data/'))).map(({ key }) => key))
  const takeLock: TakeLock = async (exclusive) => {
    if (exclusive) {
      for (const { key } of await Array.fromAsync(storage.list('data/'))) if (!old.has(key)) await storage.delete(key)
    }
    return lockOf(repository)(exclusive)
  }
  await assert.rejects(runPrune(repository, takeLock, plan), failure('repository.changed'))
  assert.equal(await packCount(storage), before)
})

test('packs whose index file the plan has not seen are not taken for packs without a name', async () => {
  const { storage: original, kept, files } = await newScene()
  let hidden = 0
  for (const indexFile of await Array.fromAsync(original.list('index/'))) {
    const storage = await copyOf(original)
    await using repository = await open({
      ...storage,
      async *list(prefix, options) {
        for await (const file of storage.list(prefix, options)) if (file.key !== indexFile.key) yield file
      },
    })
    const plan = await planPrune(repository).catch((error: unknown) => {
      assert.ok(failure('blob.missing')(error))
    })
    if (plan === undefined) continue
    hidden += 1
    assert.equal(plan.unindexedPacks.length, 3)
    // Now the index file is listed, and two of them have a name.
    await using real = await open(storage)
    await runPrune(real, lockOf(real), plan)
    const left = await Promise.all(plan.unindexedPacks.map(({ id }) => real.statPack(id)))
    assert.equal(left.filter((size) => size !== undefined).length, 2)
    assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
  }
  // What the third snapshot needed is all that nobody misses.
  assert.equal(hidden, 1)
})

test('packs that two index files name are named once afterwards', async () => {
  const storage = await newStorage()
  const kept = await saveSnapshot(storage, { a: 'a', b: 'b' })
  await using repository = await open(storage)
  const { storedFiles } = repository
  // As a run leaves them that dies between writing the new index files and removing the old ones.
  for (const id of await storedFiles.listIndexFiles()) await storedFiles.saveIndexFile(await storedFiles.readIndexFile(id))
  assert.equal((await storedFiles.listIndexFiles()).length, 2)
  await prune(storage)
  assert.equal((await storedFiles.listIndexFiles()).length, 1)
  assert.deepEqual(await readAll(storage), { [kept]: hashes({ a: 'a', b: 'b' }) })
})

test('a lock of somebody else beside ours stops the run before anything is removed', async () => {
  const { storage, kept, files } = await newScene()
  await using repository = await open(storage)
  const plan = await planPrune(repository)
  // Its holder has not seen ours, as it happens with programs that do not look.
  await using blind = await open({
    ...storage,
    async *list(prefix, options) {
      if (prefix !== 'locks/') yield* storage.list(prefix, options)
    },
  })
  const before = (await Array.fromAsync(storage.list('data/'))).map(({ key }) => key)
  let other: RepositoryLock | undefined
  const takeLock: TakeLock = async (exclusive) => {
    const lock = await repository.lock({ exclusive, settleMs: 0 })
    if (exclusive) other = await blind.lock({ exclusive: false, settleMs: 0 })
    return lock
  }
  await assert.rejects(runPrune(repository, takeLock, plan), failure('repository.locked'))
  await other?.[Symbol.asyncDispose]()
  const after = new Set((await Array.fromAsync(storage.list('data/'))).map(({ key }) => key))
  assert.ok(other !== undefined && before.every((key) => after.has(key)))
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
})

/** Runs a prune on a copy of a repository with faults, and reports how it ended. */
async function pruneWithFaults(
  original: Storage, decide: (call: StorageCall) => Fault | undefined, options: PruneOptions = {},
): Promise<{ storage: Storage; faulty: FaultyStorage; error: unknown }> {
  const storage = await copyOf(original)
  const faulty = withFaults(storage, decide)
  const error = await prune(faulty, options).then(() => undefined, (reason: unknown) => reason)
  return { storage, faulty, error }
}

test('once the lock is gone nothing that was copied is named', async () => {
  const { storage, kept, files } = await newScene()
  const before = (await Array.fromAsync(storage.list('index/'))).map(({ key }) => key).toSorted()
  await using repository = await open({
    ...storage,
    async put(key, parts, options) {
      await storage.put(key, parts, options)
      if (!key.startsWith('data/')) return
      for (const lock of await Array.fromAsync(storage.list('locks/'))) await storage.delete(lock.key)
    },
  })
  await assert.rejects(runPrune(repository, lockOf(repository), await planPrune(repository)), failure('repository.lock_lost'))
  assert.deepEqual((await Array.fromAsync(storage.list('index/'))).map(({ key }) => key).toSorted(), before)
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
})

test('once the lock is gone nothing more is removed', async () => {
  const { storage, kept, files } = await newScene()
  const removed: string[] = []
  await using repository = await open({
    ...storage,
    async delete(key, options) {
      await storage.delete(key, options)
      if (key.startsWith('locks/')) return
      removed.push(key)
      // Somebody takes the lock away.
      for (const lock of await Array.fromAsync(storage.list('locks/'))) await storage.delete(lock.key)
    },
  })
  await assert.rejects(runPrune(repository, lockOf(repository), await planPrune(repository)), failure('repository.lock_lost'))
  assert.equal(removed.length, 1)
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
})

for (const kind of ['crash-before', 'crash-after', 'lose-answer'] as const) {
  test(`cut at every call (${kind}): what is left is whole, and the next run completes`, async () => {
    const { storage: original, kept, files } = await newScene()
    const whole = await pruneWithFaults(original, () => undefined, { batchBytes: 1 })
    assert.equal(whole.error, undefined)
    const expected = { [kept]: hashes(files) }
    for (let number = 1; number <= whole.faulty.calls.length; number += 1) {
      const { storage, error } = await pruneWithFaults(original, (call) => (call.number === number ? { kind } : undefined), { batchBytes: 1 })
      // Nobody minds when the key is found and then the listing breaks, or when our lock stays behind.
      if (error === undefined) assert.match(whole.faulty.calls[number - 1]?.key ?? '', /^(?:keys|locks)\//, `call ${number}`)
      else assert.ok(error instanceof Failure, `call ${number}: ${String(error)}`)
      assert.deepEqual(await readAll(storage), expected, `after call ${number}`)
      await prune(storage)
      assert.deepEqual(await readAll(storage), expected, `call ${number}, after the next run`)
      await assertPruned(storage)
    }
    assert.ok(whole.faulty.calls.length > 40, `only ${whole.faulty.calls.length} calls were made`)
  })
}

for (const code of ['storage.unavailable', 'storage.full'] as const) {
  test(`refused at every call (${code}): nothing is lost, and the next run completes`, async () => {
    const { storage: original, kept, files } = await newScene()
    const whole = await pruneWithFaults(original, () => undefined)
    const expected = { [kept]: hashes(files) }
    for (const { number, operation } of whole.faulty.calls) {
      if (code === 'storage.full' && operation !== 'put') continue
      const { storage, error } = await pruneWithFaults(original, (call) => (call.number === number ? { kind: 'fail', code } : undefined))
      assert.ok(error === undefined || failure(code)(error), `call ${number}: ${String(error)}`)
      assert.deepEqual(await readAll(storage), expected, `after call ${number}`)
      await prune(storage)
      assert.deepEqual(await readAll(storage), expected, `call ${number}, after the next run`)
      await assertPruned(storage)
    }
  })
}

/** Whether a call writes anything but a lock. */
const isWork = ({ operation, key }: StorageCall) => operation === 'put' && !key.startsWith('locks/')

test('on a full disk what needs no space goes first, and nothing half done stays in the way', async () => {
  const { storage: original, kept, files } = await newScene()
  const noPut = await pruneWithFaults(original, (call) => (isWork(call) ? { kind: 'fail', code: 'storage.full' } : undefined))
  assert.ok(failure('storage.full')(noPut.error))
  assert.deepEqual(await readAll(noPut.storage), { [kept]: hashes(files) })
  {
    await using repository = await open(noPut.storage)
    const left = await planPrune(repository)
    // The pack without a name and both packs of the third snapshot, whose index file named nothing else.
    assert.deepEqual([left.unindexedPacks.length, left.removedPacks.length], [0, 1])
  }
  // Space for an index file, but for no pack: everything is gone that nobody needs a byte of.
  const noPack = await pruneWithFaults(original, (call) => (isWork(call) && call.key.startsWith('data/') ? { kind: 'fail', code: 'storage.full' } : undefined))
  assert.ok(failure('storage.full')(noPack.error))
  assert.deepEqual(await readAll(noPack.storage), { [kept]: hashes(files) })
  await using repository = await open(noPack.storage)
  const left = await planPrune(repository)
  assert.deepEqual([left.unindexedPacks.length, left.removedPacks.length, left.repackedPacks.length], [0, 0, 1])
})

test('packs that were copied are taken away when there is no space for the index that would name them', async () => {
  const { storage: original } = await newScene()
  let newPacks = 0
  const { storage, error } = await pruneWithFaults(original, ({ operation, key }) => {
    if (operation === 'put' && key.startsWith('data/')) newPacks += 1
    return newPacks > 0 && operation === 'put' && key.startsWith('index/') ? { kind: 'fail', code: 'storage.full' } : undefined
  })
  assert.ok(failure('storage.full')(error))
  assert.ok(newPacks > 0)
  await using repository = await open(storage)
  const left = await planPrune(repository)
  assert.deepEqual([left.unindexedPacks.length, left.repackedPacks.length], [0, 1])
})

test('an incomplete answer at any call does no harm', async () => {
  const { storage: original, kept, files } = await newScene()
  const whole = await pruneWithFaults(original, () => undefined)
  const expected = { [kept]: hashes(files) }
  for (const { number, operation } of whole.faulty.calls) {
    if (operation !== 'list' && operation !== 'get') continue
    const { storage } = await pruneWithFaults(original, (call) => (call.number === number ? { kind: 'truncate' } : undefined))
    assert.deepEqual(await readAll(storage), expected, `after call ${number}`)
    await prune(storage)
    assert.deepEqual(await readAll(storage), expected, `call ${number}, after the next run`)
    await assertPruned(storage)
  }
})

test('a pack that no listing shows is neither missed nor forgotten', async () => {
  const { storage: original, kept, files } = await newScene()
  const { storage, error } = await pruneWithFaults(original, ({ operation, key }) =>
    (operation === 'list' && key === 'data/' ? { kind: 'truncate' } : undefined))
  assert.equal(error, undefined)
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
})

test('a pack that is gone and of which nothing is needed is struck off the index', async () => {
  const { storage, kept, files } = await newScene()
  const [removed] = await open(storage).then(async (repository) => (await planPrune(repository)).removedPacks)
  assert.ok(removed !== undefined)
  await storage.delete(`data/${removed.id.slice(0, 2)}/${removed.id}`)
  const { plan } = await prune(storage)
  assert.deepEqual(plan.missingPackIds, [removed.id] satisfies PackId[])
  assert.deepEqual(await readAll(storage), { [kept]: hashes(files) })
  await assertPruned(storage)
})

test('cancelled at every call: what is left is whole, and the next run completes', async () => {
  const { storage: original, kept, files } = await newScene()
  const whole = await pruneWithFaults(original, () => undefined)
  const expected = { [kept]: hashes(files) }
  let cancelled = 0
  for (let number = 1; number <= whole.faulty.calls.length; number += 1) {
    const controller = new AbortController()
    const { storage, error } = await pruneWithFaults(original, (call) => {
      if (call.number === number) controller.abort()
      return undefined
    }, { signal: controller.signal })
    if (error !== undefined) {
      assert.ok(failure('cancelled')(error), `call ${number}: ${String(error)}`)
      cancelled += 1
    }
    assert.deepEqual(await readAll(storage), expected, `after call ${number}`)
    await prune(storage)
    assert.deepEqual(await readAll(storage), expected, `call ${number}, after the next run`)
    await assertPruned(storage)
  }
  assert.ok(cancelled > 30, `only ${cancelled} runs were cancelled`)
})

test('progress only grows, and reaches its total', async () => {
  const { storage } = await newScene()
  const seen: PruneProgress[] = []
  await prune(storage, { onProgress: (progress) => void seen.push(progress) })
  for (const stage of ['marking', 'removing', 'repacking'] as const) {
    const steps = seen.filter((progress) => progress.stage === stage)
    assert.ok(steps.length > 0, stage)
    assert.ok(steps.every(({ done, total }, at) => done <= total && done >= (steps[at - 1]?.done ?? 0)), stage)
    if (stage !== 'marking') assert.equal(steps.at(-1)?.done, steps.at(-1)?.total, stage)
  }
})
