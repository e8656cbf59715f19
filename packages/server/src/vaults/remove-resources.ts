import type { RemoveResourcesBody } from '@opencbr/contract'
import { setProtectStatus } from '../backups/index.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, ResourceId, VaultId } from '../ids.ts'
import { insertJob } from '../jobs/index.ts'
import { insertOperationLog } from '../operations/index.ts'
import { parseUuid } from '../parse-id.ts'
import { refuseIfUsed } from './used-backups.ts'
import { assertTakesResources } from './vault.ts'
import { refuseIfLocked } from './vault-lock.ts'
import { changeVault, findVault, listVaultResources } from './vault-store.ts'

/** Starts taking resources out of a vault; their backups in it are deleted on the way. */
export async function removeResources(
  deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents'>, caller: { projectId: ProjectId, requestId: string }, id: string, body: RemoveResourcesBody,
): Promise<ResourceId[]> {
  const { projectId, requestId } = caller
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const resourceIds = [...new Set(body.resource_ids.map((each, place) => parseUuid<ResourceId>(`resource_ids.${place}`, each)))]
  await deps.db.transaction().execute(async (tx) => {
    const vault = await findVault(tx, projectId, vaultId)
    if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
    assertTakesResources(vault)
    await refuseIfLocked(tx, vault, 'remove_resources')
    const inside = new Map((await listVaultResources(tx, projectId, vaultId)).map((resource) => [resource.resource_id, resource]))
    const leaving = resourceIds.map((resourceId) => {
      const resource = inside.get(resourceId)
      if (resource === undefined) throw new Failure('vault.resource_not_inside', { resourceId, vaultId })
      assertIdle(resource)
      return resource
    })
    await refuseIfUsed(tx, vault, resourceIds)
    const now = deps.clock.now()
    await setProtectStatus(tx, projectId, vaultId, resourceIds, 'removing')
    await changeVault(tx, projectId, vaultId, { updated_at: now })
    const operationLogId = await insertOperationLog(tx, {
      type: 'remove_resource',
      vault,
      requestId,
      parts: {
        remove_resources: {
          resources: leaving.map((resource) => ({ id: resource.resource_id, type: resource.resource_type, name: resource.name })),
          fail_count: 0,
          total_count: 0,
        },
      },
      createdAt: now,
    })
    await insertJob(tx, { kind: 'remove_resource', projectId, vaultId, operationLogId, payload: { resourceIds }, createdAt: now })
  })
  deps.wakeAgents()
  return resourceIds
}

function assertIdle({ vault_id: vaultId, resource_id: resourceId, protect_status: status }: Row<'vault_resources'>): void {
  if (status === 'protecting') throw new Failure('vault.backup_running', { vaultId })
  if (status === 'removing') throw new Failure('vault.resources_being_removed', { vaultId })
  if (status === 'restoring') throw new Failure('vault.resource_restoring', { vaultId, resourceId })
}
