/**
 * SQL of the listing. The database filters, orders, pages and counts; nothing of it happens in memory.
 *
 * What a project sees comes from two places: its own backups, and the shares that it received. A page is
 * found in two steps inside one statement: first the ids of the page, through an index that has the
 * order and the frequent filters in it, then the rows of those ids. Rows that an offset skips are
 * never read. Where an index yields the whole order, one step does both.
 *
 * A page of own backups comes as one piece of text: their documents, which a trigger keeps beside each
 * row, put together by the database. Reading the columns and writing them as JSON takes ten times as long.
 */
import { expressionBuilder, sql, type Expression, type RawBuilder, type SqlBool } from 'kysely'
import type { Micros } from '../clock.ts'
import type { Reader } from '../db/database.ts'
import { dialectOf } from '../db/dialect.ts'
import type { BackupCountTable, BackupMemberTable, BackupStatus, BackupTable, Flag, MemberStatus, Row } from '../db/schema.ts'
import { runStatement } from '../db/statements.ts'
import type { BackupId, CheckpointId, ProjectId, ResourceId, VaultId } from '../ids.ts'
import type { SortKey, SortTerm } from './backup-order.ts'

export type Ownership = 'own' | 'received' | 'both'

/** What is undefined restricts nothing. */
export interface BackupFilter {
  readonly ownership: Ownership
  /** Of the share through which a backup is seen; for own backups, of any share that was given. */
  readonly memberStatus: MemberStatus | undefined
  /** The vault in which the project sees the backup: for a received one, the vault that accepted it. */
  readonly vaultId: VaultId | undefined
  /** Seen in a vault that is used to this many percent of its size, or more. */
  readonly usedPercentMin: number | undefined
  /** Whose children; undefined means backups that are nobody's children. */
  readonly parentId: BackupId | undefined
  readonly checkpointId: CheckpointId | undefined
  readonly createdFrom: Micros | undefined
  readonly createdTo: Micros | undefined
  readonly enterpriseProjectId: string | undefined
  /** Any of several; one alone stands in the member before. */
  readonly enterpriseProjectIds: readonly string[] | undefined
  readonly imageType: string | undefined
  readonly incremental: boolean | undefined
  readonly name: string | undefined
  readonly resourceAz: string | undefined
  readonly resourceId: ResourceId | undefined
  readonly resourceName: string | undefined
  readonly resourceType: string | undefined
  readonly statuses: readonly BackupStatus[] | undefined
}

/** A backup as a project sees it. */
export interface VisibleBackup extends Row<'backups'> {
  /** The share through which it is seen; null for the project's own. */
  readonly share_id: string | null
  /** The vault that accepted the share. */
  readonly receiver_vault_id: VaultId | null
}

/** The values of an order's keys in one row. */
export type Place = readonly (string | number)[]

/** Where a page begins: behind so many rows, behind a place, or behind so many rows behind a place. */
export interface PageStart { readonly offset: number, readonly after?: Place | undefined }

/** What the statements take, besides the filter's own members. */
type ListValues = Readonly<Omit<BackupFilter, 'ownership' | 'incremental' | 'usedPercentMin'>> & {
  readonly projectId: ProjectId
  readonly incremental: Flag | undefined
  /** A percentage in bytes of each GB. */
  readonly usedBytesPerGbMin: number | undefined
  readonly after?: Place | undefined
  readonly offset?: number
  readonly limit?: number
}

interface OwnTables { b: BackupTable }
interface ReceivedTables extends OwnTables { m: BackupMemberTable }

/** What an arm of the page's first step yields, besides the keys of the order as `key_0`, `key_1`, …. */
interface PageRow { id: BackupId, share_id: string | null }

const backup = expressionBuilder<OwnTables, 'b'>()
const share = expressionBuilder<ReceivedTables, 'b' | 'm'>()

const BYTES_PER_GB = 1024 ** 3

export interface PageDocuments {
  /** JSON documents with commas between them. */
  readonly documents: Uint8Array
  readonly rows: number
}

