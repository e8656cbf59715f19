/**
 * Carries out a plan, under an exclusive lock.
 *
 * 1. Packs that no index names are removed: nobody refers to them.
 * 2. Packs of which nothing is needed leave the index, then the storage. Where an index file names
 *    nothing else, it goes first, with nothing written; so a full disk gets space before it must give any.
 * 3. Packs of which something is needed are copied in batches: new packs, then index files that name
 *    them, then index files that forget the old packs, then the old packs are removed.
 * 4. Small index files are put together.
 *
 * After every single write and removal everything that a snapshot needs lies in a stored pack that a
 * stored index file names, and no index file names a pack that is gone. What an interrupted run leaves
 * are packs without a name, or blobs and index entries twice; the next plan clears them away.
 *
 * Nothing is removed on one look. The plan was one; the second is that, with the exclusive lock held
 * and nobody else's lock there, the index is the same as then and no snapshot has been added.
 */
import assert from 'node:assert/strict'
import { asFailure, Failure } from '../failure.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { Repository } from '../repository/repository.ts'
import type { SavedPack } from '../repository/stored-files.ts'
import type { PackId } from '../repository/types.ts'
import { copyBlobs } from './copy-blobs.ts'
import { IndexRewriter } from './index-rewriter.ts'
import type { PrunePlan, PruneProgress, PruneResult, RepackedPack } from './prune-plan.ts'

export interface RunPruneOptions {
  readonly signal?: AbortSignal | undefined
  /** Must not throw. */
  readonly onProgress?: ((progress: PruneProgress) => void) | undefined
  /**
   * Bytes that are copied before what they replace is removed: how much space the run needs, and how
   * much of its work an interruption can cost. 1 GiB by default.
   */
  readonly batchBytes?: number | undefined
}

const GIBIBYTE = 1024 ** 3

/**
 * Throws `repository.changed` when the plan is not about the repository as it is now, and
 * `repository.locked` when somebody else holds a lock in spite of ours; nothing has been changed then.
 * Throws `storage.full` when there is no space to repack in; what could be removed without, is.
 * The repository's index in memory is the new one afterwards.
 */
export async function runPrune(
  repository: Repository, lock: RepositoryLock, plan: PrunePlan, options: RunPruneOptions = {},
): Promise<PruneResult> {
  assert(lock.exclusive, 'pruning needs an exclusive lock')
  assert(plan.repositoryId === repository.id, 'the plan is about another repository')
  const signal = options.signal === undefined ? lock.lost : AbortSignal.any([options.signal, lock.lost])
  try {
    await assertUnchanged(repository, lock, plan, signal)
    const result = await changeFiles(repository, lock, plan, { ...options, signal }).catch(async (error: unknown) => {
      // Blobs that are gone must not pass for known. Without the signal, for that is also true of a
      // cancelled run; where loading fails, the repository takes no more blobs, which is as good.
      await repository.loadIndex({ reload: true }).catch(() => undefined)
      throw error
    })
    await repository.loadIndex({ reload: true })
    return result
  } catch (error) {
    throw lock.lost.aborted ? lock.lost.reason : asFailure(error, signal)
  }
}

function changed(reason: string): Failure {
  return new Failure('repository.changed', { reason })
}

async function assertUnchanged(repository: Repository, lock: RepositoryLock, plan: PrunePlan, signal: AbortSignal): Promise<void> {
  await lock.assertHeld()
  const other = (await repository.listLocks()).find(({ hostname }) => hostname !== lock.hostname)
  if (other !== undefined) {
    const { time, hostname, username, pid } = other
    throw new Failure('repository.locked', { since: time, hostname, username, pid, reason: 'a lock beside our exclusive one' })
  }
  const plannedFiles = new Set(plan.indexFiles.map(({ id }) => id))
  const files = new Set(await repository.storedFiles.listIndexFiles(signal))
  if (files.symmetricDifference(plannedFiles).size > 0) throw changed('the index is another one')
  const plannedSnapshots = new Set(plan.snapshotIds)
  const snapshotIds = await repository.storedFiles.listSnapshotIds(signal)
  if (!snapshotIds.every((id) => plannedSnapshots.has(id))) throw changed('a snapshot was added')
}

