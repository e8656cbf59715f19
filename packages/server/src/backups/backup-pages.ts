import type { Reader } from '../db/database.ts'
import type { ProjectId } from '../ids.ts'
import type { JsonPieces } from '../json-pieces.ts'
import { backupPageToWire } from './backup-wire.ts'
import { listBackups, openListMemory, type BackupListing } from './list-backups.ts'

/** Puts a page together: a `ListBackupsResponse` in JSON. `revision`: of the project, when it has been read since the call came. */
export type MakeBackupPage = (projectId: ProjectId, listing: BackupListing, revision?: number) => Promise<JsonPieces>

/** For one connection, with what it remembers between pages. */
export function openBackupPages(db: Reader): MakeBackupPage {
  const memory = openListMemory()
  return async (projectId, listing, revision) => backupPageToWire(await listBackups({ db }, memory, projectId, listing, revision))
}

const SHORT_ROWS_MAX = 100

/**
 * Whether a page is made sooner than another thread is asked for it, however many backups there are and whatever stands in them:
 * few rows, which follow each other in an index, with none between them that a filter would leave out. Their replication records, if those
 * are asked for, are few as well.
 */
export function isShortPage({ filter, order, limit }: BackupListing): boolean {
  if (limit > SHORT_ROWS_MAX || filter.ownership !== 'own') return false
  const { ownership: _, ...conditions } = filter
  // A key and the id, both in one direction; indexes have no others.
  return order.length <= 2 && order.every(({ direction }) => direction === order[0]?.direction) && Object.values(conditions).every((each) => each === undefined)
}
