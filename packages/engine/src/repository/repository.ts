import type { LockFile } from '../format/lock-file.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import type { Snapshot } from '../format/snapshot.ts'
import type { Chunker } from '../chunker/chunker.ts'
import type { Failure } from '../failure.ts'
import type { PackVerdict } from './crew/verify-pack.ts'
import type { LockOptions, RepositoryLock } from './lock.ts'
import type { StoredFiles } from './stored-files.ts'
import type { BlobDeliverer, BlobId, BlobLocation, BlobReader, BlobType, BlobWriter, PackId, SnapshotId } from './types.ts'

export interface StoredSnapshot {
  readonly id: SnapshotId
  readonly snapshot: Snapshot
}

export interface SnapshotFilter {
  /** Only snapshots that carry all of these. */
  readonly tags?: readonly string[] | undefined
  readonly hostname?: string | undefined
  /** Only snapshots of exactly these paths. */
  readonly paths?: readonly string[] | undefined
  /** Told of snapshot files that cannot be read; without it the first one is thrown. */
  readonly onDamaged?: ((id: SnapshotId, failure: Failure) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

export interface RepositoryStats {
  /** Bytes of all packs that the index names. */
  readonly packBytes: number
  readonly packCount: number
  /** Stored blobs; one that lies in two packs counts twice. */
  readonly blobCount: number
  /** Bytes of everything that is not a pack: indexes, snapshots, keys, locks, config. */
  readonly otherBytes: number
}

export interface StoredPack {
  readonly id: PackId
  /** Bytes. */
  readonly size: number
}

/** A pack as a listing shows it. */
export interface ListedPack extends StoredPack {
  /** When it was written, by the storage's own clock, in milliseconds since 1970. */
  readonly modifiedAt: number
}

/** A pack as the index describes it. */
export interface PackContents extends StoredPack {
  readonly blobs: readonly PackedBlob[]
}

/** What loading the index showed, for those who check a repository. */
export interface IndexFindings {
  /** Packs that index entries name piecemeal; rewriting the index would lose some of their blobs. */
  readonly splitPackIds: ReadonlySet<PackId>
  /** Packs that several index files name alike, which costs nothing but space. */
  readonly repeatedPackIds: ReadonlySet<PackId>
  /** Bytes of all packs, as far as their blobs tell. */
  readonly packBytes: number
}

/**
 * An opened repository. Reading and writing blobs needs `loadIndex` first; a reader lists snapshots
 * before it loads the index, so that it knows every blob of the snapshots it knows.
 */
export interface Repository extends BlobWriter, BlobReader, BlobDeliverer, AsyncDisposable {
  readonly id: string
  readonly version: 1 | 2
  readonly chunkerPolynomial: bigint
  /** Where it lies, for people. */
  readonly location: string

  /** Throws `repository.locked`, its facts saying who holds the lock in the way and since when. */
  lock(options: LockOptions): Promise<RepositoryLock>
  /** Everyone who holds a lock now. */
  listLocks(): Promise<LockFile[]>

  /** Loads the index once; `reload` loads it anew, which also clears a failed writer. */
  loadIndex(options?: { readonly reload?: boolean; readonly signal?: AbortSignal }): Promise<void>
  /** Says how many bytes of blobs are about to be saved, read or verified, so that threads for them can start at once. */
  expectWork(bytes: number): void
  /** Every place where a blob lies; it may lie in several packs. */
  locateAll(type: BlobType, id: BlobId): BlobLocation[]
  /** All packs of the index, with their blobs. */
  indexedPacks(): Iterable<PackContents>
  indexFindings(): IndexFindings
  /** Every pack in the storage. What is not listed may still exist: ask `statPack`. */
  listPacks(signal?: AbortSignal): AsyncIterable<ListedPack>
  /** The size of a stored pack in bytes, or undefined when there is none. */
  statPack(id: PackId, signal?: AbortSignal): Promise<number | undefined>
  /** The blobs that a pack's own header names. Throws `repository.damaged`. */
  readPackHeader(id: PackId, packBytes: number, signal?: AbortSignal): Promise<PackedBlob[]>

  /** Reads a pack whole and judges it beside the blobs that should lie in it. Throws `blob.missing`, or `blob.damaged` when it is shorter. */
  verifyPack(id: PackId, packBytes: number, blobs: readonly PackedBlob[]): Promise<PackVerdict>

  /** Splits byte streams into content-defined chunks, as every other client of the repository does. */
  chunker(): Chunker

  listSnapshots(filter?: SnapshotFilter): Promise<StoredSnapshot[]>
  /** Undefined when there is none. Throws `repository.damaged`. */
  findSnapshot(id: SnapshotId, signal?: AbortSignal): Promise<Snapshot | undefined>
  /**
   * The one commit point of a backup: flushes, makes sure that the lock is still held, writes the
   * snapshot. Throws `repository.lock_lost` and commits nothing when it is not.
   */
  saveSnapshot(snapshot: Snapshot, lock: RepositoryLock, signal?: AbortSignal): Promise<SnapshotId>
  /** Removes snapshots, one by one; missing ones are fine. Their data stays until it is pruned. */
  forgetSnapshots(ids: readonly SnapshotId[], lock: RepositoryLock, signal?: AbortSignal): Promise<void>
  stats(): Promise<RepositoryStats>
  /** The packs and index files one by one, for those who rearrange them. */
  readonly storedFiles: StoredFiles
}
