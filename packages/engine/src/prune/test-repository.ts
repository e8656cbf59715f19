/** Small repositories in memory for the tests of pruning, and what is asked of them afterwards. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { memoryStorage } from '@opencbr/storage'
import type { Storage } from '@opencbr/storage'
import { idOf } from '../crypto/ids.ts'
import { kdfForRandomPassword } from '../crypto/kdf.ts'
import { Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'
import { decodeTree, encodeTree, treeNode } from '../format/tree.ts'
import { initRepository } from '../repository/init-repository.ts'
import { openRepository } from '../repository/unlock-repository.ts'
import type { Repository } from '../repository/repository.ts'
import type { BlobId, SnapshotId } from '../repository/types.ts'
import { planPrune } from './plan-prune.ts'
import type { PlanPruneOptions } from './plan-prune.ts'
import type { PrunePlan, PruneResult } from './prune-plan.ts'
import { runPrune } from './run-prune.ts'
import type { RunPruneOptions, TakeLock } from './run-prune.ts'

export const password = 'test'
export const failure = (code: FailureCode) => (error: unknown) => error instanceof Failure && error.code === code
export const KIBIBYTE = 1024

export function open(storage: Storage): Promise<Repository> {
  return openRepository(storage, { password })
}

/** A storage's clock, turned by hand; milliseconds since 1970. */
export interface StorageClock {
  now: number
}

export async function newStorage(clock?: StorageClock): Promise<Storage> {
  const storage = memoryStorage(clock === undefined ? {} : { now: () => clock.now })
  await initRepository(storage, { password, kdf: kdfForRandomPassword })
  return storage
}

/** With the times of all files. */
export async function copyOf(storage: Storage, clock?: StorageClock): Promise<Storage> {
  let writtenAt: number | undefined
  const copy = memoryStorage({ now: () => writtenAt ?? clock?.now ?? Date.now() })
  for await (const { key, modifiedAt } of storage.list('')) {
    writtenAt = modifiedAt
    await copy.put(key, [await storage.get(key)])
  }
  writtenAt = undefined
  return copy
}

/** Replaces a file, as only damage does. */
export async function replace(storage: Storage, key: string, bytes: Uint8Array): Promise<void> {
  await storage.delete(key)
  await storage.put(key, [bytes])
}

export type Content = Uint8Array | string

/** Saves a snapshot of one folder whose files have one blob each, in packs and an index file of its own. */
export async function saveSnapshot(storage: Storage, files: Readonly<Record<string, Content>>): Promise<SnapshotId> {
  await using repository = await open(storage)
  await using lock = await repository.lock({ exclusive: false, settleMs: 0 })
  await repository.loadIndex()
  const nodes = []
  for (const [name, content] of Object.entries(files).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const { id } = await repository.saveBlob('data', Buffer.from(content))
    nodes.push(treeNode({ name: Buffer.from(name), type: 'file', size: BigInt(content.length), content: [id] }))
  }
  const { id: subtree } = await repository.saveBlob('tree', encodeTree(nodes))
  const folder = treeNode({ name: Buffer.from('folder'), type: 'dir', mode: 2 ** 31 + 0o755, subtree })
  const { id: tree } = await repository.saveBlob('tree', encodeTree([folder]))
  return await repository.saveSnapshot({ time: '2026-01-01T00:00:00Z', tree, paths: ['/folder'] }, lock)
}

export async function forget(storage: Storage, ...ids: readonly SnapshotId[]): Promise<void> {
  await using repository = await open(storage)
  await using lock = await repository.lock({ exclusive: true, settleMs: 0, ownerIsDead: () => true })
  await repository.forgetSnapshots(ids, lock)
}

async function readTree(repository: Repository, id: BlobId, prefix: string, found: Record<string, string>): Promise<void> {
  for (const { name, content, subtree } of decodeTree(await repository.loadBlob('tree', id))) {
    const path = `${prefix}/${name.toString()}`
    if (subtree !== undefined) await readTree(repository, subtree, path, found)
    for (const blob of content ?? []) found[path] = idOf(await repository.loadBlob('data', blob))
  }
}

/** The files of every snapshot with their hashes; throws unless every index entry stands for a pack that is there whole. */
export async function readAll(storage: Storage): Promise<Record<string, Record<string, string>>> {
  await using repository = await open(storage)
  await repository.loadIndex()
  for (const { id, size, blobs } of repository.indexedPacks()) {
    assert.equal(await repository.statPack(id), size, `pack ${id}`)
    assert.deepEqual(await repository.readPackHeader(id, size), blobs)
  }
  const snapshots: Record<string, Record<string, string>> = {}
  for (const { id, snapshot } of await repository.listSnapshots()) {
    const files: Record<string, string> = {}
    await readTree(repository, snapshot.tree, '', files)
    snapshots[id] = files
  }
  return snapshots
}

/** Takes locks at once; whoever left one behind is dead. */
export const lockOf = (repository: Repository): TakeLock => (exclusive) => repository.lock({ exclusive, settleMs: 0, ownerIsDead: () => true })

export type PruneOptions = PlanPruneOptions & RunPruneOptions

export async function prune(storage: Storage, options: PruneOptions = {}): Promise<{ plan: PrunePlan; result: PruneResult }> {
  await using repository = await open(storage)
  const plan = await planPrune(repository, options)
  return { plan, result: await runPrune(repository, lockOf(repository), plan, options) }
}

/** Fails unless there is nothing left for pruning to do. */
export async function assertPruned(storage: Storage): Promise<void> {
  await using repository = await open(storage)
  const plan = await planPrune(repository)
  assert.deepEqual(
    [plan.unindexedPacks, plan.removedPacks, plan.repackedPacks, plan.missingPackIds, plan.indexFiles.filter(({ repeats }) => repeats)],
    [[], [], [], [], []],
  )
}

export async function bytesBelow(storage: Storage, prefix: string): Promise<number> {
  let bytes = 0
  for await (const { size } of storage.list(prefix)) bytes += size
  return bytes
}

export const packCount = async (storage: Storage) => (await Array.fromAsync(storage.list('data/'))).length

/**
 * Two snapshots that share half of their files, of which the second will be forgotten, and a third
 * that shares nothing and will be forgotten too; and what an interrupted backup has left.
 */
export async function newScene(clock?: StorageClock): Promise<{ storage: Storage; kept: SnapshotId; files: Record<string, Content> }> {
  const storage = await newStorage(clock)
  const files = { a: randomBytes(3000), b: randomBytes(2000), empty: '', text: 'the same again and '.repeat(500) }
  const forgotten = await saveSnapshot(storage, { ...files, c: randomBytes(4000), d: randomBytes(1000) })
  const kept = await saveSnapshot(storage, { ...files, e: 'only here' })
  const alone = await saveSnapshot(storage, { f: randomBytes(5000) })
  await forget(storage, forgotten, alone)
  await using repository = await open(storage)
  await repository.storedFiles.savePack([{ type: 'data', id: idOf<BlobId>(Buffer.from('x')), plainLength: 1, compressed: false, stored: randomBytes(33) }])
  return { storage, kept, files: { ...files, e: 'only here' } }
}

export const hashes = (files: Readonly<Record<string, Content>>) =>
  Object.fromEntries(Object.entries(files).map(([name, content]) => [`/folder/${name}`, idOf(Buffer.from(content))]))
