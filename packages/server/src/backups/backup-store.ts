/** SQL of single backups; `backup-list-store.ts` has the listing. */
import type { Reader, Transaction } from '../db/database.ts'
import { dialectOf } from '../db/dialect.ts'
import type { NewRow, Row, RowChange } from '../db/schema.ts'
import { runStatement } from '../db/statements.ts'
import type { BackupId, ProjectId } from '../ids.ts'

export async function insertBackups(tx: Transaction, rows: readonly NewRow<'backups'>[]): Promise<void> {
  if (rows.length > 0) await tx.insertInto('backups').values(rows).execute()
}

/** A backup of the project's own, children included; shares that the project received are not found. */
export async function findBackup(db: Reader, projectId: ProjectId, backupId: BackupId): Promise<Row<'backups'> | undefined> {
  return db.selectFrom('backups').selectAll().where('id', '=', backupId).where('project_id', '=', projectId).executeTakeFirst()
}

/** Answers whether there was such a backup. */
export async function changeBackup(
  tx: Transaction, projectId: ProjectId, backupId: BackupId, change: RowChange<'backups'>,
): Promise<boolean> {
  const { numUpdatedRows } = await tx.updateTable('backups').set(change)
    .where('id', '=', backupId).where('project_id', '=', projectId).executeTakeFirst()
  return numUpdatedRows > 0n
}

/** In the order in which the parts were numbered. */
export async function listChildren(db: Reader, projectId: ProjectId, parentId: BackupId): Promise<Row<'backups'>[]> {
  return db.selectFrom('backups').selectAll().where('parent_id', '=', parentId).where('project_id', '=', projectId)
    .orderBy('name').orderBy('id').execute()
}

/**
 * How many backups a statement changes. SQLite holds up everybody while a statement runs, and each row takes a millisecond or two; on
 * PostgreSQL each statement counts anew.
 */
const ROWS_AT_ONCE = { sqlite: 4, postgres: 500 } as const

/** Cuts ids so that a statement with each part does not take long. */
export function* inParts<Id extends string>(db: Reader, ids: readonly Id[]): Generator<Id[]> {
  const size = ROWS_AT_ONCE[dialectOf(db)]
  for (let at = 0; at < ids.length; at += size) yield ids.slice(at, at + size)
}

/** Takes backups, their children, and whatever hangs on them, out of the catalogue. */
export async function deleteBackupRows(tx: Transaction, projectId: ProjectId, backupIds: readonly BackupId[]): Promise<void> {
  for (const parents of inParts(tx, backupIds)) {
    const ids = tx.selectFrom('backups as gone').select('gone.id').where('gone.project_id', '=', projectId)
      .where(({ eb, or }) => or([eb('gone.id', 'in', parents), eb('gone.parent_id', 'in', parents)]))
    await tx.deleteFrom('backup_members').where('backup_id', 'in', ids).where('project_id', '=', projectId).execute()
    await tx.deleteFrom('replication_records').where('backup_id', 'in', ids).where('project_id', '=', projectId).execute()
    await tx.deleteFrom('backups').where('project_id', '=', projectId)
      .where(({ eb, or }) => or([eb('id', 'in', parents), eb('parent_id', 'in', parents)])).execute()
  }
}

/** The project's own records of copying these backups, oldest first. */
export async function listReplicationRecords(
  db: Reader, projectId: ProjectId, backupIds: readonly BackupId[],
): Promise<Row<'replication_records'>[]> {
  const [first] = backupIds
  if (first === undefined) return []
  // The list is filled up with one of its members to a power of two: the database then prepares eleven
  // statements and not a thousand.
  const ids = Array.from({ length: 2 ** Math.ceil(Math.log2(backupIds.length)) }, (_, index) => backupIds[index] ?? first)
  return runStatement(db, 'replication records', { projectId, ids }, (slots) => db.selectFrom('replication_records').selectAll()
    .where('backup_id', 'in', slots.ids).where('project_id', '=', slots.projectId).orderBy('created_at').orderBy('id'))
}
