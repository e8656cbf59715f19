import type { PutOptions, Storage, StoredFile } from '@opencbr/storage'
import { asFailure, Failure } from '../failure.ts'

/**
 * The same storage, its errors turned into the engine's failures once for everything above, and
 * every call ended when the given signal aborts.
 */
export function guardStorage(storage: Storage, wholeSignal?: AbortSignal): Storage {
  const joined = (signal: AbortSignal | undefined) =>
    signal !== undefined && wholeSignal !== undefined ? AbortSignal.any([signal, wholeSignal]) : (signal ?? wholeSignal)

  async function guard<Answer>(
    signal: AbortSignal | undefined, call: (signal: AbortSignal | undefined) => Promise<Answer>,
  ): Promise<Answer> {
    const either = joined(signal)
    try {
      return await call(either)
    } catch (error) {
      throw asFailure(error, either)
    }
  }

  return {
    location: storage.location,
    listingDelayMs: storage.listingDelayMs,
    put: (key, parts, options) => guard(options?.signal, (signal) => storage.put(key, parts, { ...options, signal })),
    get: (key, options) =>
      guard(options?.signal, async (signal) => {
        const bytes = await storage.get(key, { ...options, signal })
        const expected = options?.range?.length
        if (expected !== undefined && bytes.length !== expected) {
          throw new Failure('storage.out_of_range', { key, length: expected, size: bytes.length })
        }
        return bytes
      }),
    stat: (key, options) => guard(options?.signal, (signal) => storage.stat(key, { signal })),
    async *list(prefix, options): AsyncGenerator<StoredFile> {
      const signal = joined(options?.signal)
      try {
        yield* storage.list(prefix, { signal })
      } catch (error) {
        throw asFailure(error, signal)
      }
    },
    delete: (key, options) => guard(options?.signal, (signal) => storage.delete(key, { signal })),
  }
}

/**
 * Stores a file whose name is the hash of its content. When the name is taken, an earlier attempt
 * had stored it although its answer was lost; the same name means the same bytes.
 */
export async function putNamedByContent(
  storage: Storage, key: string, parts: readonly Uint8Array[], signal?: AbortSignal, usesReserve?: PutOptions['usesReserve'],
): Promise<void> {
  try {
    await storage.put(key, parts, { signal, usesReserve })
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'storage.exists') throw error
    const size = parts.reduce((bytes, part) => bytes + part.length, 0)
    const stored = await storage.stat(key, { signal })
    if (stored.size !== size) throw new Failure('repository.damaged', { key, size: stored.size, expected: size }, { cause: error })
  }
}

/** The code of a failure, or undefined for any other error. */
export function failureCode(error: unknown): Failure['code'] | undefined {
  return error instanceof Failure ? error.code : undefined
}
