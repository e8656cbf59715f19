/**
 * Makes the index of a repository anew from the headers of its packs. What the old index says of a pack
 * is taken over where the pack is there and as long as it should be; all other packs are asked
 * themselves. Packs that are gone leave the index.
 *
 * Nothing is deleted that cannot be read: damaged index files are put into the quarantine, and so are
 * packs that neither the index nor their own header explains, for the next prune would remove what has
 * no name. A pack whose header is damaged keeps what the old index knew of it: repairing packs saves
 * what is good in it.
 *
 * The new index is stored before the old one is removed, so an interruption costs nothing.
 */
import assert from 'node:assert/strict'
import type { Storage } from '@opencbr/storage'
import { asFailure } from '../failure.ts'
import type { IndexedPack } from '../format/index-file.ts'
import { BlobIndex } from '../repository/blob-index.ts'
import { guardStorage } from '../repository/guarded-storage.ts'
import { keyOf } from '../repository/layout.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import { INDEX_BLOBS_MAX } from '../repository/pack-writer.ts'
import type { Repository, StoredPack } from '../repository/repository.ts'
import type { IndexFileId, PackId } from '../repository/types.ts'
import { damageOf } from '../restore/damage.ts'
import { forEachOf } from '../repository/for-each-of.ts'
import { copyToQuarantine } from './quarantine.ts'

export interface PlanIndexRepairOptions {
  /** Whether to ask every pack itself; false by default. */
  readonly readAllPacks?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  /** Must not throw. */
  readonly onProgress?: ((packsRead: number, packsTotal: number) => void) | undefined
}

/** What making the index anew would change, as data to be shown; `runIndexRepair` carries it out. */
export interface IndexRepairPlan {
  readonly repositoryId: string
  /** Whether there is anything to do. */
  readonly needed: boolean
  readonly oldIndexFileIds: readonly IndexFileId[]
  /** Those of them that cannot be read. */
  readonly damagedIndexFileIds: readonly IndexFileId[]
  /** Packs that were asked themselves, and answered. */
  readonly reread: readonly StoredPack[]
  /** Packs whose header cannot be read; the old index still explains them. */
  readonly headerDamaged: readonly PackId[]
  /** Packs that nothing explains. */
  readonly unexplained: readonly PackId[]
  /** Packs that the old index names and the storage has not. */
  readonly missing: readonly PackId[]
  readonly packCount: number
  readonly blobCount: number
  /** The new index. */
  readonly packs: () => Iterable<IndexedPack>
}

export interface IndexRepairResult {
  readonly newIndexFiles: number
  /** Keys of the copies. */
  readonly quarantined: readonly string[]
  /** What could not even be read to be put aside, and stays where it is. */
  readonly leftInPlace: readonly string[]
}

const CALLS_AT_ONCE = 6

