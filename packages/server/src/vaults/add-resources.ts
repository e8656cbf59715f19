import type { AddResourcesBody } from '@opencbr/contract'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, ResourceId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { associate } from './associate.ts'
import { assertTakesResources, readResources } from './vault.ts'
import { changeVault, findVault } from './vault-store.ts'

/** Associates resources with a vault; answers all that were named, those that were in it before included. */
export async function addResources(
  deps: Pick<Deps, 'db' | 'clock' | 'config'>, projectId: ProjectId, id: string, body: AddResourcesBody,
): Promise<ResourceId[]> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const named = readResources('resources', body.resources)
  await deps.db.transaction().execute(async (tx) => {
    const vault = await findVault(tx, projectId, vaultId)
    if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
    assertTakesResources(vault)
    await associate(deps, tx, vault, 'resources', named)
    await changeVault(tx, projectId, vaultId, { updated_at: deps.clock.now() })
  })
  return named.map((resource) => resource.id)
}
