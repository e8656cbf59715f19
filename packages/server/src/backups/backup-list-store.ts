/**
 * SQL of the listing. The database filters, orders, pages and counts; nothing of it happens in memory.
 *
 * What a project sees has three roles: its own backups, which are rows of `backups`; those that it received, and
 * those of its own that it gave, if states of shares are asked for, which are rows of `shared_backups`. All are
 * read by the same statements. `plan-backup-page.ts` chooses the index through which each is read.
 *
 * A page comes as one piece of text: the documents, which triggers keep beside each row, put together by
 * the database. Where an index yields the whole order, its rows are read up to the end of the page. Else the
 * page is found first, from an index alone, and then its documents.
 */
import { expressionBuilder, sql, type Expression, type RawBuilder, type SqlBool } from 'kysely'
import type { Micros } from '../clock.ts'
import { preparedReadsOf, type Reader } from '../db/database.ts'
import { dialectOf, readThrough } from '../db/dialect.ts'
import { documentOf } from '../db/migrations/010-backup-lists.ts'
import { receivedDocument } from '../db/migrations/018-listing-at-scale.ts'
import type { BackupCountTable, BackupStatus, BackupTable, Flag, MemberStatus, Row, SharedBackupTable } from '../db/schema.ts'
import { runStatement, statementOf } from '../db/statements.ts'
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

/** A page of the rows, of those behind the place, that agree with it in so many keys. */
export interface PieceStart extends PageStart { readonly equalKeys?: number | undefined }

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

/** How a project has to do with a backup; a given one is also its own. */
export type Role = 'own' | 'given' | 'received'

/** Which rows a filter is about: a state of shares singles out those of the project's own that it offers. */
export function rolesOf({ ownership, memberStatus }: BackupFilter): Role[] {
  const own = memberStatus === undefined ? 'own' : 'given'
  return ownership === 'own' ? [own] : ownership === 'received' ? ['received'] : [own, 'received']
}

/** The ends of the names of indexes; both tables have them by the same ends. */
export type IndexName =
  | 'by_created_at' | 'by_updated_at' | 'by_name' | 'by_protected_at' | 'by_status' | 'by_id'
  | 'of_status' | 'of_vault' | 'of_resource' | 'of_resource_name' | 'of_name' | 'of_checkpoint' | 'of_parent'

/** Where rows are read. */
export interface Arm { readonly role: Role, readonly index: IndexName }

export interface PagePlan {
  readonly arms: readonly Arm[]
  /** Whether every index yields its rows in the order that is asked for. */
  readonly isOrdered: boolean
}

type ListedColumns = Omit<BackupTable, 'vault_id'> & Pick<SharedBackupTable, 'role' | 'member_status' | 'vault_id'>
const backup = expressionBuilder<{ b: ListedColumns }, 'b'>()

const BYTES_PER_GB = 1024 ** 3

export interface PageDocuments {
  /** Of the project, in the state in which the page was read; unknown of a page without rows. */
  readonly revision: number | undefined
  /** JSON documents with commas between them. */
  readonly documents: Uint8Array
  readonly rows: number
}

/** A page as documents in their order. */
export async function listBackupDocuments(
  db: Reader, projectId: ProjectId, filter: BackupFilter, order: readonly SortTerm[], plan: PagePlan, start: PieceStart, limit: number,
): Promise<PageDocuments> {
  const { equalKeys, ...place } = start
  const values = { ...valuesOf(projectId, filter), ...place, limit }
  const most = mostRows(db, start.offset + limit)
  const prepared = preparedReadsOf(db)
  if (prepared !== undefined) {
    // Rows that are skipped need not be read, only their places in the index; PostgreSQL has to be told.
    const steps = { ...plan, isOrdered: plan.isOrdered && start.offset <= limit }
    const statement = statementOf(db, `documents row by row ${shapeOf(order, steps, equalKeys)} ${most}`, values, (slots) => (
      db.selectFrom(pageRows(db, slots, order, steps, equalKeys, most).as('page'))
        .select([documentOfPage(db, slots, steps).as('document'), revisionOf(db, slots).as('revision')])))
    const { bytes, rows, last } = await prepared.join(statement, limit * DOCUMENT_BYTES)
    return { documents: bytes, rows, revision: last === undefined ? undefined : Number(last) }
  }
  const shape = `documents ${shapeOf(order, plan, equalKeys)} ${most}`
  const [page] = await runStatement(db, shape, values, (slots) => {
    const joined = sql<Uint8Array | string | null>`${sql.raw(JOIN[dialectOf(db)])}(${documentOfPage(db, slots, plan)}, ',')`
    return db.selectFrom(pageRows(db, slots, order, plan, equalKeys, most).as('page'))
      .select([(dialectOf(db) === 'sqlite' ? asBytes(joined) : joined).as('documents'), sql<number>`count(*)`.as('rows'), revisionOf(db, slots).as('revision')])
  })
  return { documents: bytesOf(page?.documents ?? ''), rows: Number(page?.rows ?? 0), revision: Number(page?.revision ?? 0) }
}

