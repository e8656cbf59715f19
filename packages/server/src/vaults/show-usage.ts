/** Figures over all vaults of a project. */
import type { ListExternalVaultsQuery, ListStorageUsageQuery, StorageUsage } from '@opencbr/contract'
import type { Reader } from '../db/database.ts'
import type { Deps } from '../deps.ts'
import type { ProjectId } from '../ids.ts'
import { BYTES_PER_GB } from './vault.ts'
import { selectStorageUsagePage, selectVaultPage, sumVaults, type VaultFilter, type VaultView } from './vault-store.ts'

const PAGE_MAX = 1000

/** Both in GB; what is used is rounded up. */
export async function showSummary(db: Reader, projectId: ProjectId): Promise<{ size: number, used_size: number }> {
  const { sizeGb, usedBytes } = await sumVaults(db, projectId)
  return { size: sizeGb, used_size: Math.ceil(usedBytes / BYTES_PER_GB) }
}

/** What the backups of each protected resource take up, by resource id. */
export async function listStorageUsage(
  db: Reader, projectId: ProjectId, query: ListStorageUsageQuery,
): Promise<{ rows: StorageUsage[], count: number }> {
  const { rows, count } = await selectStorageUsagePage(db, projectId, {
    resourceId: query.resource_id?.toLowerCase(), resourceType: query.resource_type,
  }, { limit: Math.min(query.limit ?? PAGE_MAX, PAGE_MAX), offset: query.offset ?? 0 })
  return {
    count,
    rows: rows.map((row) => ({
      resource_id: row.resource_id,
      resource_name: row.resource_name,
      resource_type: row.resource_type as StorageUsage['resource_type'],
      backup_count: Number(row.backup_count),
      backup_size: Number(row.stored_bytes),
      backup_size_multiaz: null,
    })),
  }
}

/**
 * Vaults of another region. This deployment is one region and knows no other, so only the caller's own
 * project in this region has any; whatever else is named has none, which is as much as a stranger may learn.
 */
export async function listExternalVaults(
  { db, config }: Pick<Deps, 'db' | 'config'>, projectId: ProjectId, query: ListExternalVaultsQuery,
): Promise<{ views: VaultView[], count: number, limit: number, offset: number }> {
  const limit = Math.min(query.limit ?? PAGE_MAX, PAGE_MAX)
  const offset = query.offset ?? 0
  if (query.region_id !== config.region || query.external_project_id !== projectId) return { views: [], count: 0, limit, offset }
  const filter: VaultFilter = query.vault_id === undefined
    ? { protectType: query.protect_type, objectType: query.objcet_type ?? query.object_type, cloudType: query.cloud_type }
    : { ids: [query.vault_id.toLowerCase()] }
  return { ...await selectVaultPage(db, projectId, filter, { limit, offset }), limit, offset }
}