/** A page of the project's own backups, as their documents. */
export async function listBackupDocuments(
  db: Reader, projectId: ProjectId, filter: BackupFilter, order: readonly SortTerm[], start: PageStart, limit: number,
): Promise<PageDocuments> {
  const values = { ...valuesOf(projectId, filter), ...start, limit }
  const [page] = await runStatement(db, `documents ${shapeOf(order)}`, values, (slots) => {
    const documents = isOrderedByIndex(filter, order)
      ? inOrder(ownBackups(db, slots, order).select('b.document').select(keysOf(order)), order)
        .limit(opaque(slots.limit)).offset(opaque(slots.offset)).as('page')
      : documentsOf(db, ownPage(db, slots, order), order)
    const joined = sql<Uint8Array | string | null>`${sql.raw(JOINED[dialectOf(db)])}`
    return db.selectFrom(documents).select([joined.as('documents'), (e) => e.fn.countAll<number>().as('rows')])
  })
  return { documents: bytesOf(page?.documents ?? ''), rows: Number(page?.rows ?? 0) }
}

/** Without a copy of what are bytes already. */
function bytesOf(documents: Uint8Array | string): Uint8Array {
  return typeof documents === 'string' ? Buffer.from(documents) : documents
}

/** SQLite hands over bytes as they are; as text it would decode them, only to be encoded again. */
const JOINED = { sqlite: `cast(group_concat(page.document, ',') as blob)`, postgres: `string_agg(page.document, ',')` } as const

function documentsOf(db: Reader, ids: ReturnType<typeof ownPage>, order: readonly SortTerm[]) {
  return inOrder(db.selectFrom(ids.as('found')).innerJoin('backups as b', 'b.id', 'found.id').select('b.document'), order, 'found.').as('page')
}

/** The place of the row that stands so many rows behind the start of a page of own backups; undefined when there is none. */
export async function findPlace(
  db: Reader, projectId: ProjectId, filter: BackupFilter, order: readonly SortTerm[], start: PageStart,
): Promise<Place | undefined> {
  const values = { ...valuesOf(projectId, filter), ...start, limit: 1 }
  const [row] = await runStatement(db, `place ${shapeOf(order)}`, values, (slots) => ownPage(db, slots, order))
  return row === undefined ? undefined : order.map((_, index) => (row as unknown as Record<string, string | number>)[`key_${index}`] ?? '')
}

/** A page of what the project sees, its own or received, as rows. */
export async function listVisibleBackups(
  db: Reader, projectId: ProjectId, filter: BackupFilter, order: readonly SortTerm[], start: PageStart, limit: number,
): Promise<VisibleBackup[]> {
  const values = { ...valuesOf(projectId, filter), ...start, limit }
  return runStatement(db, `rows ${filter.ownership} ${shapeOf(order)}`, values, (slots) => {
    const own = ownBackups(db, slots, order).select(['b.id', sql<string | null>`null`.as('share_id')]).select(keysOf(order)).$castTo<PageRow>()
    const received = receivedBackups(db, slots, order).select(['b.id', 'm.id as share_id']).select(keysOf(order)).$castTo<PageRow>()
    const ids = filter.ownership === 'own' ? own : filter.ownership === 'received' ? received : own.unionAll(received)
    const page = inOrder(ids, order).limit(opaque(slots.limit)).offset(opaque(slots.offset)).as('page')
    return inOrder(db.selectFrom(page).innerJoin('backups as b', 'b.id', 'page.id')
      .leftJoin('backup_members as m', 'm.id', 'page.share_id')
      .selectAll('b').select(['page.share_id', 'm.vault_id as receiver_vault_id']), order, 'page.')
  })
}

export async function countOwnBackups(db: Reader, projectId: ProjectId, filter: BackupFilter): Promise<number> {
  const [found] = await runStatement(db, 'count own', valuesOf(projectId, filter), (slots) =>
    ownBackups(db, slots, []).select(backup.fn.countAll<number>().as('rows')))
  return Number(found?.rows ?? 0)
}

export async function countReceivedBackups(db: Reader, projectId: ProjectId, filter: BackupFilter): Promise<number> {
  const [found] = await runStatement(db, 'count received', valuesOf(projectId, filter), (slots) =>
    receivedBackups(db, slots, []).select(share.fn.countAll<number>().as('rows')))
  return Number(found?.rows ?? 0)
}