/** With the comma behind it, and some room: most have less. */
const DOCUMENT_BYTES = 1400

function revisionOf(db: Reader, { projectId }: Pick<ListValues, 'projectId'>) {
  return db.selectFrom('backup_revisions').select('revision').where('project_id', '=', projectId)
}

/** Without a copy of what are bytes already. */
function bytesOf(documents: Uint8Array | string): Uint8Array {
  return typeof documents === 'string' ? Buffer.from(documents) : documents
}

const JOIN = { sqlite: 'group_concat', postgres: 'string_agg' } as const

/** SQLite hands over bytes as they are; as text it would decode them, only to be encoded again. */
function asBytes(text: RawBuilder<Uint8Array | string | null>): RawBuilder<Uint8Array | string | null> {
  return sql`cast(${text} as blob)`
}

/** Has its document, or what finds it. */
interface PageRow { row: string | number, role: Role, document: string }

/** What finds a row within one statement: on SQLite its number, by which the table is kept. */
function keyOfRow(db: Reader): RawBuilder<string | number> {
  return dialectOf(db) === 'sqlite' ? sql`b.rowid` : sql`b.id`
}

/** The rows of a page: with their documents where one step does it, else with what finds those. */
function pageRows(
  db: Reader, values: ListValues, order: readonly SortTerm[], plan: PagePlan, equalKeys: number | undefined, most: number | undefined,
) {
  const [first, ...others] = plan.arms.map((arm) => {
    const rows = backupsOf(db, values, arm, beyondPlace(values, order, equalKeys)).select(keysOf(order, values.after, equalKeys))
    if (readsDocuments(plan)) return rows.select(documentOfRow(db, values, arm.role).as('document')).$castTo<PageRow>()
    return rows.select([keyOfRow(db).as('row'), sql<Role>`cast(${sql.lit(arm.role)} as text)`.as('role')]).$castTo<PageRow>()
  })
  if (first === undefined) throw new RangeError('a page is read from somewhere')
  const page = { limit: opaque(values.limit), offset: opaque(values.offset) }
  if (others.length === 0) {
    const rows = inOrder(first, order, '', equalKeys)
    if (most === undefined) return rows.limit(page.limit).offset(page.offset)
    return db.selectFrom(rows.limit(sql.lit(most)).as('most')).selectAll().limit(page.limit).offset(page.offset)
  }
  // No arm has more to say than up to the page's end; PostgreSQL would put all rows of all arms in order.
  const [part, ...parts] = [first, ...others].map((rows) => db.selectFrom(
    inOrder(rows, order, '', equalKeys).limit(most === undefined ? sql<number>`${page.offset} + ${page.limit}` : sql.lit(most)).as('part')).selectAll())
  if (part === undefined) throw new RangeError('an arm is missing')
  return inOrder(parts.reduce((some, other) => some.unionAll(other), part), order, '', equalKeys).limit(page.limit).offset(page.offset)
}

function readsDocuments({ arms, isOrdered }: PagePlan): boolean {
  return isOrdered && arms.length === 1
}

/**
 * To the next power of four. PostgreSQL plans a statement for all values, so the text says how many rows it is about, of which no more are read
 * than up to the page's end.
 */
function mostRows(db: Reader, needed: number): number | undefined {
  return dialectOf(db) === 'sqlite' ? undefined : 4 ** Math.max(2, Math.ceil(Math.log2(needed) / 2))
}

function documentOfPage(db: Reader, values: ListValues, plan: PagePlan): RawBuilder<string> {
  if (readsDocuments(plan)) return sql`page.document`
  const own = sql`(select ${documentOfRow(db, values, 'own')} from backups b where ${keyOfRow(db)} = page.row)`
  // A project receives a backup once; of what it gives, the filter says which of the rows it is about.
  const ofStatus = values.memberStatus === undefined ? sql`` : sql` and b.member_status = ${values.memberStatus}`
  const isShared = dialectOf(db) === 'sqlite' ? sql`${keyOfRow(db)} = page.row`
    : sql`b.project_id = ${values.projectId} and b.role = page.role and b.id = page.row${ofStatus}`
  const shared = sql`(select ${documentOfRow(db, values, 'received')} from shared_backups b where ${isShared})`
  const isOwn = plan.arms.map(({ role }) => role === 'own')
  if (isOwn.every(Boolean)) return sql`${own}`
  return isOwn.some(Boolean) ? sql`case page.role when 'own' then ${own} else ${shared} end` : sql`${shared}`
}

