/**
 * Collects sealed blobs into packs and stores them: packs first, then an index file that names
 * them. A blob is pending from the moment it is claimed until its pack is stored; only then does
 * the index know it. What a crash leaves are packs that no index names, which do no harm.
 *
 * Once anything fails to be stored the writer fails for good: blobs that were promised are missing,
 * and nothing that refers to them may be written.
 */
import assert from 'node:assert/strict'
import type { Storage } from '@opencbr/storage'
import { ENVELOPE_BYTES } from '../crypto/envelope.ts'
import type { Sealer } from '../crypto/envelope.ts'
import { Failure } from '../failure.ts'
import { encodeIndex } from '../format/index-file.ts'
import type { IndexedPack } from '../format/index-file.ts'
import { decodePackHeader, encodePackHeader, HEADER_LENGTH_BYTES, headerEntryBytes } from '../format/pack-header.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import type { BlobIndex } from './blob-index.ts'
import type { SealedBlob } from './crew/blob-work.ts'
import { putNamedByContent } from './guarded-storage.ts'
import { keyOf } from './layout.ts'
import type { PackMemories } from './pack-memories.ts'
import type { SealedFiles } from './sealed-files.ts'
import type { BlobId, BlobType, PackId } from './types.ts'

/** A pack is closed once it holds this much; blobs are not split, so packs are a little larger. */
export const PACK_BYTES = 16 * 1024 * 1024
/** A pack is closed before its header gets long, too. */
export const PACK_BLOBS_MAX = 16_384
/** Beside the one that the caller waits for. Forcing a pack to a disk and its name into a directory takes longer than filling the next one. */
const UPLOADS_MAX = 4
/** Index files are closed at this size, and after this time even when smaller. */
export const INDEX_BLOBS_MAX = 50_000
const INDEX_AGE_MS_MAX = 10 * 60_000

interface OpenPack {
  readonly memory: SharedArrayBuffer
  readonly blobs: PackedBlob[]
  /** Bytes of the blobs. */
  filled: number
}

export interface PackWriter {
  /** Whether a blob is on its way into a pack. */
  isPending(type: BlobType, id: BlobId): boolean
  /** Announces a blob that will be added; must be followed by `add`, or by `fail`. */
  claim(type: BlobType, id: BlobId): void
  /** Puts a claimed blob into a pack; resolves when there is room for more. */
  add(type: BlobType, id: BlobId, sealed: SealedBlob): Promise<void>
  /** Stores every open pack and names all stored packs in index files, unless `mayName` rejects: then the writer has failed. */
  flush(mayName?: () => Promise<void>): Promise<void>
  fail(error: unknown): void
  throwIfFailed(): void
  /** Waits for what is being written; open packs are dropped. */
  close(): Promise<void>
}

/**
 * What a pack ends with. Seals the header and reads it back: a pack whose header lies is lost in the
 * first index rebuild. Throws `host.unsound` then.
 */
export function sealHeader(sealer: Sealer, blobs: readonly PackedBlob[]): Uint8Array[] {
  const envelope = sealer.seal(encodePackHeader(blobs))
  const reread = sealer.open(envelope)
  const found = reread === undefined ? undefined : decodePackHeader(reread)
  const agrees =
    found?.length === blobs.length &&
    found.every(({ type, id, offset, length, plainLength, compressed }, i) => {
      const meant = blobs[i]
      return (
        meant?.id === id && meant.type === type && meant.offset === offset && meant.length === length &&
        meant.plainLength === plainLength && meant.compressed === compressed
      )
    })
  if (!agrees) throw new Failure('host.unsound', { kind: 'pack header' })
  const trailer = Buffer.alloc(4)
  trailer.writeUInt32LE(envelope.length)
  return [envelope, trailer]
}

function sealedHeaderBytes(blobCount: number): number {
  return blobCount * headerEntryBytes(true) + ENVELOPE_BYTES + HEADER_LENGTH_BYTES
}

