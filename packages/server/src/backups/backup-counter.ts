import type { Reader } from '../db/database.ts'
import type { ProjectId } from '../ids.ts'
import { countOwnBackups, countReceivedBackups, findBackupRevision, type BackupFilter } from './backup-list-store.ts'

/** How many backups match a filter, on whatever page. */
export type CountBackups = (db: Reader, projectId: ProjectId, filter: BackupFilter) => Promise<number>

const COUNTS_KEPT_MAX = 1000

/**
 * Counts, and remembers what was counted. A count reads every matching row, a page only its own, so who
 * walks through the pages of a large project would spend nearly all of the time on counting the same again.
 *
 * A remembered count is used only while the project's revision is the one that was read before
 * counting: it is always exact. A change that comes between reading the revision and counting leaves a
 * newer count under an older revision, which is never used. Received shares are counted every time.
 */
export function openBackupCounter(): CountBackups {
  const known = new Map<string, { readonly revision: number, readonly count: number }>()

  async function countOwn(db: Reader, projectId: ProjectId, filter: BackupFilter): Promise<number> {
    if (!followsFromRevision(filter)) return countOwnBackups(db, projectId, filter)
    const revision = await findBackupRevision(db, projectId)
    const key = JSON.stringify([projectId, { ...filter, ownership: 'own' }])
    const remembered = known.get(key)
    known.delete(key)
    const count = remembered?.revision === revision ? remembered.count : await countOwnBackups(db, projectId, filter)
    known.set(key, { revision, count })
    // A map keeps the order of insertion: the first key is the one that was not used for longest.
    const [oldest] = known.keys()
    if (known.size > COUNTS_KEPT_MAX && oldest !== undefined) known.delete(oldest)
    return count
  }

  return async (db, projectId, filter) => {
    const own = filter.ownership === 'received' ? 0 : await countOwn(db, projectId, filter)
    const received = filter.ownership === 'own' ? 0 : await countReceivedBackups(db, projectId, filter)
    return own + received
  }
}

/** Whether which own backups match follows from the backups alone, and not from the state of shares or the use of vaults. */
export function followsFromRevision(filter: BackupFilter): boolean {
  return filter.memberStatus === undefined && filter.usedPercentMin === undefined
}
