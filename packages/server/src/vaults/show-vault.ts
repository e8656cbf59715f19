import type { ListVaultsQuery } from '@opencbr/contract'
import type { Reader } from '../db/database.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findVaultView, selectVaultPage, type VaultView } from './vault-store.ts'

const PAGE_MAX = 1000
/** Terraform may send it empty. */
const NO_FILTER: ReadonlySet<string | undefined> = new Set([undefined, '', 'all_granted_eps'])

export async function showVault(db: Reader, projectId: ProjectId, vaultId: string): Promise<VaultView> {
  const view = await findVaultView(db, projectId, parseUuid<VaultId>('vault_id', vaultId))
  if (view === undefined) throw new Failure('vault.not_found', { vaultId })
  return view
}

/** A page of the project's vaults, newest first, and how many match altogether. */
export async function listVaults(
  db: Reader, projectId: ProjectId, query: ListVaultsQuery,
): Promise<{ views: VaultView[], count: number, limit: number, offset: number }> {
  const limit = Math.min(query.limit ?? PAGE_MAX, PAGE_MAX)
  const offset = query.offset ?? 0
  const found = await selectVaultPage(db, projectId, {
    name: query.name,
    ids: query.id?.map((id) => id.toLowerCase()),
    status: query.status,
    cloudType: query.cloud_type,
    protectType: query.protect_type,
    policyId: query.policy_id?.toLowerCase(),
    objectType: query.object_type,
    resourceIds: query.resource_ids?.split(',').map((id) => id.trim().toLowerCase()),
    enterpriseProjectId: NO_FILTER.has(query.enterprise_project_id) ? undefined : query.enterprise_project_id,
  }, { limit, offset, marker: query.marker?.toLowerCase() })
  return { ...found, limit, offset }
}
