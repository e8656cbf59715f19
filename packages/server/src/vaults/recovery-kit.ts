import { join } from 'node:path'
import type { RecoveryKit } from '@opencbr/contract'
import { parseStorageAddress, resticAddress, type StorageKeys } from '@opencbr/storage'
import { storageOf, type ServerConfig } from '../config.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { vaultPasswordPurpose } from './vault.ts'
import { findVault } from './vault-store.ts'

type Place = Pick<Row<'vaults'>, 'id' | 'project_id' | 'repository_url'>

/**
 * Where a vault's repository lies, or will lie once its first backup makes it. One that was made in or before
 * a bucket stays where it is when the server is told of another storage; directories may be moved along.
 */
export function placeOf(config: Pick<ServerConfig, 'dataDir' | 'storage' | 'storageKeys'>, vault: Place): { readonly address: string, readonly storageKeys: StorageKeys } {
  return { address: addressOf(config, vault), storageKeys: config.storageKeys ?? {} }
}

function addressOf(config: Pick<ServerConfig, 'dataDir' | 'storage'>, { id, project_id: projectId, repository_url: made }: Place): string {
  const storage = storageOf(config)
  if (made !== null && (isBucket(made) || isBucket(storage))) return made
  return isBucket(storage) ? `${storage.replace(/\/+$/, '')}/${projectId}/${id}` : join(storage, projectId, id)
}

function isBucket(address: string): boolean {
  return parseStorageAddress(address).kind === 's3'
}

export function openVaultPassword({ secrets }: Pick<Deps, 'secrets'>, vault: Pick<Row<'vaults'>, 'id' | 'password_sealed'>): string {
  return secrets.unseal(vaultPasswordPurpose(vault.id), vault.password_sealed)
}

/** What stock restic needs to open the vault without this service. */
export async function showRecoveryKit(deps: Pick<Deps, 'db' | 'config' | 'secrets'>, projectId: ProjectId, id: string): Promise<RecoveryKit> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const vault = await findVault(deps.db, projectId, vaultId)
  if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
  const repository = vault.repository_url ?? resticAddress(addressOf(deps.config, vault), deps.config.storageKeys)
  return {
    vault_id: vault.id,
    vault_name: vault.name,
    repository,
    repository_id: vault.repository_id,
    password: openVaultPassword(deps, vault),
    variables: isBucket(repository) ? ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'] : [],
    exists: vault.repository_url !== null,
  }
}
