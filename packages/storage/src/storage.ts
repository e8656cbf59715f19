/**
 * Where bytes lie. A storage holds immutable files under path-like keys; a key is never written
 * twice. Everything above relies on three promises that each implementation must keep: a file is
 * either there whole or not at all, a put that has resolved survives a power cut, and a second put
 * of the same key changes nothing and says so.
 */

export const storageFailures = {
  'storage.not_found': 'The storage holds no file of this name.',
  'storage.exists': 'The storage already holds a file of this name; files are never replaced.',
  'storage.out_of_range': 'The file is shorter than the range that was asked for.',
  'storage.full': 'The storage has no space left.',
  'storage.over_capacity': 'What should be written does not fit into what may be written here.',
  'storage.forbidden': 'The storage refuses this access.',
  'storage.wrong_place': 'There is no storage at this address: check it, its bucket and its region.',
  'storage.unavailable': 'The storage cannot be reached or answers with an error.',
} as const satisfies Record<string, string>

export type StorageFailureCode = keyof typeof storageFailures

export class StorageFailure extends Error {
  override name = 'StorageFailure'
  readonly code: StorageFailureCode
  readonly facts: Readonly<Record<string, string | number>>

  constructor(code: StorageFailureCode, facts: StorageFailure['facts'] = {}, options?: ErrorOptions) {
    super(storageFailures[code], options)
    this.code = code
    this.facts = facts
  }
}

export interface StoredFile {
  readonly key: string
  /** Bytes. */
  readonly size: number
  /** When the file was written, by the storage's own clock, in milliseconds since 1970. */
  readonly modifiedAt: number
}

export interface ByteRange {
  /** Bytes from the start of the file. */
  readonly offset: number
  /** Bytes. */
  readonly length: number
}

export interface CallOptions {
  /** Ends the call early; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

export interface PutOptions extends CallOptions {
  /**
   * Whether the file may take the space that a storage keeps for what makes room, where it keeps any: all of
   * it, for locks and for what is written to remove something right after; or only as much as leaves
   * enough for those.
   */
  readonly usesReserve?: 'partly' | 'wholly' | undefined
}

export interface GetOptions extends CallOptions {
  readonly range?: ByteRange | undefined
  /**
   * Provides the memory that the answer is read into, so that bytes can land where another thread
   * sees them. Called once with the number of bytes.
   */
  readonly allocate?: ((length: number) => Uint8Array) | undefined
}

/**
 * Keys are relative paths such as `data/ab/abcd…`, their parts made of letters, digits, dot, dash
 * and underscore. Every failure is a `StorageFailure`, except an abort.
 */
export interface Storage {
  /** Names the place for people, without secrets. */
  readonly location: string
  /**
   * How long after a put has resolved a listing may still lack the file, in milliseconds: 0 where everybody sees it at once.
   * Unknown when absent.
   */
  readonly listingDelayMs?: number | undefined
  /** Writes a new file from consecutive parts. Throws `storage.exists`, `storage.full`, …; leaves nothing behind then. */
  put(key: string, parts: readonly Uint8Array[], options?: PutOptions): Promise<void>
  /** Reads a file or exactly one range of it. Throws `storage.not_found`, `storage.out_of_range`. */
  get(key: string, options?: GetOptions): Promise<Uint8Array>
  /** Throws `storage.not_found`. */
  stat(key: string, options?: CallOptions): Promise<StoredFile>
  /**
   * The files below a prefix that is empty or ends with a slash, in no particular order. A listing
   * proves that a file is there; it never proves that one is not: `stat` does.
   */
  list(prefix: string, options?: CallOptions): AsyncIterable<StoredFile>
  /** Removes a file; a missing one is fine. Removals take effect in the order in which they resolve. */
  delete(key: string, options?: CallOptions): Promise<void>
}

const keyPattern = /^(?!\.{1,2}(?:\/|$))[\w.-]+(?:\/(?!\.{1,2}(?:\/|$))[\w.-]+)*$/

/** Whether a key can name a file in every storage; what cannot is a mistake of the caller. */
export function isStorageKey(key: string): boolean {
  return keyPattern.test(key)
}
