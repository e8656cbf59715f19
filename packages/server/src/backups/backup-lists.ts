import { createHash, randomUUID } from 'node:crypto'
import type { ListBackupsQuery } from '@opencbr/contract'
import type { Deps } from '../deps.ts'
import type { ProjectId } from '../ids.ts'
import { findBackupRevision } from './backup-list-store.ts'
import { backupPageToWire } from './backup-wire.ts'
import { listBackups, openListMemory, parseListing } from './list-backups.ts'

/** Of all remembered answers together. */
const BYTES_KEPT_MAX = 32 * 1024 * 1024

export interface BackupListAnswer {
  /** A `ListBackupsResponse` in JSON. */
  readonly body: Uint8Array
  /** Changes whenever the body may have: an entity tag. */
  readonly tag: string
}

export type AnswerBackupList = (projectId: ProjectId, query: ListBackupsQuery) => Promise<BackupListAnswer>

/**
 * Answers listings, and remembers the answers: tools and consoles that wait for something ask for the same page
 * over and over. An answer is used again only while the project's revision is the one that was read
 * before it was put together, so it is never older than the call.
 */
export function openBackupLists(deps: Pick<Deps, 'db'>): AnswerBackupList {
  const memory = openListMemory()
  const known = new Map<string, BackupListAnswer & { readonly revision: number }>()
  let bytesKept = 0
  // Revisions of a catalogue that was brought back from a backup repeat themselves, for other contents.
  const epoch = randomUUID()

  function forget(key: string): void {
    bytesKept -= known.get(key)?.body.byteLength ?? 0
    known.delete(key)
  }

  return async (projectId, query) => {
    const listing = parseListing(query)
    const key = JSON.stringify([projectId, listing])
    const revision = await findBackupRevision(deps.db, projectId)
    const remembered = known.get(key)
    if (remembered?.revision === revision) {
      known.delete(key)
      known.set(key, remembered)
      return remembered
    }
    const body = backupPageToWire(await listBackups(deps, memory, projectId, listing))
    const tag = createHash('sha256').update(`${epoch} ${revision} ${key}`).digest('base64url')
    const answer = { body, tag, revision }
    forget(key)
    known.set(key, answer)
    bytesKept += body.byteLength
    for (const oldest of known.keys()) {
      if (bytesKept <= BYTES_KEPT_MAX) break
      forget(oldest)
    }
    return answer
  }
}