async function changeFiles(
  repository: Repository, lock: RepositoryLock, plan: PrunePlan, options: RunPruneOptions & { readonly signal: AbortSignal },
): Promise<PruneResult> {
  const { signal, onProgress, batchBytes = GIBIBYTE } = options
  const { storedFiles } = repository
  const index = new IndexRewriter(storedFiles, lock, plan.indexFiles, signal)
  const sizes = new Map([...plan.unindexedPacks, ...plan.removedPacks, ...plan.repackedPacks].map(({ id, size }) => [id, size]))
  let removedPackCount = 0
  let writtenPackCount = 0
  let freedBytes = 0

  const removePacks = async (ids: Iterable<PackId>, onRemoved?: () => void) => {
    const all = [...ids]
    await storedFiles.removePacks(all, lock, { signal, onRemoved })
    removedPackCount += all.length
    for (const id of all) freedBytes += sizes.get(id) ?? 0
  }

  let removing = 0
  const onRemoved = () => {
    removing += 1
    onProgress?.({ stage: 'removing', done: removing, total: plan.unindexedPacks.length + plan.removedPacks.length })
  }
  await removePacks(plan.unindexedPacks.map(({ id }) => id), onRemoved)
  const unneeded = new Set(plan.removedPacks.map(({ id }) => id))
  const leaving = unneeded.union(new Set(plan.missingPackIds))
  await index.dropWhole(leaving)
  const stillNamed = index.named(unneeded)
  await removePacks(unneeded.difference(stillNamed), onRemoved)
  await index.forget(leaving)
  await removePacks(stillNamed, onRemoved)

  let copiedBytes = 0
  const copyTotal = plan.repackedPacks.reduce((bytes, { keptBytes }) => bytes + keptBytes, 0)
  for (const batch of batchesOf(plan.repackedPacks, batchBytes)) {
    const saved = await repackInto(repository, lock, index, batch, signal, (bytes) => {
      copiedBytes += bytes
      onProgress?.({ stage: 'repacking', done: copiedBytes, total: copyTotal })
    })
    writtenPackCount += saved.length
    for (const { size } of saved) freedBytes -= size
    const old = new Set(batch.map(({ id }) => id))
    await index.forget(old)
    await removePacks(old)
  }
  await index.joinSmallFiles()
  return { removedPackCount, writtenPackCount, freedBytes }
}

/** Groups of packs of which so much is kept; one pack at least. */
function* batchesOf(packs: readonly RepackedPack[], bytesMax: number): Generator<readonly RepackedPack[]> {
  let batch: RepackedPack[] = []
  let bytes = 0
  for (const pack of packs) {
    if (batch.length > 0 && bytes + pack.keptBytes > bytesMax) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(pack)
    bytes += pack.keptBytes
  }
  if (batch.length > 0) yield batch
}

/**
 * Copies what is kept of a batch into new packs, and names them. When the copying fails its packs are
 * taken away again: on a full disk they would be in the way of everything, the next run included.
 */
async function repackInto(
  repository: Repository, lock: RepositoryLock, index: IndexRewriter, batch: readonly RepackedPack[], signal: AbortSignal,
  onCopied: (bytes: number) => void,
): Promise<readonly SavedPack[]> {
  const saved: SavedPack[] = []
  const known = await index.readPacks(new Set(batch.map(({ id }) => id)))
  const kept = batch.map(({ id, keptOffsets }) => {
    const byOffset = new Map(known.get(id)?.blobs.map((blob) => [blob.offset, blob]))
    const blobs = keptOffsets.map((offset): PackedBlob => {
      const blob = byOffset.get(offset)
      assert(blob !== undefined, 'the index is the one of the plan')
      return blob
    })
    return { id, blobs }
  })
  let naming = false
  try {
    await copyBlobs(repository, kept, { signal, onCopied, onSaved: (pack) => void saved.push(pack) })
    naming = true
    await index.add(saved)
    return saved
  } catch (error) {
    // An index file whose writing failed may be there all the same, except where there was no space for it.
    const isCertain = !naming || (error instanceof Failure && error.code === 'storage.full')
    const nameless = isCertain ? saved.filter(({ id }) => !index.hasAdded(id)) : []
    // The first error is the one to report; what stays has no name, and goes with the next plan.
    await repository.storedFiles.removePacks(nameless.map(({ id }) => id), lock).catch(() => undefined)
    throw error
  }
}
