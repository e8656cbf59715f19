/**
 * Looks what a repository holds that no snapshot needs. Nothing is changed, and no lock is needed, for
 * `runPrune` looks again; but with a shared lock nobody removes files under the planner's hands.
 *
 * The order of looking matters where others write meanwhile. Packs are listed first, so that every
 * pack that appears during the planning is none that the plan could remove. Snapshots are listed
 * before the index is read, so that the index knows all that they need.
 *
 * A plan is only made of what is understood. Whatever cannot be read, a snapshot, an index file or a
 * tree, ends the planning, and so does a pack that is needed and not there in its size.
 */
import assert from 'node:assert/strict'
import { Failure } from '../failure.ts'
import { headerEntryBytes } from '../format/pack-header.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import { BlobIndex } from '../repository/blob-index.ts'
import { PACK_BYTES } from '../repository/pack-writer.ts'
import type { ListedPack, Repository, StoredPack } from '../repository/repository.ts'
import type { BlobType, IndexFileId, PackId } from '../repository/types.ts'
import { forEachOf } from '../repository/for-each-of.ts'
import { judgePacks } from './judge-packs.ts'
import type { PackUse } from './judge-packs.ts'
import { markUsed } from './mark-used.ts'
import { PruneLook } from './prune-look.ts'
import type { PlannedIndexFile, PruneProgress, PrunePlan, RepackedPack } from './prune-plan.ts'
import { UsedBlobs } from './used-blobs.ts'

export interface PlanPruneOptions {
  /**
   * How much of the data may be unneeded afterwards, in percent; 5 by default. At 0 everything that is
   * unneeded goes, at 100 nothing is repacked but what must be.
   */
  readonly maxUnusedPercent?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Must not throw. */
  readonly onProgress?: ((progress: PruneProgress) => void) | undefined
}

const CALLS_AT_ONCE = 6
/** What stock restic counts as small too, so that the two do not undo each other's work. */
const SMALL_PACK_BYTES = PACK_BYTES / 25
/** What a pack adds to its blobs and their places in its header: an envelope and a length. */
const PACK_END_BYTES = 36

interface IndexFile {
  readonly id: IndexFileId
  readonly blobCount: number
  readonly packIds: readonly PackId[]
}

interface CountedPack extends PackUse, StoredPack {
  /** The number of its first blob in the index. */
  readonly firstEntry: number
  /** Whether the storage has it. */
  readonly exists: boolean
}

/**
 * Throws `blob.missing`, `blob.damaged` or `repository.damaged` when the repository is not whole
 * enough for anything to be removed from it.
 */
