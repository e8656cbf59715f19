import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { PolicyId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { refuseIfLocked } from '../vaults/index.ts'
import { deletePolicyRows, findPolicy, listLockedVaultsOf } from './policy-store.ts'

/** Unbinds a policy everywhere and deletes it. Its backups stay; those with an end of their own still reach it. */
export async function deletePolicy({ db }: Pick<Deps, 'db'>, projectId: ProjectId, id: string): Promise<void> {
  const policyId = parseUuid<PolicyId>('policy_id', id)
  await db.transaction().execute(async (tx) => {
    if (await findPolicy(tx, projectId, policyId) === undefined) throw new Failure('policy.not_found', { policyId })
    for (const vault of await listLockedVaultsOf(tx, projectId, policyId)) await refuseIfLocked(tx, vault, 'unbind_policy')
    await deletePolicyRows(tx, projectId, policyId)
  })
}