/** @param name gives the hash of the first bytes of some memory */
export function createPackWriter(
  storage: Storage,
  sealer: Sealer,
  name: (memory: SharedArrayBuffer, bytes: number) => Promise<PackId>,
  files: SealedFiles,
  index: BlobIndex,
  memories: PackMemories,
  now: () => Date,
): PackWriter {
  const pending: Record<BlobType, Set<BlobId>> = { data: new Set(), tree: new Set() }
  const open = new Map<BlobType, OpenPack>()
  const uploads = new Set<Promise<void>>()
  let unindexed: IndexedPack[] = []
  let unindexedBlobs = 0
  let unindexedSince = 0
  let failure: { readonly error: unknown } | undefined

  function fail(error: unknown): void {
    failure ??= { error }
  }

  function throwIfFailed(): void {
    if (failure !== undefined) throw failure.error
  }

  async function saveIndex(): Promise<void> {
    const packs = unindexed
    if (packs.length === 0) return
    unindexed = []
    unindexedBlobs = 0
    await files.save('index', encodeIndex(packs))
  }

  async function upload(pack: OpenPack): Promise<void> {
    const { memory } = pack
    let bytes = pack.filled
    for (const part of sealHeader(sealer, pack.blobs)) {
      new Uint8Array(memory, bytes).set(part)
      bytes += part.length
    }
    const id = await name(memory, bytes)
    await putNamedByContent(storage, keyOf('data', id), [new Uint8Array(memory, 0, bytes)])
    memories.give(memory)
    const indexed = { id, blobs: pack.blobs }
    index.addPack(indexed)
    for (const blob of pack.blobs) pending[blob.type].delete(blob.id)
    if (unindexed.length === 0) unindexedSince = now().getTime()
    unindexed.push(indexed)
    unindexedBlobs += pack.blobs.length
    if (unindexedBlobs >= INDEX_BLOBS_MAX || now().getTime() - unindexedSince > INDEX_AGE_MS_MAX) await saveIndex()
  }

  function startUpload(type: BlobType): void {
    const pack = open.get(type)
    if (pack === undefined) return
    open.delete(type)
    const upload_ = upload(pack).catch(fail)
    uploads.add(upload_)
    void upload_.then(() => uploads.delete(upload_))
  }

  return {
    isPending: (type, id) => pending[type].has(id),
    claim: (type, id) => void pending[type].add(id),
    fail,
    throwIfFailed,

    async add(type, id, { stored, plainLength, compressed }) {
      throwIfFailed()
      assert(pending[type].has(id))
      let pack = open.get(type)
      if (pack !== undefined && pack.filled + stored.length + sealedHeaderBytes(pack.blobs.length + 1) > pack.memory.byteLength) {
        startUpload(type)
        pack = undefined
      }
      pack ??= { memory: memories.take(stored.length + sealedHeaderBytes(1)), blobs: [], filled: 0 }
      open.set(type, pack)
      new Uint8Array(pack.memory, pack.filled).set(stored)
      pack.blobs.push({ type, id, offset: pack.filled, length: stored.length, plainLength, compressed })
      pack.filled += stored.length
      if (pack.filled >= PACK_BYTES || pack.blobs.length >= PACK_BLOBS_MAX) startUpload(type)
      while (uploads.size > UPLOADS_MAX) await Promise.race(uploads)
      throwIfFailed()
    },

    async flush(mayName) {
      startUpload('data')
      startUpload('tree')
      while (uploads.size > 0) await Promise.all(uploads)
      throwIfFailed()
      try {
        if (unindexed.length > 0) await mayName?.()
        await saveIndex()
      } catch (error) {
        fail(error)
        throw error
      }
    },

    async close() {
      open.clear()
      fail(new Failure('cancelled', { reason: 'the repository was closed' }))
      while (uploads.size > 0) await Promise.all(uploads)
    },
  }
}
