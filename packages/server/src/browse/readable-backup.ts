/** Which backups a project may look into, and where their content lies. */
import type { BackupPlace } from '@opencbr/agent'
import { findReadableBackup } from '../backups/index.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findVault, openVaultPassword, placeOf } from '../vaults/index.ts'

/** Reading takes nothing away from a restore of the same backup. */
const READABLE = new Set<Row<'backups'>['status']>(['available', 'waiting_restore', 'restoring'])

export async function getReadableBackup(
  deps: Pick<Deps, 'db' | 'config' | 'secrets'>, projectId: ProjectId, id: string,
): Promise<{ readonly backup: Row<'backups'>, readonly place: BackupPlace }> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  const backup = await findReadableBackup(deps.db, projectId, backupId)
  if (backup === undefined) throw new Failure('backup.not_found', { backupId })
  if (!READABLE.has(backup.status)) throw new Failure('backup.status_forbids_reading', { backupId, status: backup.status })
  if (backup.snapshot_id === null) throw new Failure('backup.status_forbids_reading', { backupId, status: 'without data of its own' })
  const vault = await findVault(deps.db, backup.project_id, backup.vault_id)
  if (vault === undefined || vault.status === 'deleting') throw new Failure('backup.not_found', { backupId })
  return {
    backup,
    place: {
      vault: {
        projectId: vault.project_id, vaultId: vault.id, ...placeOf(deps.config, vault), password: openVaultPassword(deps, vault),
        repositoryExpected: true,
      },
      backupId: backup.id,
      snapshotId: backup.snapshot_id,
      sourcePath: backup.source_path ?? '',
      isDisk: backup.resource_type === 'OS::Cinder::Volume',
    },
  }
}
