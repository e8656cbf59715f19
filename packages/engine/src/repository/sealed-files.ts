import type { PutOptions, Storage, StoredFile } from '@opencbr/storage'
import type { Sealer } from '../crypto/envelope.ts'
import { idOf } from '../crypto/ids.ts'
import { Failure } from '../failure.ts'
import { decodeUnpacked, encodeUnpacked } from '../format/unpacked.ts'
import { putNamedByContent } from './guarded-storage.ts'
import type { IndexTable } from './index-table.ts'
import { idOfKey, keyOf } from './layout.ts'
import { readIndexTable } from './scan-index.ts'

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
  save<Id extends string>(kind: SealedKind, json: Uint8Array, signal?: AbortSignal, usesReserve?: PutOptions['usesReserve']): Promise<Id>
  remove(kind: SealedKind, id: string, signal?: AbortSignal): Promise<void>
}

/** The JSON text of a file that was read. Throws `repository.damaged` when the file is not what its name says. */
export function openSealedFile(sealer: Sealer, kind: SealedKind, id: string, stored: Uint8Array): Uint8Array {
  const damaged = (reason: string) => new Failure('repository.damaged', { key: keyOf(kind, id), reason })
  if (idOf(stored) !== id) throw damaged('content does not match name')
  const plaintext = sealer.open(stored)
  if (plaintext === undefined) throw damaged('not authentic')
  const json = decodeUnpacked(plaintext)
  if (json === undefined) throw damaged('unknown form')
  return json
}

/** What an index file says, which was read. Throws `repository.damaged`. */
export function openIndexFile(sealer: Sealer, id: string, stored: Uint8Array): IndexTable {
  const table = readIndexTable(openSealedFile(sealer, 'index', id, stored))
  if (table === undefined) throw new Failure('repository.damaged', { key: keyOf('index', id), reason: 'unknown form' })
  return table
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
      return openSealedFile(sealer, kind, id, await storage.get(keyOf(kind, id), { signal }))
    },

    async save<Id extends string>(kind: SealedKind, json: Uint8Array, signal?: AbortSignal, usesReserve?: PutOptions['usesReserve']) {
      const plaintext = encodeUnpacked(version, json)
      const stored = sealer.seal(plaintext)
      const opened = sealer.open(stored)
      const decoded = opened === undefined ? undefined : decodeUnpacked(opened)
      if (decoded === undefined || Buffer.compare(decoded, json) !== 0) throw new Failure('host.unsound', { kind })
      const id = idOf<Id>(stored)
      await putNamedByContent(storage, keyOf(kind, id), [stored], signal, usesReserve)
      return id
    },

    remove: (kind, id, signal) => storage.delete(keyOf(kind, id), { signal }),
  }
}
