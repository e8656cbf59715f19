import type { UpdateOrganizationPolicyBody } from '@opencbr/contract'
import type { Transaction } from '../db/database.ts'
import type { Row, RowChange } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import type { DomainId, ProjectId } from '../ids.ts'
import { DEFAULT_TIME_ZONE, findPolicy, readDefinition, readSchedule, replacePolicy, type PolicyChange } from '../policies/index.ts'
import { deploy, listTargets, withdraw } from './deploy.ts'
import { readScope } from './organization-policy.ts'
import { changeOrganizationPolicy, listDeploymentRows, type OrganizationPolicyView } from './organization-policy-store.ts'
import { getOrganizationPolicy, showOrganizationPolicy } from './show-organization-policy.ts'

/**
 * Changes what the body names, here and in every project, or nothing at all: where one vault forbids it (it is locked and
 * would keep less, say) the whole change is refused. Projects that the scope leaves lose the policy, new ones get it.
 */
export async function updateOrganizationPolicy(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, domainId: DomainId, id: string, wanted: UpdateOrganizationPolicyBody['policy'],
): Promise<OrganizationPolicyView> {
  return db.transaction().execute(async (tx) => {
    const now = clock.now()
    const before = await getOrganizationPolicy(tx, domainId, id)
    const change = readChange(before, wanted)
    const scope = wanted.effective_scope === undefined ? undefined : readScope('policy.effective_scope', wanted.effective_scope, domainId)
    const row: RowChange<'organization_policies'> = {
      ...(wanted.name === undefined ? {} : { name: wanted.name }),
      ...(wanted.description === undefined ? {} : { description: wanted.description }),
      ...(scope === undefined ? {} : { effective_scope: wanted.effective_scope ?? '', whole_domain: scope.wholeDomain }),
      ...(change.name === undefined ? {} : { policy_name: change.name }),
      ...(change.enabled === undefined ? {} : { policy_enabled: change.enabled ? 1 : 0 }),
      ...(change.definition === undefined ? {} : { operation_definition: JSON.stringify(change.definition) }),
      ...(change.pattern === undefined ? {} : { pattern: JSON.stringify(change.pattern) }),
      updated_at: now,
    }
    await changeOrganizationPolicy(tx, before.id, row)
    const policy = await getOrganizationPolicy(tx, domainId, before.id)
    await redeploy(tx, policy, {
      change, now, targets: scope === undefined ? undefined : await listTargets(tx, 'policy.effective_scope', domainId, scope),
    })
    return showOrganizationPolicy(tx, domainId, policy.id)
  })
}

function readChange(before: Row<'organization_policies'>, wanted: UpdateOrganizationPolicyBody['policy']): PolicyChange {
  const pattern = wanted.policy_trigger?.properties.pattern
  if (pattern !== undefined) readSchedule('policy.policy_trigger.properties.pattern', pattern, before.created_at, DEFAULT_TIME_ZONE)
  return {
    name: wanted.policy_name,
    enabled: wanted.policy_enabled,
    definition: wanted.policy_operation_definition === undefined
      ? undefined
      : readDefinition('policy.policy_operation_definition', before.operation_type, wanted.policy_operation_definition),
    pattern,
  }
}

interface Redeployment {
  readonly change: PolicyChange
  /** Undefined: they stay as they are. */
  readonly targets: readonly ProjectId[] | undefined
  readonly now: number
}

async function redeploy(tx: Transaction, policy: Row<'organization_policies'>, { change, targets, now }: Redeployment): Promise<void> {
  const deployments = await listDeploymentRows(tx, policy.id)
  const wanted = new Set(targets ?? deployments.map((each) => each.project_id))
  const isDifferent = Object.values(change).some((member) => member !== undefined)
  for (const deployment of deployments) {
    const { project_id: projectId, policy_id: policyId } = deployment
    if (!wanted.delete(projectId)) {
      await withdraw(tx, policy.id, deployment, now)
      continue
    }
    if (!isDifferent) continue
    const deployed = await findPolicy(tx, projectId, policyId)
    if (deployed === undefined) throw new TypeError(`the policy ${policyId} of a deployment is not there`)
    await replacePolicy(tx, deployed, change, now)
  }
  // What is left has no policy yet.
  for (const projectId of wanted) await deploy(tx, policy, projectId, now)
}