/** Of a row `b`. Those of children are written now. */
function documentOfRow(db: Reader, { parentId }: ListValues, role: Role): RawBuilder<string> {
  if (parentId === undefined) return sql`b.document`
  if (role === 'own') return sql.raw(documentOf(dialectOf(db), 'b.'))
  return sql.raw(`(select ${receivedDocument(documentOf(dialectOf(db), 'c.'), 'c.vault_id', 'b.vault_id')} from backups c where c.id = b.id)`)
}

/** The place of the row that stands so many rows behind the start of a page; undefined when there is none. */
export async function findPlace(
  db: Reader, projectId: ProjectId, filter: BackupFilter, order: readonly SortTerm[], plan: PagePlan, start: PieceStart,
): Promise<Place | undefined> {
  const { equalKeys, ...place } = start
  const values = { ...valuesOf(projectId, filter), ...place, limit: 1 }
  const most = mostRows(db, start.offset + 1)
  const [row] = await runStatement(db, `place ${shapeOf(order, plan, equalKeys)} ${most}`, values, (slots) =>
    pageRows(db, slots, order, { ...plan, isOrdered: false }, equalKeys, most))
  return row === undefined ? undefined : order.map((_, index) => (row as unknown as Record<string, string | number>)[`key_${index}`] ?? '')
}

/** Counts row by row, from the beginning or, in one piece, behind a place. */
export async function countBackupRows(
  db: Reader, projectId: ProjectId, filter: BackupFilter, arm: Arm, order: readonly SortTerm[] = [], start?: PieceStart,
): Promise<number> {
  const equalKeys = start?.equalKeys
  const values = { ...valuesOf(projectId, filter), after: start?.after }
  const shape = shapeOf(order, { arms: [arm], isOrdered: false }, equalKeys)
  const [found] = await runStatement(db, `count ${shape}`, values, (slots) =>
    backupsOf(db, slots, arm, beyondPlace(slots, order, equalKeys)).select(sql<number>`count(*)`.as('rows')))
  return Number(found?.rows ?? 0)
}

/**
 * A list behind a place, in pieces that follow each other: keys with one direction throughout are compared as one row, with which an
 * index is entered at the very place. Else, as where a key is an expression, rows that agree in all keys but the last and go beyond in that
 * one come first, then those that agree in fewer.
 */
export function piecesBehind(order: readonly SortTerm[], start: PageStart): PieceStart[] {
  const [first] = order
  if (start.after === undefined || order.every(({ key, direction }) => direction === first?.direction && key !== 'protected_at')) return [start]
  return order.map((_, index) => ({ ...start, equalKeys: order.length - 1 - index }))
}

/** Adds up what was counted of combinations of the columns that have few values. */
export async function sumCells(db: Reader, projectId: ProjectId, scopes: readonly string[], filter: BackupFilter): Promise<number> {
  const { statuses, imageType, resourceType, incremental, resourceAz, enterpriseProjectId, enterpriseProjectIds } = valuesOf(projectId, filter)
  const values = { projectId, scopes, statuses, imageType, resourceType, incremental, resourceAz, enterpriseProjectId, enterpriseProjectIds }
  const [found] = await runStatement(db, 'sum cells', values, (slots) => {
    let query = db.selectFrom('backup_cells').select((e) => e.fn.sum<number>('rows').as('rows'))
      .where('project_id', '=', slots.projectId).where('scope', 'in', slots.scopes)
    if (slots.statuses !== undefined) query = query.where('status', 'in', slots.statuses)
    if (slots.imageType !== undefined) query = query.where('image_type', '=', slots.imageType)
    if (slots.resourceType !== undefined) query = query.where('resource_type', '=', slots.resourceType)
    if (slots.incremental !== undefined) query = query.where('incremental', '=', slots.incremental)
    if (slots.resourceAz !== undefined) query = query.where('resource_az', '=', slots.resourceAz)
    if (slots.enterpriseProjectId !== undefined) query = query.where('enterprise_project_id', '=', slots.enterpriseProjectId)
    if (slots.enterpriseProjectIds !== undefined) query = query.where('enterprise_project_id', 'in', slots.enterpriseProjectIds)
    return query
  })
  return Number(found?.rows ?? 0)
}

