/**
 * What the engine's parts ask of a repository. Archiving writes through `BlobWriter`, restoring and
 * checking read through `BlobReader`; neither knows how packs, indexes and locks work.
 *
 * Ids are lower-case hexadecimal SHA-256: of the plaintext for blobs, of the stored bytes for every
 * other file.
 */
import type { BlobToDeliver } from './crew/blob-crew.ts'
import type { BlobDelivery } from './crew/protocol.ts'
import type { RepositoryLock } from './lock.ts'

declare const idOf: unique symbol
type Id<Noun extends string> = string & { readonly [idOf]: Noun }

export type BlobId = Id<'blob'>
export type PackId = Id<'pack'>
export type SnapshotId = Id<'snapshot'>
export type IndexFileId = Id<'index file'>
export type KeyId = Id<'key'>

export type BlobType = 'data' | 'tree'

export interface BlobLocation {
  readonly packId: PackId
  /** Bytes from the start of the pack. */
  readonly offset: number
  /** Stored bytes, envelope included. */
  readonly length: number
  /** Plaintext bytes. */
  readonly plainLength: number
  /** Whether the stored form is a zstd frame. */
  readonly compressed: boolean
}

export interface SavedBlob {
  readonly id: BlobId
  /** True when the repository, or this run, already had the blob: nothing was stored for it. */
  readonly known: boolean
  /** Bytes that the blob takes in its pack; 0 when known. */
  readonly packedBytes: number
}

/** Room for a plaintext. */
export interface ReservedBlob {
  readonly plaintext: Buffer
  /** Its bytes. */
  readonly length: number
  release(): void
}

/** Room for small plaintexts that are stored together. */
export interface BlobBatch {
  /** How many have been added. */
  readonly count: number
  /** Memory for one more of at most so many bytes; undefined when there is none left. It is taken only by `add`. */
  room(bytes: number): Buffer | undefined
  /** Adds the first bytes of the memory that was given last. */
  add(bytes: number): void
}

export interface BlobWriter {
  /**
   * Stores a blob unless it is there already. Resolves once the blob has its id and place; it is
   * durable only after `flush`. Waits when too many bytes are in flight, so callers may simply
   * await, or keep several calls open for parallelism. The plaintext must not be changed afterwards.
   */
  saveBlob(type: BlobType, plaintext: Uint8Array): Promise<SavedBlob>
  /**
   * Memory to put a plaintext of so many bytes into, where the threads see it; waits until there is room. It must be
   * given to `saveReserved` or released, and soon.
   */
  reserveBlob(bytes: number): Promise<ReservedBlob>
  /** As `saveBlob`, of the first bytes of what was reserved, all by default; releases it. */
  saveReserved(type: BlobType, reserved: ReservedBlob, bytes?: number): Promise<SavedBlob>
  /** An empty batch; waits until there is memory. It must be given to `saveBatch` or `releaseBatch`. */
  openBatch(): Promise<BlobBatch>
  /** As `saveBlob`, of everything in a batch, in its order; releases it. */
  saveBatch(type: BlobType, batch: BlobBatch): Promise<readonly SavedBlob[]>
  releaseBatch(batch: BlobBatch): void
  /**
   * Resolves when every blob saved so far lies in stored packs that stored index files name. With a lock, packs are only named
   * while it is held: whoever took it away may have removed what had no name. Throws `repository.lock_lost` then, and
   * nothing more is taken until the index is loaded anew.
   */
  flush(lock?: Pick<RepositoryLock, 'assertHeld'>): Promise<void>
}

export interface BlobReader {
  locate(type: BlobType, id: BlobId): BlobLocation | undefined
  /** The blob's plaintext, its hash compared with the id. Throws `blob.missing` or `blob.damaged`. */
  loadBlob(type: BlobType, id: BlobId): Promise<Uint8Array>
  /** One range of a pack as stored; several neighbouring blobs can be read at once. */
  readPack(packId: PackId, offset: number, length: number): Promise<Uint8Array>
  /** Opens one stored blob: authenticates, decrypts, decompresses, compares the hash with the id. */
  openBlob(type: BlobType, id: BlobId, location: BlobLocation, stored: Uint8Array): Promise<Uint8Array>
}

/** Brings blobs to where they are wanted by threads that open them. */
export interface BlobDeliverer {
  /**
   * Reads one range of a pack, opens blobs in it as `openBlob` does, and puts each where it is wanted, all outside of
   * the event loop. Answers for each blob; throws as `readPack` does.
   */
  deliverBlobs(packId: PackId, offset: number, length: number, blobs: readonly BlobToDeliver[]): Promise<readonly BlobDelivery[]>
}
