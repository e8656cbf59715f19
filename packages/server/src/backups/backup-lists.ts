import { hash, randomUUID } from 'node:crypto'
import type { ListBackupsQuery } from '@opencbr/contract'
import type { Reader } from '../db/database.ts'
import type { ProjectId } from '../ids.ts'
import type { JsonPieces } from '../json-pieces.ts'
import { findBackupRevision } from './backup-list-store.ts'
import type { MakeBackupPage } from './backup-pages.ts'
import { parseListing, type BackupListing } from './list-backups.ts'

/** Of all remembered answers together. */
const BYTES_KEPT_MAX = 12 * 1024 * 1024

export interface BackupListAnswer {
  /** A `ListBackupsResponse` in JSON, held for the caller. */
  readonly body: JsonPieces
  /** Changes whenever the body may have: an entity tag. */
  readonly tag: string
}

function held<Answer extends BackupListAnswer>(answer: Answer): Answer {
  answer.body.hold()
  return answer
}

/** `revision`: of the project, when it has been read since the call came. */
export type AnswerBackupList = (projectId: ProjectId, query: ListBackupsQuery, revision?: number) => Promise<BackupListAnswer>

interface KnownAnswer extends BackupListAnswer {
  readonly revision: number
}

/**
 * Answers listings, and remembers the answers: tools and consoles that wait for something ask for the same page
 * over and over. An answer is used again only while the project's revision is the one that was read
 * before it was put together, so it is never older than the call. Calls that find the same page being made, at their own
 * revision, wait for it.
 */
export function openBackupLists(reads: Reader, makePage: MakeBackupPage): AnswerBackupList {
  const known = new Map<string, KnownAnswer>()
  const making = new Map<string, { readonly revision: number, readonly answer: Promise<KnownAnswer> }>()
  let bytesKept = 0
  // Revisions of a catalogue that was brought back from a backup repeat themselves, for other contents.
  const epoch = randomUUID()
  // The short way hands in the same query again for the same text.
  const read = new WeakMap<ListBackupsQuery, { readonly projectId: ProjectId, readonly listing: BackupListing, readonly key: string }>()

  function readQuery(projectId: ProjectId, query: ListBackupsQuery): { readonly listing: BackupListing, readonly key: string } {
    const before = read.get(query)
    if (before?.projectId === projectId) return before
    const listing = parseListing(query)
    const made = { projectId, listing, key: JSON.stringify([projectId, listing]) }
    read.set(query, made)
    return made
  }

  function forget(key: string): void {
    const body = known.get(key)?.body
    bytesKept -= body?.byteLength ?? 0
    known.delete(key)
    body?.letGo()
  }

  async function make(projectId: ProjectId, listing: BackupListing, key: string, revision: number): Promise<KnownAnswer> {
    const body = await makePage(projectId, listing, revision)
    const answer = { body, tag: hash('sha256', `${epoch} ${revision} ${key}`, 'base64url'), revision }
    forget(key)
    known.set(key, answer)
    body.hold()
    bytesKept += body.byteLength
    for (const oldest of known.keys()) {
      if (bytesKept <= BYTES_KEPT_MAX) break
      forget(oldest)
    }
    return answer
  }

  return async (projectId, query, readRevision) => {
    const { listing, key } = readQuery(projectId, query)
    const revision = readRevision ?? await findBackupRevision(reads, projectId)
    const remembered = known.get(key)
    if (remembered?.revision === revision) {
      known.delete(key)
      known.set(key, remembered)
      return held(remembered)
    }
    const beside = making.get(key)
    if (beside?.revision === revision) return held(await beside.answer)
    const answer = make(projectId, listing, key, revision)
    const mine = { revision, answer }
    making.set(key, mine)
    const done = (): void => {
      if (making.get(key) === mine) making.delete(key)
    }
    answer.then(done, done)
    return answer
  }
}
