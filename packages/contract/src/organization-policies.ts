/** Policies of a domain, which are deployed to its projects: what the calls take and answer. */
import { Type, type Static } from 'typebox'
import { PolicyDefinition, PolicyDefinitionIn, PolicyOperationType, PolicyTriggerIn, POLICY_RULES_MAX } from './policies.ts'

const fields = {
  name: Type.String({ minLength: 1, maxLength: 64, description: 'Organization policy name.' }),
  description: Type.Optional(Type.String({ maxLength: 255, description: 'Free text.' })),
  effective_scope: Type.Optional(Type.String({
    maxLength: 255, description: 'root (also when absent), or ids of projects of the domain, separated by commas.',
  })),
  policy_name: Type.String({ minLength: 1, maxLength: 64, description: 'Name of the policies that get deployed.' }),
  policy_enabled: Type.Boolean({ description: 'Whether deployed policies run.' }),
  policy_operation_definition: PolicyDefinitionIn,
  policy_trigger: PolicyTriggerIn,
}

export const CreateOrganizationPolicyBody = Type.Object({ policy: Type.Object({ ...fields, operation_type: PolicyOperationType }) })
export type CreateOrganizationPolicyBody = Static<typeof CreateOrganizationPolicyBody>

export const UpdateOrganizationPolicyBody = Type.Object({ policy: Type.Partial(Type.Object(fields)) })
export type UpdateOrganizationPolicyBody = Static<typeof UpdateOrganizationPolicyBody>

export const OrganizationPolicyParams = Type.Object({
  project_id: Type.String(),
  organization_policy_id: Type.String({ description: 'Organization policy id.' }),
})

const page = {
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Rows to skip.' })),
}

export const ListOrganizationPoliciesQuery = Type.Object({ operation_type: Type.Optional(PolicyOperationType), ...page })
export type ListOrganizationPoliciesQuery = Static<typeof ListOrganizationPoliciesQuery>

export const ListDeploymentsQuery = Type.Object(page)
export type ListDeploymentsQuery = Static<typeof ListDeploymentsQuery>

const OrganizationPolicyStatus = Type.Enum(['syncing', 'available'], {
  type: 'string', description: 'syncing while projects of the domain still wait for it.',
})

export const OrganizationPolicy = Type.Object({
  id: Type.String(),
  domain_id: Type.String(),
  domain_name: Type.String(),
  operation_type: PolicyOperationType,
  name: Type.String({ minLength: 1, maxLength: 64 }),
  description: Type.String({ maxLength: 255 }),
  effective_scope: Type.String({ maxLength: 255 }),
  policy_name: Type.String({ minLength: 1, maxLength: 64 }),
  policy_enabled: Type.Boolean(),
  policy_operation_definition: PolicyDefinition,
  policy_trigger: Type.Object({
    properties: Type.Object({
      pattern: Type.Array(Type.String(), { maxItems: POLICY_RULES_MAX }),
      start_time: Type.String({ description: 'From when on its rules count, in every project; UTC.' }),
    }),
  }),
  status: OrganizationPolicyStatus,
})
export type OrganizationPolicy = Static<typeof OrganizationPolicy>

export const OrganizationPolicyAnswer = Type.Object({ policy: OrganizationPolicy })

const pageIn = {
  count: Type.Integer({ minimum: 0 }),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  offset: Type.Integer({ minimum: 0 }),
}

export const ListOrganizationPoliciesAnswer = Type.Object({ policies: Type.Array(OrganizationPolicy), ...pageIn })

export const Deployment = Type.Object({
  domain_id: Type.String(),
  policy_id: Type.String({ description: 'The policy in the project.' }),
  project_id: Type.String(),
  status: Type.String({ description: 'available: the policy is as the organization policy has it.' }),
})
export type Deployment = Static<typeof Deployment>

export const ListDeploymentsAnswer = Type.Object({ policies: Type.Array(Deployment), ...pageIn })