export type Facet = BackupCountTable['facet']

/** Adds up what was counted of one facet: of one value, of the values from one to another in their order, or of all. */
export async function sumCounts(
  db: Reader, projectId: ProjectId, facet: Facet, range: { readonly from?: string | undefined, readonly to?: string | undefined },
  statuses: readonly BackupStatus[] | undefined,
): Promise<number> {
  const values = { projectId, facet, from: range.from, to: range.to, statuses }
  const [found] = await runStatement(db, 'sum', values, (slots) => {
    let query = db.selectFrom('backup_counts').select((e) => e.fn.sum<number>('rows').as('rows'))
      .where('project_id', '=', slots.projectId).where('facet', '=', slots.facet)
    if (slots.from !== undefined) query = query.where('value', '>=', slots.from)
    if (slots.to !== undefined) query = query.where('value', '<=', slots.to)
    return slots.statuses === undefined ? query : query.where('status', 'in', slots.statuses)
  })
  return Number(found?.rows ?? 0)
}

/** The same for vaults that are used to so many percent of their size, or more. */
export async function sumCountsOfUsedVaults(
  db: Reader, projectId: ProjectId, percentMin: number, statuses: readonly BackupStatus[] | undefined,
): Promise<number> {
  const values = { projectId, usedBytesPerGbMin: percentMin * BYTES_PER_GB, statuses }
  const [found] = await runStatement(db, 'sum used', values, (slots) => {
    const query = db.selectFrom('backup_counts').select((e) => e.fn.sum<number>('rows').as('rows'))
      .where('project_id', '=', slots.projectId).where('facet', '=', sql.lit('vault'))
      .where('value', 'in', vaultsUsed(db, slots.projectId, slots.usedBytesPerGbMin))
    return slots.statuses === undefined ? query : query.where('status', 'in', slots.statuses)
  })
  return Number(found?.rows ?? 0)
}

/** Changes with every change to what the project's listings show. */
export async function findBackupRevision(db: Reader, projectId: ProjectId): Promise<number> {
  const [found] = await runStatement(db, 'revision', { projectId }, (slots) =>
    db.selectFrom('backup_revisions').select('revision').where('project_id', '=', slots.projectId))
  return Number(found?.revision ?? 0)
}

/** A single backup that the project sees; a share of a backup shows its children too. */
export async function findVisibleBackup(db: Reader, projectId: ProjectId, backupId: BackupId): Promise<VisibleBackup | undefined> {
  const own = await db.selectFrom('backups as b').where('b.id', '=', backupId).where('b.project_id', '=', projectId)
    .selectAll('b').executeTakeFirst()
  if (own !== undefined) return { ...own, share_id: null, receiver_vault_id: null }
  return db.selectFrom('backups as b')
    .innerJoin('backup_members as m', (join) => join.on('m.backup_id', '=', (e) => e.fn.coalesce('b.parent_id', 'b.id')))
    .where('b.id', '=', backupId).where('m.dest_project_id', '=', projectId)
    .selectAll('b').select(['m.id as share_id', 'm.vault_id as receiver_vault_id']).executeTakeFirst()
}

/** A single backup whose content the project may read: its own, or one that it has accepted. */
export async function findReadableBackup(db: Reader, projectId: ProjectId, backupId: BackupId): Promise<Row<'backups'> | undefined> {
  return db.selectFrom('backups as b').where('b.id', '=', backupId)
    .where(({ eb, or, exists, selectFrom }) => or([
      eb('b.project_id', '=', projectId),
      exists(selectFrom('backup_members as m').select('m.id')
        .where('m.backup_id', '=', (e) => e.fn.coalesce('b.parent_id', 'b.id'))
        .where('m.dest_project_id', '=', projectId).where('m.status', '=', 'accepted')),
    ]))
    .selectAll('b').executeTakeFirst()
}

/** The values that `PageStart.after` takes: those of the order's keys in one row. */
export function placeInOrder(order: readonly SortTerm[], row: Row<'backups'>): Place {
  return order.map(({ key }) => row[key] ?? PROTECTED_NEVER)
}

