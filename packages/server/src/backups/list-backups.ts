import type { ListBackupsQuery } from '@opencbr/contract'
import { parseFormattedTime, parseTime, type Micros } from '../clock.ts'
import type { BackupStatus, Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { readEnterpriseProjects } from '../enterprise-projects.ts'
import { Failure } from '../failures.ts'
import type { BackupId, CheckpointId, ProjectId, ResourceId, VaultId } from '../ids.ts'
import { giveBack } from '../json-pieces.ts'
import { openBackupFences, type FindStart } from './backup-fences.ts'
import {
  countBackupRows, findBackupRevision, findVisibleBackup, listBackupDocuments, piecesBehind, placeInOrder, rolesOf,
  type BackupFilter, type Ownership, type PageDocuments, type PagePlan, type PageStart, type Place, type Role,
} from './backup-list-store.ts'
import { parseOrder, type SortTerm } from './backup-order.ts'
import { SUMS_OF_NOW, sumsOfCall, type SumMemory, type Sums } from './backup-sums.ts'
import { listReplicationRecords } from './backup-store.ts'
import { idsOfDocuments, lastOfDocuments } from './backup-wire.ts'
import { openPageEnds, type PageEnds } from './page-ends.ts'
import { narrowestIndex, planByNarrowest, planRole, planShared, type RolePlan } from './plan-backup-page.ts'

const LIMIT_MAX = 1000
/** Nearer offsets are skipped in no time. */
const OFFSET_FAR = 1000

const OWNERSHIP: Readonly<Record<NonNullable<ListBackupsQuery['own_type']>, Ownership>> = {
  private: 'own', shared: 'received', all_granted: 'both',
}

/** Backups come as documents, already in their wire form. */
export interface BackupPage {
  /** All that match, on this page or not. */
  readonly count: number
  readonly limit: number
  readonly offset: number
  readonly documents: Uint8Array
  /** If they were asked for. */
  readonly replicationRecords: readonly Row<'replication_records'>[]
}

/** What is remembered between calls; all of it follows the project's revision. */
export interface ListMemory {
  readonly sums: SumMemory
  readonly findStart: FindStart
  readonly ends: PageEnds
}

export function openListMemory(): ListMemory {
  return { sums: new Map(), findStart: openBackupFences(), ends: openPageEnds() }
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
  { db }: Pick<Deps, 'db'>, memory: ListMemory, projectId: ProjectId, listing: BackupListing, readRevision?: number,
): Promise<BackupPage> {
  const { filter, order, limit, offset, marker } = listing
  const revision = readRevision ?? await findBackupRevision(db, projectId)
  const start = marker === undefined ? { offset } : await findMarker(db, projectId, filter, order, marker)
  const sums = sumsOfCall(memory.sums, projectId, revision)
  const list: List = { db, sums, findStart: memory.findStart, ends: memory.ends, revision, projectId, filter, order }
  const page = start === undefined ? EMPTY : await listByStatus(list, start, limit)
  const isCurrent = (page.revision ?? await findBackupRevision(db, projectId)) === revision
  if (isCurrent) sums.keep()
  const count = countOfPage(listing, page.rows) ?? await countAll(isCurrent ? list : { ...list, sums: SUMS_OF_NOW }, filter)
  if (isCurrent && sums.areNew() && await findBackupRevision(db, projectId) === revision) sums.keep()
  const replicationRecords = listing.withReplication ? await listReplicationRecords(db, projectId, idsOfDocuments(page.documents)) : []
  return { documents: page.documents, replicationRecords, count, limit, offset }
}

async function countAll({ db, sums, projectId }: List, filter: BackupFilter): Promise<number> {
  let count = 0
  for (const role of rolesOf(filter)) count += await sums.countOfRole(db, projectId, role, filter)
  return count
}

/** What pages are cut from. */
interface List {
  readonly db: Deps['db']
  readonly sums: Sums
  readonly findStart: FindStart
  readonly ends: PageEnds
  readonly projectId: ProjectId
  /** Read since the call came. */
  readonly revision: number
  readonly filter: BackupFilter
  readonly order: readonly SortTerm[]
}

/** `revision`: of the state in which it was read, if that was one. */
type Page = Omit<PageDocuments, 'revision'> & Partial<Pick<PageDocuments, 'revision'>>

const EMPTY: Page = { documents: new Uint8Array(), rows: 0 }

/** A page that is not full is the last one, and tells how many there are. */
function countOfPage({ marker, limit, offset }: BackupListing, rows: number): number | undefined {
  return marker === undefined && rows < limit && (rows > 0 || offset === 0) ? offset + rows : undefined
}

/** In their order as texts. */
const STATUSES: readonly BackupStatus[] = [
  'available', 'deleting', 'error', 'protecting', 'restoring', 'waiting_delete', 'waiting_protect', 'waiting_restore',
]
/** So few rows are put in order at once. */
const FEW = 2000

/**
 * An order that begins with the status is as many lists one after the other as there are statuses. How many rows each has is known, so
 * the page is read from the few on which it lies.
 */
async function listByStatus(list: List, start: PageStart, limit: number): Promise<Page> {
  const { filter, order: [first, ...rest] } = list
  if (first?.key !== 'status' || rest.length === 0) return listPage(list, start, limit)
  if (await countAll(list, filter) <= FEW) return listPage(list, start, limit)
  const statuses = STATUSES.filter((status) => filter.statuses?.includes(status) ?? true)
  if (first.direction === 'desc') statuses.reverse()
  const [from, ...within] = start.after ?? []
  const pages: Page[] = []
  let left = limit
  let skip = start.offset
  for (const status of statuses) {
    if (left === 0) break
    if (from !== undefined && (first.direction === 'asc' ? status < from : status > from)) continue
    const part = { ...list, filter: { ...filter, statuses: [status] }, order: rest }
    const count = await countAll(list, part.filter)
    if (skip >= count) {
      skip -= count
      continue
    }
    const page = await listPage(part, { offset: skip, ...(status === from ? { after: within } : {}) }, left)
    pages.push(page)
    skip = 0
    left -= page.rows
  }
  return joinPages(pages)
}

/** Takes the pages' bytes: nobody may look at them afterwards. */
function joinPages(pages: readonly Page[]): Page {
  const filled = pages.filter(({ rows }) => rows > 0)
  const rows = filled.reduce((sum, page) => sum + page.rows, 0)
  const revision = pages.every((page) => page.revision === pages[0]?.revision) ? pages[0]?.revision : undefined
  const comma = Buffer.from(',')
  const parts = filled.flatMap(({ documents }, index) => index === 0 ? [documents] : [comma, documents])
  const [only] = parts
  const documents = parts.length === 1 && only !== undefined ? only : Buffer.concat(parts)
  for (const page of filled) if (page.documents !== documents) giveBack(page.documents)
  return { rows, ...(revision === undefined ? {} : { revision }), documents }
}

async function listPage(list: List, start: PageStart, limit: number): Promise<Page> {
  const plan = await planPage(list, Math.min(start.offset, OFFSET_FAR) + limit)
  if (!plan.isOrdered || start.after !== undefined) return readPage(list, plan, start, limit)
  const { ends, projectId, revision, filter, order } = list
  const near = ends.find(projectId, revision, filter, order, start.offset)
  const page = near !== undefined ? await listFromPlace(list, plan, start.offset, near, limit)
    : start.offset > OFFSET_FAR ? await listFarPage(list, plan, start.offset, limit) : await readPage(list, plan, start, limit)
  if (page.revision === revision && page.rows > 0) {
    ends.remember(projectId, revision, filter, order, start.offset + page.rows, () => placeOfLast(order, page))
  }
  return page
}

function placeOfLast(order: readonly SortTerm[], { documents }: Page): Place | undefined {
  const last = lastOfDocuments(documents)
  return last === undefined ? undefined : placeInOrder(order, {
    id: last.id as BackupId, name: last.name, status: last.status, created_at: parseFormattedTime(last.created_at), updated_at: parseFormattedTime(last.updated_at ?? last.created_at),
    protected_at: last.protected_at === null ? null : parseFormattedTime(last.protected_at),
  })
}

async function planPage(list: List, needed: number): Promise<PagePlan> {
  const arms = []
  let isOrdered = true
  for (const role of rolesOf(list.filter)) {
    const { index, isOrdered: isArmOrdered } = await planArm(list, role, needed)
    arms.push({ role, index })
    isOrdered &&= isArmOrdered
  }
  return { arms, isOrdered }
}

async function planArm({ db, sums, projectId, filter, order }: List, role: Role, needed: number): Promise<RolePlan> {
  const narrowest = narrowestIndex(role, filter)
  if (narrowest !== undefined) return planByNarrowest(narrowest, order)
  if (role !== 'own') return planShared(order)
  const matching = await sums.countOfRole(db, projectId, role, filter)
  return planRole(filter, order, await sums.findKnownRows(db, projectId, filter, matching), needed)
}

async function readPage(list: List, plan: PagePlan, start: PageStart, limit: number): Promise<Page> {
  const { db, projectId, filter, order } = list
  const pages: Page[] = []
  let left = limit
  let skip = start.offset
  const pieces = piecesBehind(order, start)
  for (const [index, piece] of pieces.entries()) {
    const page = await listBackupDocuments(db, projectId, filter, order, plan, { ...piece, offset: skip }, left)
    pages.push(page)
    left -= page.rows
    if (left === 0 || index === pieces.length - 1) break
    if (page.rows > 0) skip = 0
    else if (skip > 0) for (const arm of plan.arms) skip -= await countBackupRows(db, projectId, filter, arm, order, piece)
  }
  return joinPages(pages)
}

async function listFarPage(list: List, plan: PagePlan, offset: number, limit: number): Promise<Page> {
  const { db, findStart, revision, projectId, filter, order } = list
  return listFromPlace(list, plan, offset, await findStart(db, projectId, revision, filter, order, plan, offset), limit)
}

/** Enters the list near the page. Steps over every row when something changed meanwhile, since the place may then be another. */
async function listFromPlace(list: List, plan: PagePlan, offset: number, start: PageStart | undefined, limit: number): Promise<Page> {
  const { db, revision, projectId } = list
  const page = start === undefined ? EMPTY : await readPage(list, plan, start, limit)
  if ((page.revision ?? await findBackupRevision(db, projectId)) === revision) return page
  return readPage(list, plan, { offset }, limit)
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
