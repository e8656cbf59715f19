import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findVisibleBackup, type VisibleBackup } from './backup-list-store.ts'
import { listChildren, listReplicationRecords } from './backup-store.ts'

export interface ShownBackup {
  readonly backup: VisibleBackup
  /** Seen through the same share as the backup. */
  readonly children: readonly VisibleBackup[]
  /** Of the backup and its children. */
  readonly replicationRecords: readonly Row<'replication_records'>[]
}

/** A backup of the project's own, or one that was shared with it. */
export async function showBackup({ db }: Pick<Deps, 'db'>, projectId: ProjectId, id: string): Promise<ShownBackup> {
  return getShownBackup(db, projectId, parseUuid<BackupId>('backup_id', id))
}

export async function getShownBackup(db: Reader, projectId: ProjectId, backupId: BackupId): Promise<ShownBackup> {
  const backup = await findVisibleBackup(db, projectId, backupId)
  if (backup === undefined) throw new Failure('backup.not_found', { backupId })
  const { share_id, receiver_vault_id } = backup
  const rows = await listChildren(db, backup.project_id, backup.id)
  const children = rows.map((child) => ({ ...child, share_id, receiver_vault_id }))
  const replicationRecords = await listReplicationRecords(db, projectId, [backup, ...children].map((each) => each.id))
  return { backup, children, replicationRecords }
}
