/**
 * A storage into which nothing goes but locks, for finding out what work would write: whoever runs meanwhile must see
 * that somebody counts on what is there. What would have been written is counted, and gone.
 */
import type { Storage } from './storage.ts'

export interface DryStorage {
  readonly storage: Storage
  /** Bytes of the files below a prefix that would have been written so far. */
  readonly bytesBelow: (prefix: string) => number
}

export function withoutWrites(storage: Storage): DryStorage {
  const sizes = new Map<string, number>()
  return {
    storage: {
      location: storage.location,
      listingDelayMs: storage.listingDelayMs,
      async put(key, parts, options) {
        if (key.startsWith('locks/')) return storage.put(key, parts, options)
        options?.signal?.throwIfAborted()
        const folder = key.slice(0, key.indexOf('/') + 1)
        sizes.set(folder, (sizes.get(folder) ?? 0) + parts.reduce((sum, part) => sum + part.length, 0))
      },
      get: (key, options) => storage.get(key, options),
      stat: (key, options) => storage.stat(key, options),
      list: (prefix, options) => storage.list(prefix, options),
      async delete(key, options) {
        if (key.startsWith('locks/')) await storage.delete(key, options)
      },
    },
    bytesBelow: (prefix) => sizes.get(prefix) ?? 0,
  }
}
