/**
 * SQL of the listing. The database filters, orders, pages and counts; nothing of it happens in memory.
 *
 * What a project sees comes from two places: its own backups, and the shares that it received. A page is
 * found in two steps inside one statement: first the ids of the page, through an index that has the
 * order and the frequent filters in it, then the rows of those ids. Rows that an offset skips are
 * never read.
 */
import { expressionBuilder, sql, type Expression, type RawBuilder, type SqlBool } from 'kysely'
import type { Micros } from '../clock.ts'
import type { Reader } from '../db/database.ts'
import type { BackupMemberTable, BackupStatus, BackupTable, MemberStatus, Row } from '../db/schema.ts'
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

/** Where a page begins: behind so many rows, or behind the row with these values of the order's keys. */
export type PageStart = { readonly offset: number } | { readonly after: readonly (string | number)[] }

interface OwnTables { b: BackupTable }
interface ReceivedTables extends OwnTables { m: BackupMemberTable }

/** What an arm of the page's first step yields, besides the keys of the order as `key_0`, `key_1`, …. */
interface PageRow { id: BackupId, share_id: string | null }

const backup = expressionBuilder<OwnTables, 'b'>()
const share = expressionBuilder<ReceivedTables, 'b' | 'm'>()

const BYTES_PER_GB = 1024 ** 3

export async function listVisibleBackups(
  db: Reader, projectId: ProjectId, filter: BackupFilter, order: readonly SortTerm[], start: PageStart, limit: number,
): Promise<VisibleBackup[]> {
  const keys = order.map(({ key }, index) => keyOf(key).as(`key_${index}`))
  const place = 'after' in start ? [isAfter(order, start.after)] : []
  const ownIds = ownBackups(db, projectId, filter, place)
    .select(['b.id', sql<string | null>`null`.as('share_id')]).select(keys).$castTo<PageRow>()
  const receivedIds = receivedBackups(db, projectId, filter, place)
    .select(['b.id', 'm.id as share_id']).select(keys).$castTo<PageRow>()
  let ids = filter.ownership === 'own' ? ownIds : filter.ownership === 'received' ? receivedIds : ownIds.unionAll(receivedIds)
  for (const [index, { direction }] of order.entries()) ids = ids.orderBy(sql.ref(`key_${index}`), direction)
  const page = ids.limit(opaque(limit)).offset(opaque('offset' in start ? start.offset : 0)).as('page')
  let rows = db.selectFrom(page).innerJoin('backups as b', 'b.id', 'page.id')
    .leftJoin('backup_members as m', 'm.id', 'page.share_id')
    .selectAll('b').select(['page.share_id', 'm.vault_id as receiver_vault_id'])
  for (const [index, { direction }] of order.entries()) rows = rows.orderBy(sql.ref(`page.key_${index}`), direction)
  return rows.execute()
}

export async function countOwnBackups(db: Reader, projectId: ProjectId, filter: BackupFilter): Promise<number> {
  const { rows } = await ownBackups(db, projectId, filter, []).select(backup.fn.countAll().as('rows')).executeTakeFirstOrThrow()
  return Number(rows)
}

export async function countReceivedBackups(db: Reader, projectId: ProjectId, filter: BackupFilter): Promise<number> {
  const { rows } = await receivedBackups(db, projectId, filter, []).select(share.fn.countAll().as('rows')).executeTakeFirstOrThrow()
  return Number(rows)
}

