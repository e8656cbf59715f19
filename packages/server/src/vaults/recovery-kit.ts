import { join } from 'node:path'
import type { RecoveryKit } from '@opencbr/contract'
import { storageDir, type ServerConfig } from '../config.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { vaultPasswordPurpose } from './vault.ts'
import { findVault } from './vault-store.ts'

/** Where a vault's repository lies, or will lie once its first backup makes it. */
export function repositoryOf(
  config: Pick<ServerConfig, 'dataDir' | 'storage'>, vault: Pick<Row<'vaults'>, 'id' | 'project_id' | 'repository_url'>,
): string {
  return vault.repository_url ?? join(storageDir(config), vault.project_id, vault.id)
}

export function openVaultPassword({ secrets }: Pick<Deps, 'secrets'>, vault: Pick<Row<'vaults'>, 'id' | 'password_sealed'>): string {
  return secrets.unseal(vaultPasswordPurpose(vault.id), vault.password_sealed)
}

/** What stock restic needs to open the vault without this service. */
export async function showRecoveryKit(deps: Pick<Deps, 'db' | 'config' | 'secrets'>, projectId: ProjectId, id: string): Promise<RecoveryKit> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const vault = await findVault(deps.db, projectId, vaultId)
  if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
  return {
    vault_id: vault.id,
    vault_name: vault.name,
    repository: repositoryOf(deps.config, vault),
    repository_id: vault.repository_id,
    password: openVaultPassword(deps, vault),
    exists: vault.repository_url !== null,
  }
}
