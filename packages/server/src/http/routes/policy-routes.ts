/**
 * There are no policies yet, and these calls say so truthfully: Terraform asks for a vault's policies
 * after it has made one, and takes an empty list, but no refusal.
 */
import { ListPoliciesAnswer, ListPoliciesQuery, PolicyParams } from '@opencbr/contract'
import { Failure } from '../../failures.ts'
import { isUuid } from '../../ids.ts'
import { ok, route, type Answer, type Call, type Route } from '../route.ts'

export function policyRoutes(): Route[] {
  return [
    route({
      operationId: 'listPolicies',
      method: 'GET',
      path: '/v3/:project_id/policies',
      access: { kind: 'project', action: 'cbr:policies:list' },
      summary: 'List policies, of which there are none yet',
      schemas: { query: ListPoliciesQuery, response: { 200: ListPoliciesAnswer } },
      handle: async () => ok({ policies: [], count: 0, limit: 1000, offset: 0 }),
    }),
    route({
      operationId: 'showPolicy',
      method: 'GET',
      path: '/v3/:project_id/policies/:policy_id',
      access: { kind: 'project', action: 'cbr:policies:get' },
      summary: 'Show a policy, of which there are none yet',
      schemas: { params: PolicyParams },
      handle: findNone,
    }),
    route({
      operationId: 'deletePolicy',
      method: 'DELETE',
      path: '/v3/:project_id/policies/:policy_id',
      access: { kind: 'project', action: 'cbr:policies:delete' },
      summary: 'Delete a policy, of which there are none yet',
      schemas: { params: PolicyParams },
      handle: findNone,
    }),
  ]
}

async function findNone({ params: { policy_id: policyId } }: Call<{ policy_id: string }, unknown, unknown>): Promise<Answer> {
  if (!isUuid(policyId)) throw new Failure('parameter.invalid', { field: 'policy_id', reason: `${policyId.slice(0, 64)} is not a UUID` })
  throw new Failure('policy.not_found', { policyId })
}
