import type { SetResourcesBody } from '@opencbr/contract'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, ResourceId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { assertTakesResources } from './vault.ts'
import { changeVault, findVault, listVaultResources } from './vault-store.ts'

/** Takes resources out of the scheduled runs of their vault, or puts them in again. Manual runs back them up all the same. */
export async function setResources(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, id: string, body: SetResourcesBody,
): Promise<ResourceId[]> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const resourceIds = [...new Set(body.resource_ids.map((each, place) => parseUuid<ResourceId>(`resource_ids.${place}`, each)))]
  await db.transaction().execute(async (tx) => {
    const vault = await findVault(tx, projectId, vaultId)
    if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
    assertTakesResources(vault)
    const inside = new Set((await listVaultResources(tx, projectId, vaultId)).map((resource) => resource.resource_id))
    const stranger = resourceIds.find((resourceId) => !inside.has(resourceId))
    if (stranger !== undefined) throw new Failure('vault.resource_not_inside', { resourceId: stranger, vaultId })
    if (resourceIds.length === 0) return
    await tx.updateTable('vault_resources').set({ auto_protect: body.action === 'suspend' ? 0 : 1 })
      .where('project_id', '=', projectId).where('vault_id', '=', vaultId).where('resource_id', 'in', resourceIds)
      .execute()
    await changeVault(tx, projectId, vaultId, { updated_at: clock.now() })
  })
  return resourceIds
}