/** Changes with every change to the project's own backups. */
export async function findBackupRevision(db: Reader, projectId: ProjectId): Promise<number> {
  const found = await db.selectFrom('backup_revisions').select('revision').where('project_id', '=', projectId).executeTakeFirst()
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

/**
 * A number whose value SQLite's planner does not look at. It would look at that of a bare limit, and plan the
 * statement anew at every run, since the next value could be another one.
 */
function opaque(value: number): RawBuilder<number> {
  return sql<number>`cast(${value} as bigint)`
}

/** The values that `PageStart.after` takes: those of the order's keys in one row. */
export function placeInOrder(order: readonly SortTerm[], row: Row<'backups'>): (string | number)[] {
  return order.map(({ key }) => row[key] ?? PROTECTED_NEVER)
}

function ownBackups(db: Reader, projectId: ProjectId, filter: BackupFilter, place: readonly Expression<SqlBool>[]) {
  const conditions = [...place, ...backupConditions(filter)]
  if (filter.vaultId !== undefined) conditions.push(backup('b.vault_id', '=', filter.vaultId))
  if (filter.usedPercentMin !== undefined) conditions.push(backup('b.vault_id', 'in', vaultsUsed(db, projectId, filter.usedPercentMin)))
  if (filter.memberStatus !== undefined) {
    const shared = db.selectFrom('backup_members as s').select('s.backup_id')
      .where('s.project_id', '=', projectId).where('s.status', '=', filter.memberStatus)
    conditions.push(backup(filter.parentId === undefined ? 'b.id' : 'b.parent_id', 'in', shared))
  }
  return db.selectFrom('backups as b').where('b.project_id', '=', projectId).where(backup.and(conditions))
}

function receivedBackups(db: Reader, projectId: ProjectId, filter: BackupFilter, place: readonly Expression<SqlBool>[]) {
  const conditions = [...place, ...backupConditions(filter)]
  if (filter.vaultId !== undefined) conditions.push(share('m.vault_id', '=', filter.vaultId))
  if (filter.usedPercentMin !== undefined) conditions.push(share('m.vault_id', 'in', vaultsUsed(db, projectId, filter.usedPercentMin)))
  if (filter.memberStatus !== undefined) conditions.push(share('m.status', '=', filter.memberStatus))
  return db.selectFrom('backup_members as m')
    .innerJoin('backups as b', (join) => join.onRef('b.project_id', '=', 'm.project_id')
      .onRef(filter.parentId === undefined ? 'b.id' : 'b.parent_id', '=', 'm.backup_id'))
    .where('m.dest_project_id', '=', projectId).where(backup.and(conditions))
}

function backupConditions(filter: BackupFilter): Expression<SqlBool>[] {
  const conditions: Expression<SqlBool>[] = [
    filter.parentId === undefined ? backup('b.parent_id', 'is', null) : backup('b.parent_id', '=', filter.parentId),
  ]
  if (filter.checkpointId !== undefined) conditions.push(backup('b.checkpoint_id', '=', filter.checkpointId))
  if (filter.createdFrom !== undefined) conditions.push(backup('b.created_at', '>=', filter.createdFrom))
  if (filter.createdTo !== undefined) conditions.push(backup('b.created_at', '<=', filter.createdTo))
  if (filter.enterpriseProjectId !== undefined) conditions.push(backup('b.enterprise_project_id', '=', filter.enterpriseProjectId))
  if (filter.imageType !== undefined) conditions.push(backup('b.image_type', '=', filter.imageType))
  if (filter.incremental !== undefined) conditions.push(backup('b.incremental', '=', filter.incremental ? 1 : 0))
  if (filter.name !== undefined) conditions.push(backup('b.name', '=', filter.name))
  if (filter.resourceAz !== undefined) conditions.push(backup('b.resource_az', '=', filter.resourceAz))
  if (filter.resourceId !== undefined) conditions.push(backup('b.resource_id', '=', filter.resourceId))
  if (filter.resourceName !== undefined) conditions.push(backup('b.resource_name', '=', filter.resourceName))
  if (filter.resourceType !== undefined) conditions.push(backup('b.resource_type', '=', filter.resourceType))
  if (filter.statuses !== undefined) conditions.push(statusCondition(filter.statuses))
  return conditions
}

/** One status as an equation: an index then yields its rows in order of time, which a list of statuses does not allow. */
function statusCondition(statuses: readonly BackupStatus[]): Expression<SqlBool> {
  const [only, ...others] = statuses
  return only !== undefined && others.length === 0 ? backup('b.status', '=', only) : backup('b.status', 'in', statuses)
}

function vaultsUsed(db: Reader, projectId: ProjectId, percentMin: number) {
  return db.selectFrom('vaults as v').select('v.id').where('v.project_id', '=', projectId)
    // In 64 bits: a vault of 10 PB, times a hundred, still fits.
    .where((e) => e(e(e.parens('v.used_bytes', '+', e.ref('v.shared_bytes')), '*', 100), '>=', e(e.cast<number>('v.size_gb', 'bigint'), '*', percentMin * BYTES_PER_GB)))
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
function isAfter(order: readonly SortTerm[], values: readonly (string | number)[]): Expression<SqlBool> {
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
