/** Why something of a source is left out on purpose. */
export type SkipReason =
  /** One of the patterns of the caller names it. */
  | 'pattern'
  /** The content of a directory that a `CACHEDIR.TAG` declares to be a cache. */
  | 'cache'
  /** The content of a directory on which another file system is mounted. */
  | 'other_file_system'

export interface SkippedEntry {
  /** Absolute, for people: bytes that are no text are shown as replacement characters. */
  readonly path: string
  readonly reason: SkipReason
  /** The pattern that named it. */
  readonly pattern?: string
}

const ENTRIES_KEPT_MAX = 1000

/** Collects what is left out on purpose: the first thousand by name, all of them by number. */
export class SkippedEntries {
  readonly list: SkippedEntry[] = []
  total = 0

  add(path: Buffer, reason: SkipReason, pattern?: string): void {
    this.total += 1
    if (this.list.length >= ENTRIES_KEPT_MAX) return
    this.list.push({ path: path.toString(), reason, ...(pattern === undefined ? {} : { pattern }) })
  }
}
