import { POLICIES_PER_KIND_MAX, type CreateOrganizationPolicyBody } from '@opencbr/contract'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import { newUuid, type DomainId, type OrganizationPolicyId } from '../ids.ts'
import { DEFAULT_TIME_ZONE, readDefinition, readSchedule } from '../policies/index.ts'
import { deploy, listTargets } from './deploy.ts'
import { readScope, WHOLE_DOMAIN } from './organization-policy.ts'
import { countOrganizationPolicies, insertOrganizationPolicy, type OrganizationPolicyView } from './organization-policy-store.ts'
import { showOrganizationPolicy } from './show-organization-policy.ts'

/**
 * Creates a policy of a domain, and with it one in each project that it is for. A domain has as many of a kind as a
 * project may have of its own, and neither counts for the other: no project can stand in the way of its domain.
 */
export async function createOrganizationPolicy(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, domainId: DomainId, wanted: CreateOrganizationPolicyBody['policy'],
): Promise<OrganizationPolicyView> {
  const now = clock.now()
  const { operation_type: type } = wanted
  const { pattern } = wanted.policy_trigger.properties
  const definition = readDefinition('policy.policy_operation_definition', type, wanted.policy_operation_definition)
  readSchedule('policy.policy_trigger.properties.pattern', pattern, now, DEFAULT_TIME_ZONE)
  const effectiveScope = wanted.effective_scope ?? WHOLE_DOMAIN
  const scope = readScope('policy.effective_scope', effectiveScope, domainId)
  const policy: Row<'organization_policies'> = {
    id: newUuid<OrganizationPolicyId>(),
    domain_id: domainId,
    name: wanted.name,
    description: wanted.description ?? '',
    operation_type: type,
    effective_scope: effectiveScope,
    whole_domain: scope.wholeDomain,
    policy_name: wanted.policy_name,
    policy_enabled: wanted.policy_enabled ? 1 : 0,
    operation_definition: JSON.stringify(definition),
    pattern: JSON.stringify(pattern),
    created_at: now,
    updated_at: now,
  }
  return db.transaction().execute(async (tx) => {
    if (await countOrganizationPolicies(tx, domainId, type) >= POLICIES_PER_KIND_MAX) {
      throw new Failure('policy.too_many', { type: `${type} organization`, max: POLICIES_PER_KIND_MAX })
    }
    await insertOrganizationPolicy(tx, policy)
    for (const projectId of await listTargets(tx, 'policy.effective_scope', domainId, scope)) await deploy(tx, policy, projectId, now)
    return showOrganizationPolicy(tx, domainId, policy.id)
  })
}
