import type { Deployment, OrganizationPolicy } from '@opencbr/contract'
import { formatTime } from '../clock.ts'
import type { Row } from '../db/schema.ts'
import type { DomainId } from '../ids.ts'
import { parseDefinition, parsePattern } from '../policies/index.ts'
import type { OrganizationPolicyView } from './organization-policy-store.ts'

export function organizationPolicyToWire({ policy, domainName, isSyncing }: OrganizationPolicyView): OrganizationPolicy {
  return {
    id: policy.id,
    domain_id: policy.domain_id,
    domain_name: domainName,
    operation_type: policy.operation_type,
    name: policy.name,
    description: policy.description,
    effective_scope: policy.effective_scope,
    policy_name: policy.policy_name,
    policy_enabled: policy.policy_enabled === 1,
    policy_operation_definition: parseDefinition(policy.operation_definition),
    // As policies write it: a blank and no fraction.
    policy_trigger: { properties: { pattern: parsePattern(policy.pattern), start_time: formatTime(policy.created_at).slice(0, 19).replace('T', ' ') } },
    status: isSyncing ? 'syncing' : 'available',
  }
}

/** Every change of an organization policy is in its deployments when it is answered. */
export function deploymentToWire(domainId: DomainId, row: Row<'organization_policy_deployments'>): Deployment {
  return { domain_id: domainId, policy_id: row.policy_id, project_id: row.project_id, status: 'available' }
}
