import type { ListBackupsQuery } from '@opencbr/contract'
import { parseTime, type Micros } from '../clock.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { readEnterpriseProjects } from '../enterprise-projects.ts'
import { Failure } from '../failures.ts'
import type { BackupId, CheckpointId, ProjectId, ResourceId, VaultId } from '../ids.ts'
import { openBackupCounter, type CountBackups } from './backup-counter.ts'
import { openBackupFences, type FindStart } from './backup-fences.ts'
import {
  findBackupRevision, findVisibleBackup, isOrderedByIndex, listBackupDocuments, listVisibleBackups, placeInOrder,
  type BackupFilter, type Ownership, type PageStart, type VisibleBackup,
} from './backup-list-store.ts'
import { parseOrder, type SortTerm } from './backup-order.ts'
import { listReplicationRecords } from './backup-store.ts'

const LIMIT_MAX = 1000
/** Nearer offsets are skipped in no time. */
const OFFSET_FAR = 1000

const OWNERSHIP: Readonly<Record<NonNullable<ListBackupsQuery['own_type']>, Ownership>> = {
  private: 'own', shared: 'received', all_granted: 'both',
}

interface BackupPageFrame {
  /** All that match, on this page or not. */
  readonly count: number
  readonly limit: number
  readonly offset: number
}

/** Own backups come as documents, already in their wire form; what is seen through shares comes as rows. */
export type BackupPage = BackupPageFrame & (
  | { readonly documents: Uint8Array }
  | { readonly backups: readonly VisibleBackup[], readonly replicationRecords: readonly Row<'replication_records'>[] }
)

/** What is remembered between calls; all of it follows the project's revision. */
export interface ListMemory {
  readonly countBackups: CountBackups
  readonly findStart: FindStart
}

export function openListMemory(): ListMemory {
  return { countBackups: openBackupCounter(), findStart: openBackupFences() }
}

/** A query that has been read: two that ask for the same are equal as JSON. */
export interface BackupListing {
  readonly filter: BackupFilter
  readonly order: readonly SortTerm[]
  readonly limit: number
  readonly offset: number
  readonly marker: BackupId | undefined
  readonly withReplication: boolean
}

/** Throws a Failure that names the parameter when it cannot be. */
export function parseListing(query: ListBackupsQuery): BackupListing {
  return {
    filter: parseFilter(query),
    order: parseOrder(query.sort),
    limit: Math.min(query.limit ?? LIMIT_MAX, LIMIT_MAX),
    offset: query.marker === undefined ? query.offset ?? 0 : 0,
    marker: query.marker as BackupId | undefined,
    withReplication: query.show_replication === true,
  }
}

/**
 * Lists what a project sees. A page begins behind the marker's row; the row has to be visible, but need
 * not match the filter any more, since its status may have changed since the last page. A marker that
 * is not visible, because it is unknown, gone or somebody else's, gives an empty page.
 */
export async function listBackups(
  { db }: Pick<Deps, 'db'>, memory: ListMemory, projectId: ProjectId, listing: BackupListing,
): Promise<BackupPage> {
  const { filter, order, limit, offset, marker } = listing
  const start = marker === undefined ? { offset } : await findMarker(db, projectId, filter, order, marker)
  if (filter.ownership !== 'own' || listing.withReplication) {
    const backups = start === undefined ? [] : await listVisibleBackups(db, projectId, filter, order, start, limit)
    const replicationRecords = listing.withReplication ? await listReplicationRecords(db, projectId, backups.map(({ id }) => id)) : []
    const count = countOfPage(listing, backups.length) ?? await memory.countBackups(db, projectId, filter)
    return { backups, replicationRecords, count, limit, offset }
  }
  if (start === undefined) return { documents: new Uint8Array(), count: await memory.countBackups(db, projectId, filter), limit, offset }
  const page = offset > OFFSET_FAR && isOrderedByIndex(filter, order)
    ? await listFarBackups(db, memory.findStart, projectId, listing)
    : await listBackupDocuments(db, projectId, filter, order, start, limit)
  const count = countOfPage(listing, page.rows) ?? await memory.countBackups(db, projectId, filter)
  return { documents: page.documents, count, limit, offset }
}

/** A page that is not full is the last one, and tells how many there are. */
function countOfPage({ marker, limit, offset }: BackupListing, rows: number): number | undefined {
  return marker === undefined && rows < limit && (rows > 0 || offset === 0) ? offset + rows : undefined
}

/** Enters the list at a fence. Steps over every row when something changed meanwhile, since the fences may then stand elsewhere. */
async function listFarBackups(
  db: Deps['db'], findStart: FindStart, projectId: ProjectId, { filter, order, offset, limit }: BackupListing,
): Promise<{ documents: Uint8Array, rows: number }> {
  const revision = await findBackupRevision(db, projectId)
  const start = await findStart(db, projectId, revision, filter, order, offset)
  const page = start === undefined ? { documents: new Uint8Array(), rows: 0 } : await listBackupDocuments(db, projectId, filter, order, start, limit)
  if (await findBackupRevision(db, projectId) === revision) return page
  return listBackupDocuments(db, projectId, filter, order, { offset }, limit)
}

async function findMarker(
  db: Deps['db'], projectId: ProjectId, filter: BackupFilter, order: readonly SortTerm[], marker: BackupId,
): Promise<PageStart | undefined> {
  const row = await findVisibleBackup(db, projectId, marker)
  if (row === undefined) return undefined
  const isReceived = row.share_id !== null
  if (filter.ownership !== 'both' && isReceived !== (filter.ownership === 'received')) return undefined
  return { after: placeInOrder(order, row), offset: 0 }
}

function parseFilter(query: ListBackupsQuery): BackupFilter {
  const enterpriseProjects = readEnterpriseProjects(query.enterprise_project_id)
  return {
    ownership: OWNERSHIP[query.own_type ?? 'private'],
    memberStatus: query.member_status,
    vaultId: query.vault_id as VaultId | undefined,
    usedPercentMin: query.used_percent === undefined ? undefined : Number(query.used_percent),
    parentId: query.parent_id as BackupId | undefined,
    checkpointId: query.checkpoint_id as CheckpointId | undefined,
    createdFrom: parseTimeOf('start_time', query.start_time),
    createdTo: parseTimeOf('end_time', query.end_time),
    ...(enterpriseProjects?.length === 1
      ? { enterpriseProjectId: enterpriseProjects[0], enterpriseProjectIds: undefined }
      : { enterpriseProjectId: undefined, enterpriseProjectIds: enterpriseProjects }),
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
