/** Policies of the caller's domain. The path names a project, as everywhere; it is one of the domain. */
import {
  CreateOrganizationPolicyBody, ListDeploymentsAnswer, ListDeploymentsQuery, ListOrganizationPoliciesAnswer, ListOrganizationPoliciesQuery,
  OrganizationPolicyAnswer, OrganizationPolicyParams, UpdateOrganizationPolicyBody,
} from '@opencbr/contract'
import type { Deps } from '../../deps.ts'
import {
  createOrganizationPolicy, deleteOrganizationPolicy, deploymentToWire, listDeployments, listOrganizationPolicies, organizationPolicyToWire,
  showOrganizationPolicy, updateOrganizationPolicy,
} from '../../organization-policies/index.ts'
import { identityOf, noContent, ok, route, type Access, type Call, type Route } from '../route.ts'

const domainOf = (call: Call<unknown, unknown, unknown>) => identityOf(call).domain.id
const inDomain = (verb: string): Access => ({ kind: 'project', action: `cbr:organizationPolicies:${verb}`, inDomain: true })

export function organizationPolicyRoutes(deps: Deps): Route[] {
  const [path, one] = ['/v3/:project_id/organization-policies', '/v3/:project_id/organization-policies/:organization_policy_id']
  return [
    route({
      operationId: 'listOrganizationPolicies',
      method: 'GET',
      path,
      access: inDomain('list'),
      summary: 'List the policies of the domain',
      schemas: { query: ListOrganizationPoliciesQuery, response: { 200: ListOrganizationPoliciesAnswer } },
      async handle(call) {
        const { rows, count, limit, offset } = await listOrganizationPolicies(deps.db, domainOf(call), call.query)
        return ok({ policies: rows.map(organizationPolicyToWire), count, limit, offset })
      },
    }),
    route({
      operationId: 'createOrganizationPolicy',
      method: 'POST',
      path,
      access: inDomain('create'),
      summary: 'Create a policy in the projects of the domain',
      schemas: { body: CreateOrganizationPolicyBody, response: { 200: OrganizationPolicyAnswer } },
      async handle(call) {
        return ok({ policy: organizationPolicyToWire(await createOrganizationPolicy(deps, domainOf(call), call.body.policy)) })
      },
    }),
    route({
      operationId: 'showOrganizationPolicy',
      method: 'GET',
      path: one,
      access: inDomain('get'),
      summary: 'Show a policy of the domain',
      schemas: { params: OrganizationPolicyParams, response: { 200: OrganizationPolicyAnswer } },
      async handle(call) {
        return ok({ policy: organizationPolicyToWire(await showOrganizationPolicy(deps.db, domainOf(call), call.params.organization_policy_id)) })
      },
    }),
    route({
      operationId: 'updateOrganizationPolicy',
      method: 'PUT',
      path: one,
      access: inDomain('update'),
      summary: 'Change a policy of the domain, in all projects at once',
      schemas: { params: OrganizationPolicyParams, body: UpdateOrganizationPolicyBody, response: { 200: OrganizationPolicyAnswer } },
      async handle(call) {
        const view = await updateOrganizationPolicy(deps, domainOf(call), call.params.organization_policy_id, call.body.policy)
        return ok({ policy: organizationPolicyToWire(view) })
      },
    }),
    route({
      operationId: 'deleteOrganizationPolicy',
      method: 'DELETE',
      path: one,
      access: inDomain('delete'),
      summary: 'Delete a policy of the domain, in all projects; backups stay',
      schemas: { params: OrganizationPolicyParams },
      async handle(call) {
        await deleteOrganizationPolicy(deps, domainOf(call), call.params.organization_policy_id)
        return noContent
      },
    }),
    route({
      operationId: 'listOrganizationPolicyDetail',
      method: 'GET',
      path: `${one}/policy-detail`,
      access: inDomain('get'),
      summary: 'List the projects that have a policy of the domain',
      schemas: { params: OrganizationPolicyParams, query: ListDeploymentsQuery, response: { 200: ListDeploymentsAnswer } },
      async handle(call) {
        const { rows, count, limit, offset } = await listDeployments(deps.db, domainOf(call), call.params.organization_policy_id, call.query)
        return ok({ policies: rows.map((row) => deploymentToWire(domainOf(call), row)), count, limit, offset })
      },
    }),
  ]
}
