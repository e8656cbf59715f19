import type { Reader } from '../db/database.ts'
import type { ProjectId } from '../ids.ts'
import {
  countOwnBackups, countReceivedBackups, findBackupRevision, sumCounts, sumCountsOfUsedVaults, type BackupFilter, type Facet,
} from './backup-list-store.ts'

/** How many backups match a filter, on whatever page. */
export type CountBackups = (db: Reader, projectId: ProjectId, filter: BackupFilter) => Promise<number>

const COUNTS_KEPT_MAX = 1000

/**
 * Counts, and remembers what was counted. A count reads every matching row, a page only its own, so who
 * walks through the pages of a large project would spend nearly all of the time on counting the same again.
 *
 * A remembered count is used only while the project's revision is the one that was read before
 * counting: it is always exact. A change that comes between reading the revision and counting leaves a
 * newer count under an older revision, which is never used.
 */
export function openBackupCounter(): CountBackups {
  const known = new Map<string, { readonly revision: number, readonly count: number }>()

  return async (db, projectId, filter) => {
    const revision = await findBackupRevision(db, projectId)
    const key = JSON.stringify([projectId, filter])
    const remembered = known.get(key)
    known.delete(key)
    const count = remembered?.revision === revision ? remembered.count : await countAfresh(db, projectId, filter, revision)
    known.set(key, { revision, count })
    // A map keeps the order of insertion: the first key is the one that was not used for longest.
    const [oldest] = known.keys()
    if (known.size > COUNTS_KEPT_MAX && oldest !== undefined) known.delete(oldest)
    return count
  }
}

async function countAfresh(db: Reader, projectId: ProjectId, filter: BackupFilter, revision: number): Promise<number> {
  const own = filter.ownership === 'received' ? 0
    : await sumOwnBackups(db, projectId, filter, revision) ?? await countOwnBackups(db, projectId, filter)
  const received = filter.ownership === 'own' ? 0 : await countReceivedBackups(db, projectId, filter)
  return own + received
}

const MICROS_PER_DAY = 86_400_000_000
/** Narrower windows are counted row by row. */
const WHOLE_DAYS_MIN = 2

/** Adds up counts that the catalogue keeps; undefined for filters that it does not keep any for. */
async function sumOwnBackups(db: Reader, projectId: ProjectId, filter: BackupFilter, revision: number): Promise<number | undefined> {
  const { ownership: _, statuses, createdFrom, createdTo, ...rest } = filter
  const [first, ...others] = Object.entries(rest).filter(([, value]) => value !== undefined)
  if (others.length > 0) return undefined
  const hasWindow = createdFrom !== undefined || createdTo !== undefined
  if (first === undefined) {
    return hasWindow ? sumWindow(db, projectId, filter, revision) : sumCounts(db, projectId, 'all', { from: '', to: '' }, statuses)
  }
  if (hasWindow) return undefined
  const [name, value] = first
  if (name === 'usedPercentMin') return sumCountsOfUsedVaults(db, projectId, Number(value), statuses)
  const facet = facetOf[name]
  if (facet === undefined) return undefined
  const text = typeof value === 'boolean' ? String(Number(value)) : String(value)
  return sumCounts(db, projectId, facet, { from: text, to: text }, statuses)
}

const facetOf: Readonly<Record<string, Facet>> = {
  vaultId: 'vault', imageType: 'image_type', resourceType: 'resource_type', incremental: 'incremental', resourceAz: 'resource_az',
  enterpriseProjectId: 'enterprise_project',
}

/** Whole days are added up, and only what sticks out at both ends is counted. */
async function sumWindow(db: Reader, projectId: ProjectId, filter: BackupFilter, revision: number): Promise<number | undefined> {
  const { createdFrom, createdTo, statuses } = filter
  const firstDay = createdFrom === undefined ? undefined : Math.ceil(createdFrom / MICROS_PER_DAY)
  const lastDay = createdTo === undefined ? undefined : Math.floor((createdTo + 1) / MICROS_PER_DAY) - 1
  if (firstDay !== undefined && lastDay !== undefined && lastDay - firstDay + 1 < WHOLE_DAYS_MIN) return undefined
  // Nothing is older than 1970; such ends have no day that texts could name.
  if (lastDay !== undefined && lastDay < 0) return undefined
  let count = await sumCounts(db, projectId, 'day', { from: dayText(firstDay), to: dayText(lastDay) }, statuses)
  if (createdFrom !== undefined && firstDay !== undefined && createdFrom < firstDay * MICROS_PER_DAY) {
    count += await countOwnBackups(db, projectId, { ...filter, createdTo: firstDay * MICROS_PER_DAY - 1 })
  }
  if (createdTo !== undefined && lastDay !== undefined) {
    count += await countOwnBackups(db, projectId, { ...filter, createdFrom: (lastDay + 1) * MICROS_PER_DAY })
  }
  // The parts belong to one state of the catalogue, or to none.
  return await findBackupRevision(db, projectId) === revision ? count : undefined
}

/** As the catalogue writes it: six digits, in the order of time. */
function dayText(day: number | undefined): string | undefined {
  return day === undefined ? undefined : String(Math.min(999_999, Math.max(100_000, day + 100_000)))
}