function valuesOf(projectId: ProjectId, filter: BackupFilter): ListValues {
  const { ownership: _, incremental, usedPercentMin, ...others } = filter
  return {
    ...others,
    projectId,
    incremental: incremental === undefined ? undefined : incremental ? 1 : 0,
    usedBytesPerGbMin: usedPercentMin === undefined ? undefined : usedPercentMin * BYTES_PER_GB,
  }
}

function shapeOf(order: readonly SortTerm[]): string {
  return order.map(({ key, direction }) => `${key}:${direction}`).join(',')
}

/**
 * Whether an index yields the rows in their order, filter or no filter, so that reading may stop at the end of
 * the page. Rows that have to be put in order first are put in order without their documents.
 */
export function isOrderedByIndex(filter: BackupFilter, order: readonly SortTerm[]): boolean {
  const [first, second, ...others] = order
  if (first === undefined || others.length > 0 || (second !== undefined && second.direction !== first.direction)) return false
  if (filter.memberStatus !== undefined) return false
  if (first.key === 'created_at') return filter.name === undefined && filter.checkpointId === undefined
  return [
    filter.vaultId, filter.usedPercentMin, filter.parentId, filter.checkpointId, filter.createdFrom, filter.createdTo, filter.name,
    filter.resourceId, filter.resourceName,
  ].every((each) => each === undefined)
}

function keysOf(order: readonly SortTerm[]) {
  return order.map(({ key }, index) => keyOf(key).as(`key_${index}`))
}

interface Orderable<Query> { orderBy(by: RawBuilder<unknown>, direction: 'asc' | 'desc'): Query }

/** By the keys that the query has selected under their names. */
function inOrder<Query extends Orderable<Query>>(query: Query, order: readonly SortTerm[], of = ''): Query {
  return order.reduce((ordered, { direction }, index) => ordered.orderBy(sql.ref(`${of}key_${index}`), direction), query)
}

function ownPage(db: Reader, values: ListValues, order: readonly SortTerm[]) {
  return inOrder(ownBackups(db, values, order).select('b.id').select(keysOf(order)), order)
    .limit(opaque(values.limit)).offset(opaque(values.offset))
}

/**
 * A number whose value SQLite's planner does not look at. It would look at that of a bare limit, and plan the
 * statement anew at every run, since the next value could be another one.
 */
function opaque(value: number | undefined): RawBuilder<number> {
  return sql<number>`cast(${value} as bigint)`
}

function ownBackups(db: Reader, values: ListValues, order: readonly SortTerm[]) {
  const conditions = backupConditions(values, order)
  if (values.vaultId !== undefined) conditions.push(backup('b.vault_id', '=', values.vaultId))
  if (values.usedBytesPerGbMin !== undefined) conditions.push(backup('b.vault_id', 'in', vaultsUsed(db, values.projectId, values.usedBytesPerGbMin)))
  if (values.memberStatus !== undefined) {
    const shared = db.selectFrom('backup_members as s').select('s.backup_id')
      .where('s.project_id', '=', values.projectId).where('s.status', '=', values.memberStatus)
    conditions.push(backup(values.parentId === undefined ? 'b.id' : 'b.parent_id', 'in', shared))
  }
  return db.selectFrom('backups as b').where('b.project_id', '=', values.projectId).where(backup.and(conditions))
}

function receivedBackups(db: Reader, values: ListValues, order: readonly SortTerm[]) {
  const conditions = backupConditions(values, order)
  if (values.vaultId !== undefined) conditions.push(share('m.vault_id', '=', values.vaultId))
  if (values.usedBytesPerGbMin !== undefined) conditions.push(share('m.vault_id', 'in', vaultsUsed(db, values.projectId, values.usedBytesPerGbMin)))
  if (values.memberStatus !== undefined) conditions.push(share('m.status', '=', values.memberStatus))
  return db.selectFrom('backup_members as m')
    .innerJoin('backups as b', (join) => join.onRef('b.project_id', '=', 'm.project_id')
      .onRef(values.parentId === undefined ? 'b.id' : 'b.parent_id', '=', 'm.backup_id'))
    .where('m.dest_project_id', '=', values.projectId).where(backup.and(conditions))
}

