import type { CallOptions, GetOptions, PutOptions, Storage } from './storage.ts'
import { StorageFailure } from './storage.ts'
import type { StorageFailureCode } from './storage.ts'

export type StorageOperation = 'put' | 'get' | 'stat' | 'list' | 'delete'

export interface StorageCall {
  /** Counts from 1 over all calls. */
  readonly number: number
  readonly operation: StorageOperation
  /** The key, or the prefix of a listing. */
  readonly key: string
}

/**
 * What happens to a call: `fail` refuses it; `lose-answer` carries it out and then reports an
 * error, as a broken connection does; `truncate` hands back only the first half of what a `get`
 * read, or shows only the first half of a listing; the two crashes end the process as far as the
 * storage can see: every later call fails too, the call itself having had no effect or its effect.
 */
export type Fault =
  | { readonly kind: 'fail'; readonly code: StorageFailureCode }
  | { readonly kind: 'lose-answer' }
  | { readonly kind: 'truncate' }
  | { readonly kind: 'crash-before' }
  | { readonly kind: 'crash-after' }

export interface FaultyStorage extends Storage {
  /** Every call so far, refused ones included. */
  readonly calls: readonly StorageCall[]
  readonly crashed: boolean
}

/** A storage that misbehaves as told: asked before each call, `decide` names the fault, if any. */
export function withFaults(storage: Storage, decide: (call: StorageCall) => Fault | undefined): FaultyStorage {
  const calls: StorageCall[] = []
  let crashed = false

  function enter(operation: StorageOperation, key: string): Fault | undefined {
    const call = { number: calls.length + 1, operation, key }
    calls.push(call)
    if (crashed) throw new StorageFailure('storage.unavailable', { key, reason: 'crashed' })
    const fault = decide(call)
    if (fault?.kind === 'fail') throw new StorageFailure(fault.code, { key })
    if (fault?.kind === 'crash-before') {
      crashed = true
      throw new StorageFailure('storage.unavailable', { key, reason: 'crashed' })
    }
    return fault
  }

  function leave(fault: Fault | undefined, key: string): void {
    if (fault?.kind === 'crash-after') crashed = true
    if (fault?.kind === 'crash-after' || fault?.kind === 'lose-answer') {
      throw new StorageFailure('storage.unavailable', { key, reason: 'answer lost' })
    }
  }

  async function run<Answer>(
    operation: StorageOperation,
    key: string,
    call: (fault: Fault | undefined) => Promise<Answer>,
  ): Promise<Answer> {
    const fault = enter(operation, key)
    const answer = await call(fault)
    leave(fault, key)
    return answer
  }

  return {
    calls,
    get location() {
      return storage.location
    },
    get crashed() {
      return crashed
    },
    put: (key: string, parts: readonly Uint8Array[], options?: PutOptions) =>
      run('put', key, () => storage.put(key, parts, options)),
    get: (key: string, options?: GetOptions) =>
      run('get', key, async (fault) => {
        const bytes = await storage.get(key, options)
        return fault?.kind === 'truncate' ? bytes.subarray(0, bytes.length >> 1) : bytes
      }),
    stat: (key: string, options?: CallOptions) => run('stat', key, () => storage.stat(key, options)),
    async *list(prefix: string, options?: CallOptions) {
      const fault = enter('list', prefix)
      const files = await Array.fromAsync(storage.list(prefix, options))
      yield* fault?.kind === 'truncate' ? files.slice(0, files.length >> 1) : files
      leave(fault, prefix)
    },
    delete: (key: string, options?: CallOptions) => run('delete', key, () => storage.delete(key, options)),
  }
}
