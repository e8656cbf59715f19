/**
 * What takes a second region or hybrid storage, of which a server has none. The orders are judged as far
 * as they can be, with the cloud's codes, and end where the missing part would be asked.
 */
import { findBackup } from '../backups/index.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, ProjectId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findVault } from '../vaults/index.ts'

interface Target {
  readonly destination_region: string
  readonly destination_vault_id: string
}

export async function refuseToCopyBackup({ db }: Pick<Deps, 'db'>, projectId: ProjectId, id: string, target: Target): Promise<never> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  const backup = await findBackup(db, projectId, backupId)
  if (backup === undefined) throw new Failure('backup.not_found', { backupId })
  if (backup.image_type !== 'backup' || backup.status !== 'available') throw new Failure('replication.backup_kind', { backupId })
  if (backup.resource_type !== 'OS::Nova::Server') throw new Failure('replication.servers_only', { backupId, resourceType: backup.resource_type })
  throw targetUnknown(target)
}

export async function refuseToCopyVault({ db }: Pick<Deps, 'db'>, projectId: ProjectId, order: Target & { readonly vault_id: string }): Promise<never> {
  const vaultId = parseUuid<VaultId>('replicate.vault_id', order.vault_id)
  const vault = await findVault(db, projectId, vaultId)
  if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
  if (vault.object_type !== 'server') throw new Failure('replication.vault_kind', { vaultId, objectType: vault.object_type })
  throw targetUnknown(order)
}

function targetUnknown(target: Target): Failure {
  return new Failure('replication.target_unknown', { vaultId: target.destination_vault_id.slice(0, 64), region: target.destination_region })
}

/** Backups are taken over from the storage of a virtualisation platform, to which no vault here is bound. */
export async function refuseToSyncVault({ db }: Pick<Deps, 'db'>, projectId: ProjectId, id: string): Promise<never> {
  const vaultId = parseUuid<VaultId>('sync.vault_id', id)
  if (await findVault(db, projectId, vaultId) === undefined) throw new Failure('vault.not_found', { vaultId })
  throw new Failure('vault.cannot_be_synced', { what: `vault ${vaultId}` })
}

export function refuseToImportBackup(resourceId: string): never {
  throw new Failure('vault.cannot_be_synced', { what: `a vault that protects ${resourceId.slice(0, 64)}` })
}