export async function planPrune(repository: Repository, options: PlanPruneOptions = {}): Promise<PrunePlan> {
  const { maxUnusedPercent = 5, signal, onProgress } = options
  assert(maxUnusedPercent >= 0 && maxUnusedPercent <= 100, 'a percentage')
  const tombstones = await repository.storedFiles.listTombstones(signal)
  const listed = new Map<PackId, ListedPack>()
  for await (const pack of repository.listPacks(signal)) listed.set(pack.id, pack)
  const storedBytes = new Map(listed.values().map(({ id, size }) => [id, size]))
  const snapshots = await repository.listSnapshots({ signal })
  const { index, files } = await readIndex(repository, signal)

  let treesTotal = 0
  for (const { blobs } of index.packs()) for (const { type } of blobs) if (type === 'tree') treesTotal += 1
  let treesDone = 0
  const used = new UsedBlobs(index)
  await markUsed(repository, index, used, new Set(snapshots.map(({ snapshot }) => snapshot.tree)), {
    signal,
    onTree() {
      treesDone += 1
      onProgress?.({ stage: 'marking', done: treesDone, total: treesTotal })
    },
  })

  const unindexedPacks = listed.values().filter(({ id }) => !index.hasPack(id)).toArray()
  await confirmSizes(repository, index, storedBytes, signal)
  settleRepeated(countUse(index, used, storedBytes), used, new Set(tombstones.map(({ packId }) => packId)))
  const packs = countUse(index, used, storedBytes)
  for (const { id, exists, usedBytes } of packs) {
    if (usedBytes > 0 && !exists) throw new Failure('blob.missing', { packId: id, reason: 'a pack that is needed does not exist' })
  }
  const verdicts = judgePacks(packs, { maxUnusedPercent, smallPackBytes: SMALL_PACK_BYTES })
  const verdictOf = new Map(Array.from(verdicts, ([{ id }, verdict]) => [id, verdict]))
  const removed = packs.filter((pack) => verdicts.get(pack) === 'remove')
  const removedPacks = removed.filter(({ exists }) => exists).map(({ id, size }) => ({ id, size: storedBytes.get(id) ?? size }))
  const repackedPacks = listRepacked(index, used, (id) => verdictOf.get(id) === 'repack')
  const keptBytes = sum(repackedPacks.map((pack) => pack.keptBytes))
  return {
    repositoryId: repository.id,
    snapshotIds: snapshots.map(({ id }) => id),
    indexFiles: files.map((file) => planIndexFile(file, index, (id) => verdictOf.get(id) !== 'keep')),
    unindexedPacks,
    removedPacks,
    repackedPacks,
    tombstones,
    missingPackIds: removed.filter(({ exists }) => !exists).map(({ id }) => id),
    usedBytes: sum(packs.map((pack) => pack.usedBytes)),
    remainingUnusedBytes: sum(packs.filter((pack) => verdicts.get(pack) === 'keep').map((pack) => pack.unusedBytes)),
    freedBytes:
      sum([...unindexedPacks, ...removedPacks, ...repackedPacks].map(({ size }) => size)) -
      keptBytes - PACK_END_BYTES * Math.ceil(keptBytes / PACK_BYTES),
    look: new PruneLook(index, used, files.map(({ id }) => id), snapshots.map(({ id }) => id)),
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0)

/** What a blob takes in a pack. */
const spaceOf = ({ length, compressed }: PackedBlob) => length + headerEntryBytes(compressed)

/** Reads the index file by file, for the plan must know exactly which files it speaks of. */
async function readIndex(
  repository: Repository, signal: AbortSignal | undefined,
): Promise<{ index: BlobIndex; files: IndexFile[] }> {
  const index = new BlobIndex()
  const files: IndexFile[] = []
  await forEachOf(await repository.storedFiles.listIndexFiles(signal), CALLS_AT_ONCE, async (id) => {
    const packs = await repository.storedFiles.readIndexFile(id, signal)
    for (const pack of packs) index.addPack(pack)
    files.push({ id, packIds: packs.map((pack) => pack.id), blobCount: sum(packs.map(({ blobs }) => blobs.length)) })
  })
  for (const packId of index.splitPackIds) {
    throw new Failure('repository.damaged', { packId, reason: 'the index names the pack piecemeal; rebuild the index first' })
  }
  return { index, files }
}

/** Adds packs that the listing has not shown and that exist nevertheless, and has odd sizes measured again. */
async function confirmSizes(
  repository: Repository, index: BlobIndex, storedBytes: Map<PackId, number>, signal: AbortSignal | undefined,
): Promise<void> {
  const doubtful: PackId[] = []
  for (const { id, size } of index.packs()) if (storedBytes.get(id) !== size) doubtful.push(id)
  await forEachOf(doubtful, CALLS_AT_ONCE, async (id) => {
    const size = await repository.statPack(id, signal)
    if (size === undefined) storedBytes.delete(id)
    else storedBytes.set(id, size)
  })
}

/** Counts what is needed of each pack, in the order of the index. Throws when such a pack has another size than it should. */
function countUse(index: BlobIndex, used: UsedBlobs, storedBytes: ReadonlyMap<PackId, number>): CountedPack[] {
  const packs: CountedPack[] = []
  let firstEntry = 0
  for (const { id, size, blobs } of index.packs()) {
    const bytes = { used: 0, unused: 0 }
    for (const [at, blob] of blobs.entries()) bytes[used.has(firstEntry + at) ? 'used' : 'unused'] += spaceOf(blob)
    const storedSize = storedBytes.get(id)
    if (bytes.used > 0 && storedSize !== undefined && storedSize !== size) {
      throw new Failure('repository.damaged', { packId: id, size: storedSize, expected: size, reason: 'a pack that is needed has another size' })
    }
    packs.push({
      id, size, firstEntry, kind: kindOf(blobs), usedBytes: bytes.used, unusedBytes: bytes.unused, exists: storedSize !== undefined,
    })
    firstEntry += blobs.length
  }
  return packs
}

/**
 * Of a blob that lies in several packs, one place is enough: not one that is marked to go, or else what was
 * copied would be copied again; and of the others the pack of which most is needed, which after an interrupted run is
 * the new one. A pack that does not exist has nothing that exists elsewhere.
 */
function settleRepeated(packs: readonly CountedPack[], used: UsedBlobs, marked: ReadonlySet<PackId>): void {
  const usedShare = ({ usedBytes, unusedBytes }: CountedPack) => usedBytes / Math.max(1, usedBytes + unusedBytes)
  const bestFirst = packs.toSorted(
    (a, b) => Number(b.exists) - Number(a.exists) || Number(marked.has(a.id)) - Number(marked.has(b.id))
      || usedShare(b) - usedShare(a) || (a.id < b.id ? -1 : 1),
  )
  const ranks = new Map(bestFirst.map((pack, rank) => [pack, rank]))
  used.settle((entry) => {
    const pack = packs[packNumberOf(packs, entry)]
    return (pack === undefined ? undefined : ranks.get(pack)) ?? Infinity
  })
}

/** The last pack that begins at or before an entry. */
function packNumberOf(packs: readonly CountedPack[], entry: number): number {
  let low = 0
  let high = packs.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((packs[middle]?.firstEntry ?? Infinity) <= entry) low = middle
    else high = middle - 1
  }
  return low
}

function kindOf(blobs: readonly PackedBlob[]): BlobType | 'mixed' {
  const type = blobs[0]?.type ?? 'data'
  return blobs.every((blob) => blob.type === type) ? type : 'mixed'
}

function listRepacked(index: BlobIndex, used: UsedBlobs, isRepacked: (id: PackId) => boolean): RepackedPack[] {
  const repacked: RepackedPack[] = []
  let firstEntry = 0
  for (const { id, size, blobs } of index.packs()) {
    if (isRepacked(id)) {
      const first = firstEntry
      const kept = blobs.filter((_blob, at) => used.has(first + at))
      repacked.push({ id, size, keptOffsets: kept.map(({ offset }) => offset), keptBytes: sum(kept.map(spaceOf)) })
    }
    firstEntry += blobs.length
  }
  return repacked
}

function planIndexFile({ id, blobCount, packIds }: IndexFile, index: BlobIndex, leaves: (id: PackId) => boolean): PlannedIndexFile {
  const leavingPackIds = packIds.filter(leaves)
  return {
    id,
    blobCount,
    leavingPackIds,
    stayingPackCount: packIds.length - leavingPackIds.length,
    repeats: packIds.some((packId) => index.repeatedPackIds.has(packId)),
  }
}
