/** Making the policy that stands for an organization policy in a project, and taking it back. */
import type { Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { DomainId, OrganizationPolicyId, ProjectId } from '../ids.ts'
import { addPolicy, parseDefinition, parsePattern, withdrawPolicy } from '../policies/index.ts'
import type { Scope } from './organization-policy.ts'
import { deleteDeployment, insertDeployment, listMissing, listProjectIds } from './organization-policy-store.ts'

/** The projects that a scope stands for; throws when one that it names is not of the domain. */
export async function listTargets(tx: Transaction, field: string, domainId: DomainId, { wholeDomain, projectIds }: Scope): Promise<ProjectId[]> {
  if (wholeDomain === 1) return listProjectIds(tx, domainId)
  const found = new Set(await listProjectIds(tx, domainId, projectIds))
  const foreign = projectIds.find((id) => !found.has(id))
  if (foreign !== undefined) throw new Failure('parameter.invalid', { field, reason: `the domain has no project ${foreign}` })
  return [...found]
}

/** Its rules count from the organization policy's creation, so that it runs on the same days everywhere. */
export async function deploy(tx: Transaction, policy: Row<'organization_policies'>, projectId: ProjectId, now: Micros): Promise<void> {
  const policyId = await addPolicy(tx, {
    projectId,
    name: policy.policy_name,
    enabled: policy.policy_enabled,
    type: policy.operation_type,
    definition: parseDefinition(policy.operation_definition),
    pattern: parsePattern(policy.pattern),
    policyType: 'organization_policy_v1',
    createdAt: policy.created_at,
    now,
  })
  await insertDeployment(tx, { organization_policy_id: policy.id, project_id: projectId, policy_id: policyId, deployed_at: now })
}

export async function withdraw(
  tx: Transaction, id: OrganizationPolicyId, { project_id: projectId, policy_id: policyId }: Row<'organization_policy_deployments'>, now: Micros,
): Promise<void> {
  await withdrawPolicy(tx, projectId, policyId, now)
  await deleteDeployment(tx, id, projectId)
}

const DEPLOYED_AT_ONCE = 100

/** Brings policies of whole domains to the projects that were made after them. */
export async function deployToNewProjects({ db, clock }: Pick<Deps, 'db' | 'clock'>): Promise<void> {
  // Looked at without holding the catalogue first: nearly always there is nothing to do.
  while ((await listMissing(db, 1)).length > 0) {
    const made = await db.transaction().execute(async (tx) => {
      const missing = await listMissing(tx, DEPLOYED_AT_ONCE)
      for (const { target_project_id: projectId, ...policy } of missing) await deploy(tx, policy, projectId, clock.now())
      return missing.length
    })
    if (made < DEPLOYED_AT_ONCE) break
  }
}
