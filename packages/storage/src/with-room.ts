/**
 * Keeps what is written below a prefix within so many bytes. The file that would not fit is not written,
 * and neither is any after it: a storage that is full does not take the small ones still.
 */
import { StorageFailure, type Storage } from './storage.ts'

export interface RoomOptions {
  readonly prefix: string
  /** Asked at each write, as it may be known only after the storage has been opened; undefined is no limit. */
  readonly bytesMax: () => number | undefined
}

export function withRoom(storage: Storage, { prefix, bytesMax }: RoomOptions): Storage {
  let written = 0
  let isFull = false
  return {
    get location() {
      return storage.location
    },
    get listingDelayMs() {
      return storage.listingDelayMs
    },
    async put(key, parts, options) {
      if (!key.startsWith(prefix)) return storage.put(key, parts, options)
      const size = parts.reduce((sum, part) => sum + part.length, 0)
      const left = (bytesMax() ?? Infinity) - written
      isFull ||= size > left
      if (isFull) throw new StorageFailure('storage.over_capacity', { needed: size, available: Math.max(0, left) })
      // Booked before it is written, so that several at once cannot pass the limit together.
      written += size
      try {
        await storage.put(key, parts, options)
      } catch (error) {
        written -= size
        throw error
      }
    },
    get: (key, options) => storage.get(key, options),
    stat: (key, options) => storage.stat(key, options),
    list: (listed, options) => storage.list(listed, options),
    delete: (key, options) => storage.delete(key, options),
  }
}
