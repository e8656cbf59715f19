import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, ResourceId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { deleteResourceRow, findResource } from './resource-store.ts'

/** Forgets that something may be protected; what it names is not touched. Refused while a vault holds it. */
export async function deleteResource({ db }: Pick<Deps, 'db'>, projectId: ProjectId, id: string): Promise<void> {
  const resourceId = parseUuid<ResourceId>('resource_id', id)
  await db.transaction().execute(async (tx) => {
    const found = await findResource(tx, projectId, resourceId)
    if (found === undefined) throw new Failure('resource.not_found', { resourceId })
    if (found.type === 'OS::Native::Server') {
      throw new Failure('parameter.invalid', { field: 'resource_id', reason: 'the resource stands for an agent and goes with it: unregister that' })
    }
    if (found.vault_id !== null) throw new Failure('resource.in_vault', { resourceId, vaultId: found.vault_id })
    await deleteResourceRow(tx, projectId, resourceId)
  })
}
