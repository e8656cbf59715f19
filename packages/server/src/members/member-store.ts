/** SQL of shares. */
import { sql } from 'kysely'
import type { Reader, Transaction } from '../db/database.ts'
import type { MemberStatus, NewRow, Row, RowChange } from '../db/schema.ts'
import type { BackupId, ProjectId, VaultId } from '../ids.ts'

export type MemberSortKey = 'created_at' | 'updated_at' | 'status' | 'dest_project_id' | 'id'

export interface MemberSort {
  readonly key: MemberSortKey
  readonly direction: 'asc' | 'desc'
}

export interface MemberFilter {
  readonly destProjectId?: ProjectId | undefined
  readonly imageId?: string | undefined
  readonly status?: MemberStatus | undefined
  readonly vaultId?: VaultId | undefined
}

export interface MemberPage {
  readonly limit: number
  readonly offset: number
  /** Id of the last share seen; wins over the offset. */
  readonly marker?: string | undefined
}

export async function findMember(db: Reader, backupId: BackupId, destProjectId: ProjectId): Promise<Row<'backup_members'> | undefined> {
  return db.selectFrom('backup_members').selectAll()
    .where('backup_id', '=', backupId).where('dest_project_id', '=', destProjectId).executeTakeFirst()
}

export async function countMembers(db: Reader, backupId: BackupId): Promise<number> {
  const { count } = await db.selectFrom('backup_members').select(({ fn }) => fn.countAll().as('count'))
    .where('backup_id', '=', backupId).executeTakeFirstOrThrow()
  return Number(count)
}

/** Of the given projects those that a backup is shared with already. */
export async function findReceivers(db: Reader, backupId: BackupId, projectIds: readonly ProjectId[]): Promise<ProjectId[]> {
  const rows = await db.selectFrom('backup_members').select('dest_project_id')
    .where('backup_id', '=', backupId).where('dest_project_id', 'in', projectIds).execute()
  return rows.map((row) => row.dest_project_id)
}

export async function insertMembers(tx: Transaction, rows: readonly NewRow<'backup_members'>[]): Promise<void> {
  await tx.insertInto('backup_members').values(rows).execute()
}

export async function changeMember(tx: Transaction, id: string, change: RowChange<'backup_members'>): Promise<void> {
  await tx.updateTable('backup_members').set(change).where('id', '=', id).execute()
}

export async function deleteMemberRow(tx: Transaction, id: string): Promise<void> {
  await tx.deleteFrom('backup_members').where('id', '=', id).execute()
}

/** A backup's shares; an order ends in the id. An unknown marker gives an empty page. */
export async function selectMemberPage(
  db: Reader, backupId: BackupId, filter: MemberFilter, order: readonly MemberSort[], page: MemberPage,
): Promise<{ rows: Row<'backup_members'>[], count: number }> {
  let matching = db.selectFrom('backup_members').where('backup_id', '=', backupId)
  if (filter.destProjectId !== undefined) matching = matching.where('dest_project_id', '=', filter.destProjectId)
  if (filter.imageId !== undefined) matching = matching.where('image_id', '=', filter.imageId)
  if (filter.status !== undefined) matching = matching.where('status', '=', filter.status)
  if (filter.vaultId !== undefined) matching = matching.where('vault_id', '=', filter.vaultId)
  const { count } = await matching.select(({ fn }) => fn.countAll().as('count')).executeTakeFirstOrThrow()
  let rows = matching.selectAll().limit(page.limit)
  for (const { key, direction } of order) rows = rows.orderBy(key, direction)
  if (page.marker === undefined) return { rows: await rows.offset(page.offset).execute(), count: Number(count) }
  const last = await matching.selectAll().where('id', '=', page.marker).executeTakeFirst()
  if (last === undefined) return { rows: [], count: Number(count) }
  const behind = rows.where(({ eb, and, or }) => or(order.map(({ key, direction }, index) => and([
    ...order.slice(0, index).map((before) => eb(before.key, '=', last[before.key])),
    eb(key, direction === 'asc' ? '>' : '<', last[key]),
  ]))))
  return { rows: await behind.execute(), count: Number(count) }
}

/** What a backup takes up with its parts. */
export async function measureBackup(db: Reader, backupId: BackupId): Promise<number> {
  const { bytes } = await db.selectFrom('backups').select(({ fn }) => fn.coalesce(fn.sum<number>('stored_bytes'), sql<number>`0`).as('bytes'))
    .where((eb) => eb.or([eb('id', '=', backupId), eb('parent_id', '=', backupId)])).executeTakeFirstOrThrow()
  return Number(bytes)
}