function backupConditions(values: ListValues, order: readonly SortTerm[]): Expression<SqlBool>[] {
  const conditions: Expression<SqlBool>[] = values.after === undefined ? [] : [isAfter(order, values.after)]
  conditions.push(values.parentId === undefined ? backup('b.parent_id', 'is', null) : backup('b.parent_id', '=', values.parentId))
  if (values.checkpointId !== undefined) conditions.push(backup('b.checkpoint_id', '=', values.checkpointId))
  if (values.createdFrom !== undefined) conditions.push(backup('b.created_at', '>=', values.createdFrom))
  if (values.createdTo !== undefined) conditions.push(backup('b.created_at', '<=', values.createdTo))
  if (values.enterpriseProjectId !== undefined) conditions.push(backup('b.enterprise_project_id', '=', values.enterpriseProjectId))
  if (values.enterpriseProjectIds !== undefined) conditions.push(backup('b.enterprise_project_id', 'in', values.enterpriseProjectIds))
  if (values.imageType !== undefined) conditions.push(backup('b.image_type', '=', values.imageType))
  if (values.incremental !== undefined) conditions.push(backup('b.incremental', '=', values.incremental))
  if (values.name !== undefined) conditions.push(backup('b.name', '=', values.name))
  if (values.resourceAz !== undefined) conditions.push(backup('b.resource_az', '=', values.resourceAz))
  if (values.resourceId !== undefined) conditions.push(backup('b.resource_id', '=', values.resourceId))
  if (values.resourceName !== undefined) conditions.push(backup('b.resource_name', '=', values.resourceName))
  if (values.resourceType !== undefined) conditions.push(backup('b.resource_type', '=', values.resourceType))
  if (values.statuses !== undefined) conditions.push(statusCondition(values.statuses))
  return conditions
}

/** One status as an equation: an index then yields its rows in order of time, which a list of statuses does not allow. */
function statusCondition(statuses: readonly BackupStatus[]): Expression<SqlBool> {
  const [only, ...others] = statuses
  return only !== undefined && others.length === 0 ? backup('b.status', '=', only) : backup('b.status', 'in', statuses)
}

function vaultsUsed(db: Reader, projectId: ProjectId, bytesPerGbMin: number) {
  return db.selectFrom('vaults as v').select('v.id').where('v.project_id', '=', projectId)
    // In 64 bits: a vault of 10 PB, times a hundred, still fits.
    .where((e) => e(e(e.parens('v.used_bytes', '+', e.ref('v.shared_bytes')), '*', 100), '>=', e(e.cast<number>('v.size_gb', 'bigint'), '*', bytesPerGbMin)))
}

/** Before any time: where a missing protected_at stands. */
const PROTECTED_NEVER = -1

/** Never null, so that every database puts every row at the same place; an index holds this very expression. */
function keyOf(key: SortKey): RawBuilder<string | number> {
  return key === 'protected_at' ? sql`coalesce(b.protected_at, -1)` : sql.ref(`b.${key}`)
}

/**
 * True for rows that stand behind the given values. Columns with one direction throughout are compared
 * as one row, with which an index is entered at the very place. Else, as where a key is an expression,
 * they are compared one by one.
 */
function isAfter(order: readonly SortTerm[], values: Place): Expression<SqlBool> {
  const [first] = order
  if (first === undefined) throw new RangeError('an order has at least one key')
  if (order.every(({ key, direction }) => direction === first.direction && key !== 'protected_at')) {
    return sql<SqlBool>`(${sql.join(order.map(({ key }) => keyOf(key)))}) ${beyond(first)} (${sql.join(values)})`
  }
  const alternatives = order.map((term, index) => {
    const equal = order.slice(0, index).map(({ key }, before) => sql<SqlBool>`${keyOf(key)} = ${values[before]}`)
    return sql<SqlBool>`(${sql.join([...equal, sql`${keyOf(term.key)} ${beyond(term)} ${values[index]}`], sql` and `)})`
  })
  // The first condition follows from the second; it is what an index on the first key understands.
  return sql<SqlBool>`${keyOf(first.key)} ${beyond(first)}= ${values[0]} and (${sql.join(alternatives, sql` or `)})`
}

function beyond({ direction }: SortTerm): RawBuilder<unknown> {
  return direction === 'asc' ? sql`>` : sql`<`
}
