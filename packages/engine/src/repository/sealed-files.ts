import type { Storage, StoredFile } from '@opencbr/storage'
import type { Sealer } from '../crypto/envelope.ts'
import { idOf } from '../crypto/ids.ts'
import { Failure } from '../failure.ts'
import { decodeUnpacked, encodeUnpacked } from '../format/unpacked.ts'
import { putNamedByContent } from './guarded-storage.ts'
import { idOfKey, keyOf } from './layout.ts'

export type SealedKind = 'index' | 'locks' | 'snapshots'

export interface SealedFile<Id extends string> {
  readonly id: Id
  /** Bytes. */
  readonly size: number
  /** Milliseconds since 1970, by the storage's clock. */
  readonly modifiedAt: number
}

/** The files of a repository that hold one JSON document each. */
export interface SealedFiles {
  list<Id extends string>(kind: SealedKind, signal?: AbortSignal): Promise<SealedFile<Id>[]>
  stat(kind: SealedKind, id: string, signal?: AbortSignal): Promise<StoredFile>
  /** The JSON text. Throws `storage.not_found`, or `repository.damaged` when the file is not what its name says. */
  load(kind: SealedKind, id: string, signal?: AbortSignal): Promise<Uint8Array>
  save<Id extends string>(kind: SealedKind, json: Uint8Array, signal?: AbortSignal): Promise<Id>
  remove(kind: SealedKind, id: string, signal?: AbortSignal): Promise<void>
}

export function createSealedFiles(storage: Storage, sealer: Sealer, version: 1 | 2): SealedFiles {
  return {
    async list<Id extends string>(kind: SealedKind, signal?: AbortSignal) {
      const files: SealedFile<Id>[] = []
      for await (const { key, size, modifiedAt } of storage.list(`${kind}/`, { signal })) {
        const id = idOfKey<Id>(kind, key)
        if (id !== undefined) files.push({ id, size, modifiedAt })
      }
      return files
    },

    stat: (kind, id, signal) => storage.stat(keyOf(kind, id), { signal }),

    async load(kind, id, signal) {
      const key = keyOf(kind, id)
      const stored = await storage.get(key, { signal })
      if (idOf(stored) !== id) throw new Failure('repository.damaged', { key, reason: 'content does not match name' })
      const plaintext = sealer.open(stored)
      if (plaintext === undefined) throw new Failure('repository.damaged', { key, reason: 'not authentic' })
      const json = decodeUnpacked(plaintext)
      if (json === undefined) throw new Failure('repository.damaged', { key, reason: 'unknown form' })
      return json
    },

    async save<Id extends string>(kind: SealedKind, json: Uint8Array, signal?: AbortSignal) {
      const plaintext = encodeUnpacked(version, json)
      const stored = sealer.seal(plaintext)
      const opened = sealer.open(stored)
      const decoded = opened === undefined ? undefined : decodeUnpacked(opened)
      if (decoded === undefined || Buffer.compare(decoded, json) !== 0) throw new Failure('host.unsound', { kind })
      const id = idOf<Id>(stored)
      await putNamedByContent(storage, keyOf(kind, id), [stored], signal)
      return id
    },

    remove: (kind, id, signal) => storage.delete(keyOf(kind, id), { signal }),
  }
}
