/**
 * Repeats calls that failed for a passing reason: the one place where this happens.
 *
 * Only `storage.unavailable` is repeated. Every other failure is an answer that asking again does not
 * change. Waits grow by a factor of two, up to a limit, and a random part of half their length keeps
 * many clients of a busy server from coming back at the same moment. A server that says how long to
 * wait is waited for at least that long.
 *
 * A put whose answer was lost may have stored the file, and the next attempt then finds the name
 * taken. The file is read back and compared: the same bytes mean that the put has succeeded.
 */
import { setTimeout as sleepFor } from 'node:timers/promises'
import { StorageFailure } from './storage.ts'
import type { GetOptions, Storage, StoredFile } from './storage.ts'

export interface RetriedCall {
  readonly key: string
  /** How many attempts have failed, from 1. */
  readonly attempts: number
  readonly failure: StorageFailure
  /** Milliseconds until the next attempt. */
  readonly delayMs: number
}

export interface RetryOptions {
  /** No attempt begins later than this after the call, in milliseconds. */
  readonly totalMsMax?: number | undefined
  /** The wait after the first failure, in milliseconds; it doubles with each further one. */
  readonly delayMsFirst?: number | undefined
  readonly delayMsMax?: number | undefined
  /** Told before each wait: for logs. */
  readonly onRetry?: ((call: RetriedCall) => void) | undefined
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: (() => number) | undefined
  /** Resolves after some milliseconds, or rejects when the signal aborts. */
  readonly sleep?: ((ms: number, signal: AbortSignal | undefined) => Promise<void>) | undefined
  /** A number from 0 up to 1. */
  readonly random?: (() => number) | undefined
}

const TOTAL_MS_MAX = 15 * 60_000
const DELAY_MS_FIRST = 500
const DELAY_MS_MAX = 30_000

function isSame(stored: Uint8Array, parts: readonly Uint8Array[]): boolean {
  let at = 0
  for (const part of parts) {
    if (Buffer.compare(stored.subarray(at, at + part.length), part) !== 0) return false
    at += part.length
  }
  return at === stored.length
}

/** The same storage, patient. What still fails throws its last failure, with the fact `attempts`. */
export function withRetry(storage: Storage, options: RetryOptions = {}): Storage {
  const totalMsMax = options.totalMsMax ?? TOTAL_MS_MAX
  const delayMsFirst = options.delayMsFirst ?? DELAY_MS_FIRST
  const delayMsMax = options.delayMsMax ?? DELAY_MS_MAX
  const now = options.now ?? (() => performance.now())
  const sleep = options.sleep ?? ((ms, signal) => sleepFor(ms, undefined, signal === undefined ? {} : { signal }))
  const random = options.random ?? Math.random

  /** Keeps count of one call: decides after each failure whether to wait, and waits. */
  function beginCall(key: string, signal: AbortSignal | undefined) {
    const startedAt = now()
    let attempts = 0
    return {
      get attempts() {
        return attempts
      },
      /** Waits for the next attempt, or throws the failure that ends the call. */
      async afterFailure(error: unknown): Promise<void> {
        attempts += 1
        signal?.throwIfAborted()
        if (!(error instanceof StorageFailure) || error.code !== 'storage.unavailable') throw error
        const wholeMs = Math.min(delayMsFirst * 2 ** (attempts - 1), delayMsMax)
        const delayMs = Math.max(wholeMs / 2 + (wholeMs / 2) * random(), Number(error.facts['retryAfterMs'] ?? 0))
        if (now() - startedAt + delayMs > totalMsMax) {
          throw new StorageFailure(error.code, { ...error.facts, attempts }, { cause: error.cause })
        }
        options.onRetry?.({ key, attempts, failure: error, delayMs })
        try {
          await sleep(delayMs, signal)
        } catch (interrupted) {
          signal?.throwIfAborted()
          throw interrupted
        }
      },
    }
  }

  async function repeat<Answer>(
    key: string, signal: AbortSignal | undefined, attempt: (failedBefore: number) => Promise<Answer>,
  ): Promise<Answer> {
    const call = beginCall(key, signal)
    for (;;) {
      try {
        return await attempt(call.attempts)
      } catch (error) {
        await call.afterFailure(error)
      }
    }
  }

  return {
    get location() {
      return storage.location
    },

    put: (key, parts, { signal, usesReserve } = {}) =>
      repeat(key, signal, async (failedBefore) => {
        try {
          await storage.put(key, parts, { signal, usesReserve })
        } catch (error) {
          const mayBeOurs = failedBefore > 0 && error instanceof StorageFailure && error.code === 'storage.exists'
          if (!mayBeOurs || !isSame(await storage.get(key, { signal }), parts)) throw error
        }
      }),

    get(key, { range, allocate, signal }: GetOptions = {}) {
      let memory: Uint8Array | undefined
      // The caller is asked for memory once, however many attempts fill it.
      const allocateOnce = (length: number): Uint8Array => {
        if (memory?.length !== length) memory = allocate?.(length) ?? new Uint8Array(length)
        return memory
      }
      return repeat(key, signal, () => storage.get(key, { range, allocate: allocateOnce, signal }))
    },

    stat: (key, { signal } = {}) => repeat(key, signal, () => storage.stat(key, { signal })),

    async *list(prefix, { signal } = {}): AsyncGenerator<StoredFile> {
      const call = beginCall(prefix, signal)
      const listed = new Set<string>()
      for (;;) {
        const files = storage.list(prefix, { signal })[Symbol.asyncIterator]()
        // Only the storage's own failures are repeated, not those of whoever takes the files.
        const nextFile = async (): Promise<IteratorResult<StoredFile> | undefined> => {
          try {
            return await files.next()
          } catch (error) {
            await call.afterFailure(error)
            return undefined
          }
        }
        try {
          for (let next = await nextFile(); next !== undefined; next = await nextFile()) {
            if (next.done === true) return
            // A listing that begins again shows again what it has shown.
            if (listed.has(next.value.key)) continue
            listed.add(next.value.key)
            yield next.value
          }
        } finally {
          await files.return?.(undefined)
        }
      }
    },

    delete: (key, { signal } = {}) => repeat(key, signal, () => storage.delete(key, { signal })),
  }
}
