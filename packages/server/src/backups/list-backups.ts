import type { ListBackupsQuery } from '@opencbr/contract'
import { parseTime, type Micros } from '../clock.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, CheckpointId, ProjectId, ResourceId, VaultId } from '../ids.ts'
import { followsFromRevision, type CountBackups } from './backup-counter.ts'
import {
  findBackupRevision, findVisibleBackup, listVisibleBackups, placeInOrder, type BackupFilter, type Ownership, type PageStart, type VisibleBackup,
} from './backup-list-store.ts'
import { parseOrder, reverseOrder, type SortTerm } from './backup-order.ts'
import { listReplicationRecords } from './backup-store.ts'

const LIMIT_MAX = 1000
/** Nearer offsets are skipped in no time. */
const OFFSET_FAR = 1000
const ALL_ENTERPRISE_PROJECTS = 'all_granted_eps'

const OWNERSHIP: Readonly<Record<NonNullable<ListBackupsQuery['own_type']>, Ownership>> = {
  private: 'own', shared: 'received', all_granted: 'both',
}

export interface BackupPage {
  readonly backups: readonly VisibleBackup[]
  /** Empty unless asked for. */
  readonly replicationRecords: readonly Row<'replication_records'>[]
  /** All that match, on this page or not. */
  readonly count: number
  readonly limit: number
  readonly offset: number
}

/**
 * Lists what a project sees. A page begins behind the marker's row; the row has to be visible, but need
 * not match the filter any more, since its status may have changed since the last page. A marker that
 * is not visible, because it is unknown, gone or somebody else's, gives an empty page.
 */
export async function listBackups(
  { db }: Pick<Deps, 'db'>, countBackups: CountBackups, projectId: ProjectId, query: ListBackupsQuery,
): Promise<BackupPage> {
  const filter = parseFilter(query)
  const order = parseOrder(query.sort)
  const limit = Math.min(query.limit ?? LIMIT_MAX, LIMIT_MAX)
  const offset = query.marker === undefined ? query.offset ?? 0 : 0
  const start = query.marker === undefined ? { offset } : await findMarker(db, projectId, filter, order, query.marker as BackupId)
  const { backups, count } = await listFromEnd(db, countBackups, projectId, filter, order, offset, limit)
    ?? await listFromFront(db, countBackups, projectId, filter, order, start, limit)
  const replicationRecords = query.show_replication === true ? await listReplicationRecords(db, projectId, backups.map(({ id }) => id)) : []
  return { backups, replicationRecords, count, limit, offset }
}

type Part = Pick<BackupPage, 'backups' | 'count'>

async function listFromFront(
  db: Deps['db'], countBackups: CountBackups, projectId: ProjectId, filter: BackupFilter, order: readonly SortTerm[],
  start: PageStart | undefined, limit: number,
): Promise<Part> {
  const backups = start === undefined ? [] : await listVisibleBackups(db, projectId, filter, order, start, limit)
  // A page that is not full is the last one, and tells how many there are.
  if (start !== undefined && 'offset' in start && backups.length < limit && (backups.length > 0 || start.offset === 0)) {
    return { backups, count: start.offset + backups.length }
  }
  return { backups, count: await countBackups(db, projectId, filter) }
}

/**
 * Reads a page that is nearer to the end of a long list from there, in the opposite order: the database
 * has to step over every row that an offset skips. Undefined when the page is nearer to the front, when
 * what is listed does not follow from the project's own backups alone, or when one of them changed
 * between counting and reading, so that the two do not fit together.
 */
async function listFromEnd(
  db: Deps['db'], countBackups: CountBackups, projectId: ProjectId, filter: BackupFilter, order: readonly SortTerm[],
  offset: number, limit: number,
): Promise<Part | undefined> {
  if (offset < OFFSET_FAR || filter.ownership !== 'own' || !followsFromRevision(filter)) return undefined
  const revision = await findBackupRevision(db, projectId)
  const count = await countBackups(db, projectId, filter)
  if (offset < count / 2) return undefined
  const size = Math.max(0, Math.min(limit, count - offset))
  const backwards = await listVisibleBackups(db, projectId, filter, reverseOrder(order), { offset: Math.max(0, count - offset - size) }, size)
  return await findBackupRevision(db, projectId) === revision ? { backups: backwards.toReversed(), count } : undefined
}

async function findMarker(
  db: Deps['db'], projectId: ProjectId, filter: BackupFilter, order: readonly SortTerm[], marker: BackupId,
): Promise<PageStart | undefined> {
  const row = await findVisibleBackup(db, projectId, marker)
  if (row === undefined) return undefined
  const isReceived = row.share_id !== null
  if (filter.ownership !== 'both' && isReceived !== (filter.ownership === 'received')) return undefined
  return { after: placeInOrder(order, row) }
}

function parseFilter(query: ListBackupsQuery): BackupFilter {
  const enterpriseProjectId = query.enterprise_project_id
  return {
    ownership: OWNERSHIP[query.own_type ?? 'private'],
    memberStatus: query.member_status,
    vaultId: query.vault_id as VaultId | undefined,
    usedPercentMin: query.used_percent === undefined ? undefined : Number(query.used_percent),
    parentId: query.parent_id as BackupId | undefined,
    checkpointId: query.checkpoint_id as CheckpointId | undefined,
    createdFrom: parseTimeOf('start_time', query.start_time),
    createdTo: parseTimeOf('end_time', query.end_time),
    enterpriseProjectId: enterpriseProjectId === ALL_ENTERPRISE_PROJECTS ? undefined : enterpriseProjectId,
    imageType: query.image_type,
    incremental: query.incremental,
    name: query.name,
    resourceAz: query.resource_az,
    resourceId: query.resource_id as ResourceId | undefined,
    resourceName: query.resource_name,
    resourceType: query.resource_type,
    statuses: query.status === undefined ? undefined : [...new Set(query.status)],
  }
}

function parseTimeOf(field: 'start_time' | 'end_time', text: string | undefined): Micros | undefined {
  if (text === undefined) return undefined
  const time = parseTime(text)
  if (time === undefined) throw new Failure('parameter.invalid', { field, reason: 'it is not a time such as 2018-02-01T12:00:00Z' })
  return time
}
