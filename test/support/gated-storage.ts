import type { Storage, StorageOperation } from '@opencbr/storage'

export interface GatedCall {
  /** Counts from 1 over all calls. */
  readonly number: number
  readonly operation: StorageOperation
  readonly key: string
}

/** The same storage, whose every call waits first for what `gate` returns: so a test delays calls, or stops somebody midway. */
export function gatedStorage(storage: Storage, gate: (call: GatedCall) => Promise<void> | undefined): Storage {
  let number = 0
  const pass = async (operation: StorageOperation, key: string): Promise<void> => {
    number += 1
    await gate({ number, operation, key })
  }
  return {
    location: storage.location,
    async put(key, parts, options) {
      await pass('put', key)
      await storage.put(key, parts, options)
    },
    async get(key, options) {
      await pass('get', key)
      return await storage.get(key, options)
    },
    async stat(key, options) {
      await pass('stat', key)
      return await storage.stat(key, options)
    },
    async *list(prefix, options) {
      await pass('list', prefix)
      yield* storage.list(prefix, options)
    },
    async delete(key, options) {
      await pass('delete', key)
      await storage.delete(key, options)
    },
  }
}
