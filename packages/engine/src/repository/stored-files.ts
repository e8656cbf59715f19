/**
 * The files of a repository as files, for those who rearrange what lies in it. Everything here goes
 * past the index in memory: whoever changes something loads the index anew afterwards. Who removes what
 * others may know must hold an exclusive lock, and it is looked for again and again while files are removed.
 */
import assert from 'node:assert/strict'
import type { PutOptions, Storage } from '@opencbr/storage'
import type { Sealer } from '../crypto/envelope.ts'
import { idOf, isId } from '../crypto/ids.ts'
import { Failure, throwIfCancelled } from '../failure.ts'
import { decodeIndex, encodeIndex } from '../format/index-file.ts'
import type { IndexedPack } from '../format/index-file.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import { forEachOf } from './for-each-of.ts'
import { putNamedByContent } from './guarded-storage.ts'
import { keyOf, TOMBSTONES_PREFIX } from './layout.ts'
import type { FileKind } from './layout.ts'
import type { RepositoryLock } from './lock.ts'
import { sealHeader } from './pack-writer.ts'
import type { SealedFiles } from './sealed-files.ts'
import type { IndexFileId, PackId, SnapshotId } from './types.ts'

/** A blob as it lies in some pack, to be put into another one; an envelope is the same everywhere. */
export interface StoredBlob extends Omit<PackedBlob, 'offset' | 'length'> {
  readonly stored: Uint8Array
}

export interface SavedPack extends IndexedPack {
  /** Bytes. */
  readonly size: number
}

/** Says of a pack that nobody needed it when somebody looked, nor at any look since. */
export interface Tombstone {
  readonly packId: PackId
  /** When it was marked, by the storage's own clock, in milliseconds since 1970. */
  readonly since: number
}

export interface RemoveOptions {
  readonly signal?: AbortSignal | undefined
  /** Told of every file that is gone. */
  readonly onRemoved?: (() => void) | undefined
}

export interface StoredFiles {
  /** Only the names of the snapshots; what a listing does not show may still exist. */
  listSnapshotIds(signal?: AbortSignal): Promise<SnapshotId[]>
  /** What a listing does not show may still exist. */
  listIndexFiles(signal?: AbortSignal): Promise<IndexFileId[]>
  /** The packs that an index file names. Throws `repository.damaged` or `storage.not_found`. */
  readIndexFile(id: IndexFileId, signal?: AbortSignal): Promise<readonly IndexedPack[]>
  /**
   * Stores an index file that names these packs, each with all of its blobs.
   * @param usesReserve for what lets something be removed
   */
  saveIndexFile(packs: readonly IndexedPack[], signal?: AbortSignal, usesReserve?: PutOptions['usesReserve']): Promise<IndexFileId>
  /** Stores a pack of blobs that are sealed already. No index names it yet. */
  savePack(blobs: readonly StoredBlob[], signal?: AbortSignal, usesReserve?: PutOptions['usesReserve']): Promise<SavedPack>
  /** Missing ones are fine. Throws `repository.lock_lost`. */
  removeIndexFiles(ids: readonly IndexFileId[], lock: RepositoryLock, options?: RemoveOptions): Promise<void>
  /** Missing ones are fine. Throws `repository.lock_lost`. */
  removePacks(ids: readonly PackId[], lock: RepositoryLock, options?: RemoveOptions): Promise<void>
  /** Removes packs that the caller has just stored and not named: nobody knows of them, so any lock will do. */
  takeBackPacks(ids: readonly PackId[]): Promise<void>
  /** Whatever lies beside the repository, of packs that are gone too. One that is not listed may still exist. */
  listTombstones(signal?: AbortSignal): Promise<Tombstone[]>
  /** Marks packs; those that are marked already keep their time. Each mark is a file of its own, so that nobody undoes another's. */
  saveTombstones(ids: readonly PackId[], signal?: AbortSignal): Promise<void>
  /** Missing ones are fine. Any lock will do, for a mark too few only lets a pack stay longer. */
  removeTombstones(ids: readonly PackId[], signal?: AbortSignal): Promise<void>
}

