import type { ListBackupsQuery } from '@opencbr/contract'
import { parseTime, type Micros } from '../clock.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, CheckpointId, ProjectId, ResourceId, VaultId } from '../ids.ts'
import type { CountBackups } from './backup-counter.ts'
import {
  findVisibleBackup, listVisibleBackups, placeInOrder, type BackupFilter, type Ownership, type PageStart, type VisibleBackup,
} from './backup-list-store.ts'
import { parseOrder, type SortTerm } from './backup-order.ts'
import { listReplicationRecords } from './backup-store.ts'

const LIMIT_MAX = 1000
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
  const backups = start === undefined ? [] : await listVisibleBackups(db, projectId, filter, order, start, limit)
  // A page that is not full is the last one, and tells how many there are.
  const isLast = start !== undefined && 'offset' in start && backups.length < limit && (backups.length > 0 || offset === 0)
  const count = isLast ? offset + backups.length : await countBackups(db, projectId, filter)
  const replicationRecords = query.show_replication === true ? await listReplicationRecords(db, projectId, backups.map(({ id }) => id)) : []
  return { backups, replicationRecords, count, limit, offset }
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
