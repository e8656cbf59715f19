import {
  AssociatePolicyAnswer, AssociatePolicyBody, CreatePolicyBody, DissociatePolicyAnswer, DissociatePolicyBody, ListPoliciesAnswer,
  ListPoliciesQuery, ListPolicyRunsAnswer, ListPolicyRunsQuery, PolicyAnswer, PolicyParams, PolicyPreviewAnswer, PolicyScheduleAnswer,
  PreviewPolicyBody, PreviewPolicyQuery, SetScheduleBody, UpdatePolicyBody, VaultParams,
} from '@opencbr/contract'
import type { Deps } from '../../deps.ts'
import {
  bindPolicy, createPolicy, deletePolicy, listPolicies, listPolicyRuns, policyRunToWire, policyToWire, previewPolicy, scheduleToWire,
  setPolicyTimeZone, showPolicy, unbindPolicy, updatePolicy, type Bound,
} from '../../policies/index.ts'
import { listRoute, noContent, ok, projectOf, route, type Route } from '../route.ts'

/** The cloud shows all policies of a project in one page, and says so in these words. */
const WHOLE_LIST = { limit: 1000, offset: 0 }

export function policyRoutes(deps: Deps): Route[] {
  return [...wholePolicyRoutes(deps), ...vaultPolicyRoutes(deps), ...scheduleRoutes(deps)]
}

function wholePolicyRoutes(deps: Deps): Route[] {
  return [
    listRoute({
      operationId: 'listPolicies',
      path: '/v3/:project_id/policies',
      access: { kind: 'project', action: 'cbr:policies:list' },
      summary: 'List policies',
      schemas: { query: ListPoliciesQuery, response: { 200: ListPoliciesAnswer } },
      async list({ projectId, query }) {
        const views = await listPolicies(deps.reads, projectId, query)
        return ok({ policies: views.map(policyToWire), count: views.length, ...WHOLE_LIST })
      },
    }),
    route({
      operationId: 'createPolicy',
      method: 'POST',
      path: '/v3/:project_id/policies',
      access: { kind: 'project', action: 'cbr:policies:create' },
      summary: 'Create a policy',
      schemas: { body: CreatePolicyBody, response: { 200: PolicyAnswer } },
      async handle(call) {
        return ok({ policy: policyToWire(await createPolicy(deps, projectOf(call).id, call.body.policy)) })
      },
    }),
    route({
      operationId: 'showPolicy',
      method: 'GET',
      path: '/v3/:project_id/policies/:policy_id',
      access: { kind: 'project', action: 'cbr:policies:get' },
      summary: 'Show a policy',
      schemas: { params: PolicyParams, response: { 200: PolicyAnswer } },
      async handle(call) {
        return ok({ policy: policyToWire(await showPolicy(deps.db, projectOf(call).id, call.params.policy_id)) })
      },
    }),
    route({
      operationId: 'updatePolicy',
      method: 'PUT',
      path: '/v3/:project_id/policies/:policy_id',
      access: { kind: 'project', action: 'cbr:policies:update' },
      summary: 'Change a policy',
      schemas: { params: PolicyParams, body: UpdatePolicyBody, response: { 200: PolicyAnswer } },
      async handle(call) {
        return ok({ policy: policyToWire(await updatePolicy(deps, projectOf(call).id, call.params.policy_id, call.body.policy)) })
      },
    }),
    route({
      operationId: 'deletePolicy',
      method: 'DELETE',
      path: '/v3/:project_id/policies/:policy_id',
      access: { kind: 'project', action: 'cbr:policies:delete' },
      summary: 'Delete a policy; its backups stay',
      schemas: { params: PolicyParams },
      async handle(call) {
        await deletePolicy(deps, projectOf(call).id, call.params.policy_id)
        return noContent
      },
    }),
  ]
}