/** What was counted of a facet, by its values in their order. */
export async function listCounts(
  db: Reader, projectId: ProjectId, facet: Facet, statuses: readonly BackupStatus[] | undefined,
): Promise<{ value: string, rows: number }[]> {
  const values = { projectId, facet, statuses }
  const counts = await runStatement(db, 'counts', values, (slots) => {
    const query = db.selectFrom('backup_counts').select((e) => ['value', e.fn.sum<number>('rows').as('rows')])
      .where('project_id', '=', slots.projectId).where('facet', '=', slots.facet).groupBy('value').orderBy('value')
    return slots.statuses === undefined ? query : query.where('status', 'in', slots.statuses)
  })
  return counts.map(({ value, rows }) => ({ value, rows: Number(rows) }))
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
export function placeInOrder(order: readonly SortTerm[], row: Pick<Row<'backups'>, SortKey>): Place {
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

function shapeOf(order: readonly SortTerm[], { arms, isOrdered }: PagePlan, equalKeys: number | undefined): string {
  const keys = order.map(({ key, direction }) => `${key}:${direction}`).join(',')
  return `${keys} ${arms.map(({ role, index }) => `${role} ${index}`).join(', ')} ${isOrdered} ${equalKeys}`
}

/**
 * The keys of the order, as `key_0`, `key_1`, …. Those in which all rows agree with a place are given as they stand there, so that the
 * database sees that the others alone decide.
 */
function keysOf(order: readonly SortTerm[], after?: Place, equalKeys = 0) {
  return order.map(({ key }, index) => (index < equalKeys
    ? sql<string | number>`cast(${after?.[index]} as ${sql.raw(TYPE_OF_KEY[key])})` : keyOf(key)).as(`key_${index}`))
}

const TYPE_OF_KEY: Readonly<Record<SortKey, string>> = {
  created_at: 'bigint', updated_at: 'bigint', protected_at: 'bigint', name: 'text', status: 'text', id: 'text',
}

interface Orderable<Query> { orderBy(by: RawBuilder<unknown>, direction: 'asc' | 'desc'): Query }

/** By the keys that the query has selected under their names, but for those in which all rows agree: SQLite would put the rows in order once more. */
function inOrder<Query extends Orderable<Query>>(query: Query, order: readonly SortTerm[], of = '', equalKeys = 0): Query {
  return order.reduce((ordered, { direction }, index) => index < equalKeys ? ordered : ordered.orderBy(sql.ref(`${of}key_${index}`), direction), query)
}

/**
 * A number whose value SQLite's planner does not look at. It would look at that of a bare limit, and plan the
 * statement anew at every run, since the next value could be another one.
 */
function opaque(value: number | undefined): RawBuilder<number> {
  return sql<number>`cast(${value} as bigint)`
}

function backupsOf(db: Reader, values: ListValues, { role, index }: Arm, place: Expression<SqlBool> | undefined) {
  const conditions = backupConditions(values)
  if (place !== undefined) conditions.push(place)
  if (values.vaultId !== undefined) conditions.push(backup('b.vault_id', '=', values.vaultId))
  if (values.usedBytesPerGbMin !== undefined) conditions.push(backup('b.vault_id', 'in', vaultsUsed(db, values.projectId, values.usedBytesPerGbMin)))
  if (role !== 'own') conditions.push(backup('b.role', '=', sql.lit(role)))
  if (role !== 'own' && values.memberStatus !== undefined) conditions.push(backup('b.member_status', '=', values.memberStatus))
  const table = role === 'own' ? 'backups' : 'shared_backups'
  return db.selectFrom(readThrough<ListedColumns>(dialectOf(db), table, `${table}_${index}`))
    .where('b.project_id', '=', values.projectId).where(backup.and(conditions))
}

function backupConditions(values: ListValues): Expression<SqlBool>[] {
  const conditions: Expression<SqlBool>[] = []
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

/** What rows fulfil that stand behind a place, or in one of the pieces behind it. */
function beyondPlace({ after }: ListValues, order: readonly SortTerm[], equalKeys: number | undefined): Expression<SqlBool> | undefined {
  const [first] = order
  if (after === undefined || first === undefined) return undefined
  if (equalKeys === undefined) return sql<SqlBool>`(${sql.join(order.map(({ key }) => keyOf(key)))}) ${beyond(first)} (${sql.join(after)})`
  const conditions = order.slice(0, equalKeys + 1).map((term, index) =>
    sql`${keyOf(term.key)} ${index < equalKeys ? sql`=` : beyond(term)} ${after[index]}`)
  return sql<SqlBool>`(${sql.join(conditions, sql` and `)})`
}

function beyond({ direction }: SortTerm): RawBuilder<unknown> {
  return direction === 'asc' ? sql`>` : sql`<`
}
