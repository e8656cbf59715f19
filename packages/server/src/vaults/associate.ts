import type { Deps } from '../deps.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { VAULT_RESOURCES_MAX } from '@opencbr/contract'
import { Failure } from '../failures.ts'
import { findResources, sizeInGb } from '../resources/index.ts'
import { takesType, tooManyResources, type NamedResource } from './vault.ts'
import { changeExtraInfo, findMemberships, insertVaultResources, listVaultResources } from './vault-store.ts'

/**
 * Puts resources into a vault, on creation as well as later. One that is in it already gets its disk
 * selection changed; one in another backup vault is refused. A resource that nobody offers is taken,
 * unless the server is strict: Terraform makes things in that order, and its backup fails clearly.
 */
export async function associate(
  { clock, config }: Pick<Deps, 'clock' | 'config'>, tx: Transaction,
  vault: Pick<Row<'vaults'>, 'id' | 'project_id' | 'object_type'>, field: string, named: readonly NamedResource[],
): Promise<void> {
  const ids = named.map((resource) => resource.id)
  const present = await listVaultResources(tx, vault.project_id, vault.id)
  const statusInside = new Map(present.map((resource) => [resource.resource_id, resource.protect_status]))
  const offered = new Map((await findResources(tx, vault.project_id, ids)).map((resource) => [resource.id, resource]))
  const vaultOf = new Map((await findMemberships(tx, vault.project_id, ids)).map((each) => [each.resource_id, each.vault_id]))
  const added: NamedResource[] = []
  for (const [place, resource] of named.entries()) {
    const { id: resourceId, type } = resource
    if (!takesType(vault.object_type, type)) {
      throw new Failure('vault.resource_kind_misfit', { objectType: vault.object_type, resourceId, resourceType: type })
    }
    const known = offered.get(resourceId)
    if (known === undefined && config.strictResources) throw new Failure('resource.not_found', { resourceId })
    if (known !== undefined && known.type !== type) {
      throw new Failure('parameter.invalid', { field: `${field}.${place}.type`, reason: `the resource ${resourceId} is of type ${known.type}` })
    }
    const elsewhere = vaultOf.get(resourceId)
    if (elsewhere !== undefined && elsewhere !== vault.id) throw new Failure('vault.resource_elsewhere', { resourceId, vaultId: elsewhere })
    if (statusInside.get(resourceId) === 'removing') throw new Failure('vault.resources_being_removed', { vaultId: vault.id })
    if (statusInside.has(resourceId)) await changeExtraInfo(tx, vault.project_id, vault.id, resourceId, resource.extraInfo)
    else added.push(resource)
  }
  if (present.length + added.length > VAULT_RESOURCES_MAX) throw tooManyResources()
  const addedAt = clock.now()
  await insertVaultResources(tx, added.map((resource) => {
    const known = offered.get(resource.id)
    return {
      vault_id: vault.id,
      resource_id: resource.id,
      project_id: vault.project_id,
      resource_type: resource.type,
      name: resource.name ?? known?.name ?? null,
      size_gb: known === undefined ? 0 : sizeInGb(known.size_bytes),
      protect_status: 'available',
      auto_protect: 1,
      extra_info: JSON.stringify(resource.extraInfo),
      added_at: addedAt,
    }
  }))
}
