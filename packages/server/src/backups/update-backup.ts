import type { UpdateBackupRequest } from '@opencbr/contract'
import type { RowChange } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { changeBackup, findBackup } from './backup-store.ts'
import { getShownBackup, type ShownBackup } from './show-backup.ts'

/**
 * Changes name and description. Only the owner may: to a project that sees the backup through a share
 * this answers as for an unknown one. Children keep their names.
 */
export async function updateBackup(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, id: string, { backup: wanted = {} }: UpdateBackupRequest,
): Promise<ShownBackup> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  return db.transaction().execute(async (tx) => {
    if (await findBackup(tx, projectId, backupId) === undefined) throw new Failure('backup.not_found', { backupId })
    const change: RowChange<'backups'> = {}
    if (wanted.name !== undefined) change.name = wanted.name
    if (wanted.description !== undefined) change.description = wanted.description
    if (Object.keys(change).length > 0) await changeBackup(tx, projectId, backupId, { ...change, updated_at: clock.now() })
    return getShownBackup(tx, projectId, backupId)
  })
}
