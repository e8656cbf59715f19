/**
 * Keeps the average flow of bytes up and down below a limit. A file is sent or read at full speed and
 * paid for afterwards: the next one waits until its time has come. So the limit holds over seconds,
 * not within one file, and nothing has to know how a storage moves its bytes.
 */
import assert from 'node:assert/strict'
import { setTimeout as sleepFor } from 'node:timers/promises'
import type { Storage } from './storage.ts'

export interface RateLimitOptions {
  readonly uploadBytesPerSecond?: number | undefined
  readonly downloadBytesPerSecond?: number | undefined
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: (() => number) | undefined
  /** Resolves after some milliseconds, or rejects when the signal aborts. */
  readonly sleep?: ((ms: number, signal: AbortSignal | undefined) => Promise<void>) | undefined
}

/** The same storage, slower. Listings, sizes and removals are free. */
export function withRateLimit(storage: Storage, options: RateLimitOptions): Storage {
  const now = options.now ?? (() => performance.now())
  const sleep = options.sleep ?? ((ms, signal) => sleepFor(ms, undefined, signal === undefined ? {} : { signal }))

  function meterOf(bytesPerSecond: number) {
    assert(bytesPerSecond > 0, 'a limit of no bytes a second would wait for ever')
    let freeAt = 0
    return {
      /** Books bytes that are known beforehand, and waits for what was booked before. */
      async take(bytes: number, signal: AbortSignal | undefined): Promise<void> {
        signal?.throwIfAborted()
        const time = now()
        const waitMs = freeAt - time
        freeAt = Math.max(time, freeAt) + (bytes * 1000) / bytesPerSecond
        if (waitMs <= 0) return
        try {
          await sleep(waitMs, signal)
        } catch (interrupted) {
          freeAt -= (bytes * 1000) / bytesPerSecond
          signal?.throwIfAborted()
          throw interrupted
        }
      },
      /** Books bytes that have moved already. */
      add(bytes: number): void {
        freeAt = Math.max(now(), freeAt) + (bytes * 1000) / bytesPerSecond
      },
    }
  }

  const up = meterOf(options.uploadBytesPerSecond ?? Infinity)
  const down = meterOf(options.downloadBytesPerSecond ?? Infinity)
  return {
    get location() {
      return storage.location
    },
    async put(key, parts, callOptions) {
      await up.take(parts.reduce((bytes, part) => bytes + part.length, 0), callOptions?.signal)
      await storage.put(key, parts, callOptions)
    },
    async get(key, callOptions) {
      const length = callOptions?.range?.length
      await down.take(length ?? 0, callOptions?.signal)
      const bytes = await storage.get(key, callOptions)
      if (length === undefined) down.add(bytes.length)
      return bytes
    },
    stat: (key, callOptions) => storage.stat(key, callOptions),
    list: (prefix, callOptions) => storage.list(prefix, callOptions),
    delete: (key, callOptions) => storage.delete(key, callOptions),
  }
}
