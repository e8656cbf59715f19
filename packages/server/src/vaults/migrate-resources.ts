import type { MigrateResourcesBody } from '@opencbr/contract'
import { VAULT_RESOURCES_MAX } from '@opencbr/contract'
import { setProtectStatus } from '../backups/index.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, ResourceId, VaultId } from '../ids.ts'
import { insertJob, listLiveJobs } from '../jobs/index.ts'
import { insertOperationLog } from '../operations/index.ts'
import { parseUuid } from '../parse-id.ts'
import { refuseIfNoRoom } from './capacity.ts'
import { assertTakesResources, tooManyResources } from './vault.ts'
import { refuseIfLocked } from './vault-lock.ts'
import { changeVault, findVault, listVaultResources } from './vault-store.ts'

/**
 * Starts moving resources with all their backups into another vault of the same kind. They show as `removing` until
 * they are there; backups keep their ids, and what else they are.
 */
export async function migrateResources(
  deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents'>, caller: { projectId: ProjectId, requestId: string }, id: string, body: MigrateResourcesBody,
): Promise<ResourceId[]> {
  const { projectId, requestId } = caller
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const targetId = parseUuid<VaultId>('destination_vault_id', body.destination_vault_id)
  const resourceIds = [...new Set(body.resource_ids.map((each, place) => parseUuid<ResourceId>(`resource_ids.${place}`, each)))]
  if (vaultId === targetId) throw new Failure('parameter.invalid', { field: 'destination_vault_id', reason: 'the resources are in this vault already' })
  await deps.db.transaction().execute(async (tx) => {
    const vault = await findVault(tx, projectId, vaultId)
    if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
    const target = await findVault(tx, projectId, targetId)
    if (target === undefined) throw new Failure('vault.target_not_found', { vaultId: targetId })
    const moving = await assertMovable(tx, vault, target, resourceIds)
    const now = deps.clock.now()
    await setProtectStatus(tx, projectId, vaultId, resourceIds, 'removing')
    for (const each of [vaultId, targetId]) await changeVault(tx, projectId, each, { updated_at: now })
    const [first] = moving
    const operationLogId = await insertOperationLog(tx, {
      type: 'copy',
      vault,
      ...(first === undefined ? {} : { resource: { id: first.resource_id, type: first.resource_type, name: first.name } }),
      requestId,
      parts: {},
      createdAt: now,
    })
    await insertJob(tx, { kind: 'migrate_resource', projectId, vaultId, targetVaultId: targetId, operationLogId, payload: { resourceIds }, createdAt: now })
  })
  deps.wakeAgents()
  return resourceIds
}

async function assertMovable(
  tx: Transaction, vault: Row<'vaults'>, target: Row<'vaults'>, resourceIds: readonly ResourceId[],
): Promise<Row<'vault_resources'>[]> {
  assertTakesResources(vault)
  assertTakesResources(target)
  await refuseIfLocked(tx, vault, 'migrate_resources')
  const inside = new Map((await listVaultResources(tx, vault.project_id, vault.id)).map((resource) => [resource.resource_id, resource]))
  const moving = resourceIds.map((resourceId) => {
    const resource = inside.get(resourceId)
    if (resource === undefined) throw new Failure('vault.resource_not_inside', { resourceId, vaultId: vault.id })
    if (resource.protect_status === 'removing') throw new Failure('vault.resources_being_removed', { vaultId: vault.id })
    return resource
  })
  const isSameKind = vault.object_type === target.object_type && vault.protect_type === target.protect_type && vault.cloud_type === target.cloud_type
  if (!isSameKind) {
    const [first] = moving
    throw new Failure('vault.resource_kind_misfit', {
      objectType: target.object_type, resourceId: first?.resource_id ?? '', resourceType: first?.resource_type ?? vault.object_type,
    })
  }
  for (const each of [vault, target]) {
    if ((await listLiveJobs(tx, each.project_id, each.id)).length > 0) throw new Failure('vault.backup_running', { vaultId: each.id })
  }
  const present = (await listVaultResources(tx, target.project_id, target.id)).length
  if (present + moving.length > VAULT_RESOURCES_MAX) throw tooManyResources()
  const { bytes } = await tx.selectFrom('vault_usage').select(({ fn }) => fn.sum<number | null>('stored_bytes').as('bytes'))
    .where('vault_id', '=', vault.id).where('resource_id', 'in', resourceIds).executeTakeFirstOrThrow()
  refuseIfNoRoom(target, Number(bytes ?? 0))
  return moving
}