/** Throws `cancelled` and failures of the storage that say nothing about the data. */
export async function planIndexRepair(repository: Repository, options: PlanIndexRepairOptions = {}): Promise<IndexRepairPlan> {
  const { readAllPacks = false, signal, onProgress } = options
  const stored = new Map<PackId, number>()
  for await (const { id, size } of repository.listPacks(signal)) stored.set(id, size)
  const old = new BlobIndex()
  const oldIndexFileIds = await repository.storedFiles.listIndexFiles(signal)
  const damagedIndexFileIds: IndexFileId[] = []
  await forEachOf(oldIndexFileIds, CALLS_AT_ONCE, async (id) => {
    try {
      for (const pack of await repository.storedFiles.readIndexFile(id, signal)) old.addPack(pack)
    } catch (error) {
      if (damageOf(error) === undefined) throw error
      damagedIndexFileIds.push(id)
    }
  })

  const isTrusted = (id: PackId, size: number): boolean => !readAllPacks && !old.splitPackIds.has(id) && stored.get(id) === size
  const fresh = new BlobIndex()
  const missing = new Set<PackId>()
  for (const pack of old.packs()) {
    // That a listing lacks it proves nothing.
    if (!stored.has(pack.id)) {
      const size = missing.has(pack.id) ? undefined : await repository.statPack(pack.id, signal)
      if (size !== undefined) stored.set(pack.id, size)
      else missing.add(pack.id)
    }
    if (isTrusted(pack.id, pack.size)) fresh.addPack(pack)
  }
  const reread: StoredPack[] = []
  const headerDamaged = new Set<PackId>()
  const unexplained: PackId[] = []
  const asked = [...stored].filter(([id]) => !fresh.hasPack(id))
  let done = 0
  await forEachOf(asked, CALLS_AT_ONCE, async ([id, size]) => {
    try {
      const blobs = await repository.readPackHeader(id, size, signal)
      fresh.addPack({ id, blobs })
      reread.push({ id, size })
    } catch (error) {
      if (damageOf(error) === undefined) throw error
      if (old.hasPack(id)) headerDamaged.add(id)
      else unexplained.push(id)
    }
    done += 1
    onProgress?.(done, asked.length)
  })
  const explained = new Map<PackId, IndexedPack>()
  for (const pack of old.packs()) {
    if (headerDamaged.has(pack.id)) explained.set(pack.id, { id: pack.id, blobs: [...explained.get(pack.id)?.blobs ?? [], ...pack.blobs] })
  }
  for (const pack of explained.values()) fresh.addPack(pack)

  return {
    repositoryId: repository.id,
    needed: [reread, damagedIndexFileIds, unexplained].some(({ length }) => length > 0) || missing.size > 0 || old.repeatedPackIds.size > 0,
    oldIndexFileIds,
    damagedIndexFileIds,
    reread,
    headerDamaged: [...headerDamaged],
    unexplained,
    missing: [...missing],
    packCount: fresh.packCount,
    blobCount: fresh.blobCount,
    packs: () => fresh.packs(),
  }
}

/**
 * Carries out a plan, under the exclusive lock under which it was made. Throws `repository.lock_lost`
 * and failures of the storage; the repository is as good as before then. Its index in memory is the new one.
 */
export async function runIndexRepair(
  storage: Storage, repository: Repository, lock: RepositoryLock, plan: IndexRepairPlan, signal?: AbortSignal,
): Promise<IndexRepairResult> {
  assert(lock.exclusive, 'repairing needs an exclusive lock')
  assert(plan.repositoryId === repository.id, 'the plan is about another repository')
  const guarded = guardStorage(storage, signal)
  const { storedFiles } = repository
  const quarantined: string[] = []
  const leftInPlace: string[] = []

  /** The ids of those files that have a copy now. */
  async function putAside<Id extends string>(kind: 'index' | 'data', ids: readonly Id[]): Promise<Id[]> {
    const copied: Id[] = []
    for (const id of ids) {
      const place = await copyToQuarantine(guarded, keyOf(kind, id), signal)
      if (place === undefined) leftInPlace.push(keyOf(kind, id))
      else {
        quarantined.push(place)
        copied.push(id)
      }
    }
    return copied
  }

  try {
    await lock.assertHeld()
    let newIndexFiles = 0
    for (const group of groupsOf(plan.packs())) {
      await storedFiles.saveIndexFile(group, signal)
      newIndexFiles += 1
    }
    const damagedCopied = await putAside('index', plan.damagedIndexFileIds)
    const damaged = new Set(plan.damagedIndexFileIds)
    const readable = plan.oldIndexFileIds.filter((id) => !damaged.has(id))
    await storedFiles.removeIndexFiles([...readable, ...damagedCopied], lock, { signal })
    await storedFiles.removePacks(await putAside('data', plan.unexplained), lock, { signal })
    // A damaged index file that could not be put aside is in the way of loading.
    if (damagedCopied.length === plan.damagedIndexFileIds.length) await repository.loadIndex({ reload: true })
    return { newIndexFiles, quarantined, leftInPlace }
  } catch (error) {
    throw lock.lost.aborted ? lock.lost.reason : asFailure(error, signal)
  }
}

function* groupsOf(packs: Iterable<IndexedPack>): Generator<IndexedPack[]> {
  let group: IndexedPack[] = []
  let blobs = 0
  for (const pack of packs) {
    group.push(pack)
    blobs += pack.blobs.length
    if (blobs < INDEX_BLOBS_MAX) continue
    yield group
    group = []
    blobs = 0
  }
  if (group.length > 0) yield group
}
