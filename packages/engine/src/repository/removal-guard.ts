/**
 * A note beside a repository that nothing may be taken out of it. restic's format knows no such thing: stock
 * restic, and whoever may delete files in the storage, is not held back. Our own programs that remove, rewrite or lock out
 * ask for it first.
 *
 * It lies in a folder that restic does not look at. Files are never replaced, so each note has a name of its own, and
 * the older ones go after the newer one is there: at every moment there is one.
 */
import { createHash } from 'node:crypto'
import { StorageFailure, type Storage } from '@opencbr/storage'

const PREFIX = 'opencbr-guard/'
const NOTE_BYTES_MAX = 65_536

export interface RemovalGuard {
  /** For people: who forbids it, and until when. */
  readonly reason: string
  /** For programs, by whoever wrote it. */
  readonly facts: Readonly<Record<string, string | number | null>>
}

/** The note, or undefined when the repository is not guarded. One that cannot be understood guards, too. */
export async function findRemovalGuard(storage: Storage, signal?: AbortSignal): Promise<RemovalGuard | undefined> {
  let guard: RemovalGuard | undefined
  for await (const { key, size } of storage.list(PREFIX, { signal })) {
    if (size > NOTE_BYTES_MAX) return UNREADABLE
    try {
      guard = parseNote(Buffer.from(await storage.get(key, { signal })).toString('utf8'))
    } catch (error) {
      // Gone since it was listed: a newer one is there.
      if (!(error instanceof StorageFailure) || error.code !== 'storage.not_found') throw error
      guard ??= UNREADABLE
    }
  }
  return guard
}

const UNREADABLE: RemovalGuard = { reason: 'A note beside the repository forbids it, which this version cannot read.', facts: {} }

function parseNote(text: string): RemovalGuard {
  try {
    const note = JSON.parse(text) as Partial<RemovalGuard> | null
    if (typeof note?.reason === 'string') return { reason: note.reason, facts: note.facts ?? {} }
  } catch {
    // Not what we write: better to guard too much.
  }
  return UNREADABLE
}

/** Makes the note say this, or takes it away. The same once more changes nothing. */
export async function setRemovalGuard(storage: Storage, guard: RemovalGuard | undefined, signal?: AbortSignal): Promise<void> {
  const text = guard === undefined ? undefined : JSON.stringify(guard, undefined, 2)
  const current = text === undefined ? undefined : `${PREFIX}${createHash('sha256').update(text).digest('hex').slice(0, 16)}.json`
  const present: string[] = []
  for await (const { key } of storage.list(PREFIX, { signal })) present.push(key)
  if (current !== undefined && text !== undefined && !present.includes(current)) {
    try {
      await storage.put(current, [Buffer.from(text)], { signal })
    } catch (error) {
      if (!(error instanceof StorageFailure) || error.code !== 'storage.exists') throw error
    }
  }
  for (const key of present) if (key !== current) await storage.delete(key, { signal })
}
