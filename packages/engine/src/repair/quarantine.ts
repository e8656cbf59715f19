import type { Storage } from '@opencbr/storage'
import { Failure } from '../failure.ts'
import { failureCode } from '../repository/guarded-storage.ts'

/** Where damaged files of a repository are put aside. No program that knows the format looks there. */
export const QUARANTINE_PREFIX = 'quarantine/'

/** So many different states of one file are kept. */
const STATES_MAX = 100

/**
 * Copies a file into the quarantine, under its own key, and reads the copy back. Returns the copy's key,
 * or undefined when the file cannot be read: then it must stay where it is. A copy of the same content
 * is made once; another content of the same file gets a number.
 */
export async function copyToQuarantine(storage: Storage, key: string, signal?: AbortSignal): Promise<string | undefined> {
  let content: Uint8Array
  try {
    content = await storage.get(key, { signal })
  } catch (error) {
    if (failureCode(error) === undefined || failureCode(error) === 'cancelled') throw error
    return undefined
  }
  for (let state = 1; state <= STATES_MAX; state += 1) {
    const place = `${QUARANTINE_PREFIX}${key}${state === 1 ? '' : `.${state}`}`
    try {
      await storage.put(place, [content], { signal })
    } catch (error) {
      if (failureCode(error) !== 'storage.exists') throw error
    }
    if (Buffer.compare(await storage.get(place, { signal }), content) === 0) return place
  }
  throw new Failure('storage.exists', { key: `${QUARANTINE_PREFIX}${key}` })
}
