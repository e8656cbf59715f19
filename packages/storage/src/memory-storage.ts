import assert from 'node:assert/strict'
import { isStorageKey, StorageFailure } from './storage.ts'
import type { Storage, StoredFile } from './storage.ts'

export interface MemoryStorageOptions {
  /** The storage's clock, in milliseconds since 1970. */
  readonly now?: (() => number) | undefined
  /** Bytes that fit in before `storage.full`. */
  readonly bytesMax?: number | undefined
}

interface MemoryFile {
  readonly bytes: Uint8Array
  readonly modifiedAt: number
}

/** A storage that ends with the process: for tests and for trying things. */
export function memoryStorage(options: MemoryStorageOptions = {}): Storage {
  const now = options.now ?? Date.now
  const bytesMax = options.bytesMax ?? Infinity
  const files = new Map<string, MemoryFile>()
  let bytesUsed = 0

  function getFile(key: string): MemoryFile {
    const file = files.get(key)
    if (file === undefined) throw new StorageFailure('storage.not_found', { key })
    return file
  }

  return {
    location: 'memory',

    async put(key, parts, { signal } = {}) {
      assert(isStorageKey(key), `not a storage key: ${key}`)
      signal?.throwIfAborted()
      if (files.has(key)) throw new StorageFailure('storage.exists', { key })
      const bytes = new Uint8Array(Buffer.concat(parts))
      if (bytesUsed + bytes.length > bytesMax) throw new StorageFailure('storage.full', { key })
      bytesUsed += bytes.length
      files.set(key, { bytes, modifiedAt: now() })
    },

    async get(key, { range, allocate, signal } = {}) {
      signal?.throwIfAborted()
      const { bytes } = getFile(key)
      const offset = range?.offset ?? 0
      const length = range?.length ?? bytes.length
      if (offset + length > bytes.length) {
        throw new StorageFailure('storage.out_of_range', { key, offset, length, size: bytes.length })
      }
      const answer = allocate?.(length) ?? new Uint8Array(length)
      answer.set(bytes.subarray(offset, offset + length))
      return answer
    },

    async stat(key, { signal } = {}) {
      signal?.throwIfAborted()
      const { bytes, modifiedAt } = getFile(key)
      return { key, size: bytes.length, modifiedAt }
    },

    async *list(prefix, { signal } = {}) {
      assert(prefix === '' || prefix.endsWith('/'), `not a storage prefix: ${prefix}`)
      signal?.throwIfAborted()
      const found: StoredFile[] = []
      for (const [key, { bytes, modifiedAt }] of files) {
        if (key.startsWith(prefix)) found.push({ key, size: bytes.length, modifiedAt })
      }
      yield* found
    },

    async delete(key, { signal } = {}) {
      signal?.throwIfAborted()
      bytesUsed -= files.get(key)?.bytes.length ?? 0
      files.delete(key)
    },
  }
}
