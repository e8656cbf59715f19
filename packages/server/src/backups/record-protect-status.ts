import type { Transaction } from '../db/database.ts'
import type { ProtectStatus } from '../db/schema.ts'
import type { ProjectId, ResourceId, VaultId } from '../ids.ts'

/** Says what is happening to resources inside their vault; those that it does not hold are left out. */
export async function setProtectStatus(
  tx: Transaction, projectId: ProjectId, vaultId: VaultId, resourceIds: readonly ResourceId[], status: ProtectStatus,
): Promise<void> {
  if (resourceIds.length === 0) return
  await tx.updateTable('vault_resources').set({ protect_status: status })
    .where('project_id', '=', projectId).where('vault_id', '=', vaultId).where('resource_id', 'in', resourceIds)
    .execute()
}