/** For people who come across it. */
const TOMBSTONE = Buffer.from('No snapshot needs the pack of this name. It stays for a while; see opencbr repository prune --grace.\n')
const CALLS_AT_ONCE = 6
const REMOVALS_AT_ONCE = 4
/** So many files are removed before somebody looks again whether the lock is still there. */
const REMOVALS_PER_LOOK = 64

export function createStoredFiles(storage: Storage, sealer: Sealer, files: SealedFiles): StoredFiles {
  async function remove(kind: FileKind, ids: readonly string[], lock: RepositoryLock, options: RemoveOptions = {}): Promise<void> {
    assert(lock.exclusive, 'removing needs an exclusive lock')
    const signal = options.signal === undefined ? lock.lost : AbortSignal.any([options.signal, lock.lost])
    for (let at = 0; at < ids.length; at += REMOVALS_PER_LOOK) {
      throwIfCancelled(options.signal)
      await lock.assertHeld()
      const inGroup = ids.slice(at, at + REMOVALS_PER_LOOK).values()
      const outcomes = await Promise.allSettled(Array.from({ length: REMOVALS_AT_ONCE }, async () => {
        for (const id of inGroup) {
          await storage.delete(keyOf(kind, id), { signal })
          options.onRemoved?.()
        }
      }))
      // All have ended before the first error is thrown, so that nothing is removed after it.
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
    }
  }

  return {
    listSnapshotIds: async (signal) => (await files.list<SnapshotId>('snapshots', signal)).map(({ id }) => id),
    listIndexFiles: async (signal) => (await files.list<IndexFileId>('index', signal)).map(({ id }) => id),

    async readIndexFile(id, signal) {
      const packs = decodeIndex(await files.load('index', id, signal))
      if (packs === undefined) throw new Failure('repository.damaged', { key: keyOf('index', id), reason: 'unknown form' })
      return packs
    },

    saveIndexFile: (packs, signal, usesReserve) => files.save<IndexFileId>('index', encodeIndex(packs), signal, usesReserve),

    async savePack(blobs, signal, usesReserve) {
      let offset = 0
      const packed = blobs.map(({ type, id, plainLength, compressed, stored }) => {
        const blob = { type, id, offset, length: stored.length, plainLength, compressed }
        offset += stored.length
        return blob
      })
      const parts = [...blobs.map(({ stored }) => stored), ...sealHeader(sealer, packed)]
      const id = idOf<PackId>(...parts)
      await putNamedByContent(storage, keyOf('data', id), parts, signal, usesReserve)
      return { id, blobs: packed, size: parts.reduce((bytes, part) => bytes + part.length, 0) }
    },

    removeIndexFiles: (ids, lock, options) => remove('index', ids, lock, options),
    removePacks: (ids, lock, options) => remove('data', ids, lock, options),

    async takeBackPacks(ids) {
      for (const id of ids) await storage.delete(keyOf('data', id))
    },

    async listTombstones(signal) {
      const found: Tombstone[] = []
      for await (const { key, modifiedAt } of storage.list(TOMBSTONES_PREFIX, { signal })) {
        const packId = key.slice(TOMBSTONES_PREFIX.length)
        if (isId<PackId>(packId)) found.push({ packId, since: modifiedAt })
      }
      return found
    },

    saveTombstones: (ids, signal) => forEachOf(ids, CALLS_AT_ONCE, (id) =>
      putNamedByContent(storage, TOMBSTONES_PREFIX + id, [TOMBSTONE], signal, 'wholly')),

    removeTombstones: (ids, signal) => forEachOf(ids, CALLS_AT_ONCE, (id) => storage.delete(TOMBSTONES_PREFIX + id, { signal })),
  }
}
