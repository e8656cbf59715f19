import type { ListDeploymentsQuery, ListOrganizationPoliciesQuery } from '@opencbr/contract'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import type { DomainId, OrganizationPolicyId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import {
  countDeployments, countOrganizationPolicies, findOrganizationPolicy, findOrganizationPolicyView, listDeploymentRows, listOrganizationPolicyViews,
  type OrganizationPolicyView,
} from './organization-policy-store.ts'

const LIMIT_MAX = 1000

interface Page<Shown> {
  readonly rows: readonly Shown[]
  readonly count: number
  readonly limit: number
  readonly offset: number
}

/** Another domain's is not told from one that does not exist. */
export async function getOrganizationPolicy(reader: Reader, domainId: DomainId, id: string): Promise<Row<'organization_policies'>> {
  const policyId = parseUuid<OrganizationPolicyId>('organization_policy_id', id)
  const policy = await findOrganizationPolicy(reader, domainId, policyId)
  if (policy === undefined) throw new Failure('policy.not_found', { policyId })
  return policy
}

export async function showOrganizationPolicy(reader: Reader, domainId: DomainId, id: string): Promise<OrganizationPolicyView> {
  const policyId = parseUuid<OrganizationPolicyId>('organization_policy_id', id)
  const view = await findOrganizationPolicyView(reader, domainId, policyId)
  if (view === undefined) throw new Failure('policy.not_found', { policyId })
  return view
}

/** A page of a domain's, newest first. */
export async function listOrganizationPolicies(
  reader: Reader, domainId: DomainId, query: ListOrganizationPoliciesQuery,
): Promise<Page<OrganizationPolicyView>> {
  const page = pageOf(query)
  const type = query.operation_type
  return { rows: await listOrganizationPolicyViews(reader, domainId, { type, ...page }), count: await countOrganizationPolicies(reader, domainId, type), ...page }
}

/** Where an organization policy is deployed, by project. */
export async function listDeployments(
  reader: Reader, domainId: DomainId, id: string, query: ListDeploymentsQuery,
): Promise<Page<Row<'organization_policy_deployments'>>> {
  const page = pageOf(query)
  const { id: policyId } = await getOrganizationPolicy(reader, domainId, id)
  return { rows: await listDeploymentRows(reader, policyId, page), count: await countDeployments(reader, policyId), ...page }
}

function pageOf({ limit, offset }: ListDeploymentsQuery): { readonly limit: number, readonly offset: number } {
  return { limit: Math.min(limit ?? LIMIT_MAX, LIMIT_MAX), offset: offset ?? 0 }
}
