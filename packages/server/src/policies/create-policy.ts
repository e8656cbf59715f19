import { randomUUID } from 'node:crypto'
import { POLICIES_PER_KIND_MAX, type CreatePolicyBody, type PolicyDefinition } from '@opencbr/contract'
import type { Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import type { Flag, PolicyOperationType, PolicyType } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import { newUuid, type PolicyId, type ProjectId } from '../ids.ts'
import { DEFAULT_TIME_ZONE, readDefinition, readSchedule } from './policy.ts'
import { countOwnPolicies, findPolicyView, insertPolicy, type PolicyView } from './policy-store.ts'

/** Creates a policy that is bound to nothing yet. Its schedule counts from now, in UTC. */
export async function createPolicy(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, wanted: CreatePolicyBody['policy'],
): Promise<PolicyView> {
  const now = clock.now()
  const { name, operation_type: type } = wanted
  const { pattern } = wanted.trigger.properties
  const definition = readDefinition('policy.operation_definition', type, wanted.operation_definition)
  readSchedule('policy.trigger.properties.pattern', pattern, now, DEFAULT_TIME_ZONE)
  return db.transaction().execute(async (tx) => {
    if (await countOwnPolicies(tx, projectId, type) >= POLICIES_PER_KIND_MAX) {
      throw new Failure('policy.too_many', { type, max: POLICIES_PER_KIND_MAX })
    }
    const id = await addPolicy(tx, {
      projectId, name, enabled: wanted.enabled ?? true ? 1 : 0, type, definition, pattern, policyType: 'custom_policy', createdAt: now, now,
    })
    const view = await findPolicyView(tx, projectId, id)
    if (view === undefined) throw new TypeError('a policy that was just written is not there')
    return view
  })
}

export interface NewPolicy {
  readonly projectId: ProjectId
  readonly name: string
  readonly enabled: Flag
  readonly type: PolicyOperationType
  readonly definition: PolicyDefinition
  readonly pattern: readonly string[]
  readonly policyType: PolicyType
  /** From when on its rules count. */
  readonly createdAt: Micros
  readonly now: Micros
}

/** Writes a policy of which everything was checked. */
export async function addPolicy(tx: Transaction, policy: NewPolicy): Promise<PolicyId> {
  const id = newUuid<PolicyId>()
  await insertPolicy(tx, {
    id,
    project_id: policy.projectId,
    name: policy.name,
    enabled: policy.enabled,
    operation_type: policy.type,
    operation_definition: JSON.stringify(policy.definition),
    trigger_id: randomUUID(),
    pattern: JSON.stringify(policy.pattern),
    time_zone: DEFAULT_TIME_ZONE,
    policy_type: policy.policyType,
    created_at: policy.createdAt,
    updated_at: policy.now,
  })
  return id
}