function vaultPolicyRoutes(deps: Deps): Route[] {
  return [
    route({
      operationId: 'associateVaultPolicy',
      method: 'POST',
      path: '/v3/:project_id/vaults/:vault_id/associatepolicy',
      access: { kind: 'project', action: 'cbr:vaults:associatePolicy' },
      summary: 'Bind a policy to a vault',
      schemas: { params: VaultParams, body: AssociatePolicyBody, response: { 200: AssociatePolicyAnswer } },
      async handle(call) {
        return ok({ associate_policy: boundToWire(await bindPolicy(deps, projectOf(call).id, call.params.vault_id, call.body)) })
      },
    }),
    route({
      operationId: 'disassociateVaultPolicy',
      method: 'POST',
      path: '/v3/:project_id/vaults/:vault_id/dissociatepolicy',
      access: { kind: 'project', action: 'cbr:vaults:dissociatePolicy' },
      summary: 'Unbind a policy from a vault',
      schemas: { params: VaultParams, body: DissociatePolicyBody, response: { 200: DissociatePolicyAnswer } },
      async handle(call) {
        return ok({ dissociate_policy: boundToWire(await unbindPolicy(deps, projectOf(call).id, call.params.vault_id, call.body.policy_id)) })
      },
    }),
  ]
}

/** What the cloud lacks: a look ahead, the time zone of a schedule, and what became of each due time. */
function scheduleRoutes(deps: Deps): Route[] {
  return [
    route({
      operationId: 'previewStoredPolicy',
      method: 'GET',
      path: '/x/v1/:project_id/policies/preview',
      access: { kind: 'project', action: 'cbr:policies:get' },
      summary: 'Show when a policy runs next, and what it keeps',
      schemas: { query: PreviewPolicyQuery, response: { 200: PolicyPreviewAnswer } },
      async handle(call) {
        return ok({ preview: await previewPolicy(deps, projectOf(call).id, call.query) })
      },
    }),
    route({
      operationId: 'previewPolicy',
      audited: false,
      method: 'POST',
      path: '/x/v1/:project_id/policies/preview',
      access: { kind: 'project', action: 'cbr:policies:get' },
      summary: 'Show when rules would run, and what limits would keep; changes nothing',
      schemas: { body: PreviewPolicyBody, response: { 200: PolicyPreviewAnswer } },
      async handle(call) {
        return ok({ preview: await previewPolicy(deps, projectOf(call).id, call.body.preview) })
      },
    }),
    route({
      operationId: 'showPolicySchedule',
      method: 'GET',
      path: '/x/v1/:project_id/policies/:policy_id/schedule',
      access: { kind: 'project', action: 'cbr:policies:get' },
      summary: 'Show in which time zone a policy runs, and when next',
      schemas: { params: PolicyParams, response: { 200: PolicyScheduleAnswer } },
      async handle(call) {
        return ok({ schedule: scheduleToWire(await showPolicy(deps.db, projectOf(call).id, call.params.policy_id), deps.clock.now()) })
      },
    }),
    route({
      operationId: 'setPolicySchedule',
      method: 'PUT',
      path: '/x/v1/:project_id/policies/:policy_id/schedule',
      access: { kind: 'project', action: 'cbr:policies:update' },
      summary: 'Read the rules of a policy by the wall clock of a time zone',
      schemas: { params: PolicyParams, body: SetScheduleBody, response: { 200: PolicyScheduleAnswer } },
      async handle(call) {
        const view = await setPolicyTimeZone(deps, projectOf(call).id, call.params.policy_id, call.body.schedule.time_zone)
        return ok({ schedule: scheduleToWire(view, deps.clock.now()) })
      },
    }),
    route({
      operationId: 'listPolicyRuns',
      method: 'GET',
      path: '/x/v1/:project_id/policies/:policy_id/runs',
      access: { kind: 'project', action: 'cbr:policies:get' },
      summary: 'List the due times of a policy and what became of them',
      schemas: { params: PolicyParams, query: ListPolicyRunsQuery, response: { 200: ListPolicyRunsAnswer } },
      async handle(call) {
        const { rows, count, limit, offset } = await listPolicyRuns(deps.db, projectOf(call).id, call.params.policy_id, call.query)
        return ok({ runs: rows.map(policyRunToWire), count, limit, offset })
      },
    }),
  ]
}

function boundToWire({ vaultId, policyId, destinationVaultId }: Bound) {
  return { vault_id: vaultId, policy_id: policyId, destination_vault_id: destinationVaultId }
}
