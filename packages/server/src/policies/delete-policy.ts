import type { Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { PolicyId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { refuseIfLocked } from '../vaults/index.ts'
import { refuseIfDeployed } from './policy.ts'
import { changePolicy, deletePolicyRows, findPolicy, listLockedVaultsOf } from './policy-store.ts'

/** Unbinds a policy everywhere and deletes it. Its backups stay; those with an end of their own still reach it. */
export async function deletePolicy({ db }: Pick<Deps, 'db'>, projectId: ProjectId, id: string): Promise<void> {
  const policyId = parseUuid<PolicyId>('policy_id', id)
  await db.transaction().execute(async (tx) => {
    const policy = await findPolicy(tx, projectId, policyId)
    if (policy === undefined) throw new Failure('policy.not_found', { policyId })
    refuseIfDeployed(policy)
    for (const vault of await listLockedVaultsOf(tx, projectId, policyId)) await refuseIfLocked(tx, vault, 'unbind_policy')
    await deletePolicyRows(tx, projectId, policyId)
  })
}

/**
 * Takes back what an organization policy has deployed: unbound and deleted. A locked vault keeps its policy, so one that
 * is bound to such a vault goes on as it is, and is the project's own from now on.
 */
export async function withdrawPolicy(tx: Transaction, projectId: ProjectId, policyId: PolicyId, now: Micros): Promise<void> {
  const locked = await listLockedVaultsOf(tx, projectId, policyId)
  if (locked.length === 0) await deletePolicyRows(tx, projectId, policyId)
  else await changePolicy(tx, projectId, policyId, { policy_type: 'organization_policy_removed', updated_at: now })
}
