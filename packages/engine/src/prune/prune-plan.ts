import type { ListedPack, StoredPack } from '../repository/repository.ts'
import type { Tombstone } from '../repository/stored-files.ts'
import type { IndexFileId, PackId, SnapshotId } from '../repository/types.ts'
import type { PruneLook } from './prune-look.ts'

export interface RepackedPack extends StoredPack {
  /** Where the blobs lie in the pack that are still needed, in bytes from its start, in order. */
  readonly keptOffsets: readonly number[]
  /** Stored bytes of those blobs, their place in a header included. */
  readonly keptBytes: number
}

export interface PlannedIndexFile {
  readonly id: IndexFileId
  readonly blobCount: number
  /** Those of its packs that will be removed, repacked, or do not exist any more. */
  readonly leavingPackIds: readonly PackId[]
  /** How many of its packs stay. */
  readonly stayingPackCount: number
  /** Whether it names a pack that another index file names too. */
  readonly repeats: boolean
}

/** What pruning a repository would do, as data to be shown; `runPrune` carries it out. */
export interface PrunePlan {
  readonly repositoryId: string
  /** The snapshots whose data is needed. */
  readonly snapshotIds: readonly SnapshotId[]
  readonly indexFiles: readonly PlannedIndexFile[]
  /** Packs that no index names: what interrupted runs left behind. */
  readonly unindexedPacks: readonly ListedPack[]
  /** Packs with nothing in them that any snapshot needs. */
  readonly removedPacks: readonly StoredPack[]
  /** Packs from which what is needed is copied before they are removed. */
  readonly repackedPacks: readonly RepackedPack[]
  /** Packs that the index names and the storage has not; nothing in them is needed. */
  readonly missingPackIds: readonly PackId[]
  /** The marks that earlier runs have left, also on packs that are gone or needed again. */
  readonly tombstones: readonly Tombstone[]
  /** Stored bytes of all blobs that are needed, each counted once. */
  readonly usedBytes: number
  /** Stored bytes of what nobody needs but stays, as repacking it would not be worth while. */
  readonly remainingUnusedBytes: number
  /** Bytes of packs that the storage will hold less, in the end; exact but for the ends of the new packs. */
  readonly freedBytes: number
  /** What the planner knows; not written down. A run without it has to look at new snapshots whole. */
  readonly look?: PruneLook | undefined
}

export interface PruneProgress {
  /**
   * Planning goes through `marking`, in trees; running through `repacking`, in bytes that are copied,
   * and `removing`, in packs.
   */
  readonly stage: 'marking' | 'removing' | 'repacking'
  readonly done: number
  /** For `marking` an upper bound: there may be trees that nobody needs. */
  readonly total: number
}

export interface PruneResult {
  readonly removedPackCount: number
  /** Packs that would have gone, but that a snapshot needs which was made since the plan. */
  readonly sparedPackCount: number
  readonly writtenPackCount: number
  /** Bytes of packs that the storage holds less than before; negative when more was copied than could go yet. */
  readonly freedBytes: number
  /** Packs that nobody needs any more and that stay until their grace is over. */
  readonly pendingPackCount: number
  readonly pendingBytes: number
}
