/** Policies, as far as a server without a scheduler knows them. */
import { Type } from 'typebox'

export const ListPoliciesQuery = Type.Object({
  operation_type: Type.Optional(Type.Enum(['backup', 'replication'], { type: 'string', description: 'Policy kind.' })),
  vault_id: Type.Optional(Type.String({ description: 'Vault that the policy is bound to.' })),
})

export const ListPoliciesAnswer = Type.Object({
  policies: Type.Array(Type.Object({ id: Type.String() }), { description: 'Always empty: there are no policies yet.' }),
  count: Type.Integer({ minimum: 0 }),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  offset: Type.Integer({ minimum: 0 }),
})

export const PolicyParams = Type.Object({
  project_id: Type.String(),
  policy_id: Type.String({ description: 'Policy id.' }),
})
