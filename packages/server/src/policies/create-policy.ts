import { randomUUID } from 'node:crypto'
import { POLICIES_PER_KIND_MAX, type CreatePolicyBody } from '@opencbr/contract'
import type { Transaction } from '../db/database.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import { newUuid, type PolicyId, type ProjectId } from '../ids.ts'
import { DEFAULT_TIME_ZONE, readDefinition, readSchedule } from './policy.ts'
import { countPolicies, findPolicyView, insertPolicy, type PolicyView } from './policy-store.ts'

/** Creates a policy that is bound to nothing yet. Its schedule counts from now, in UTC. */
export async function createPolicy(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, wanted: CreatePolicyBody['policy'],
): Promise<PolicyView> {
  return db.transaction().execute((tx) => addPolicy(tx, { projectId, now: clock.now(), policyType: 'custom_policy' }, wanted))
}

/** The same within a transaction. */
export async function addPolicy(
  tx: Transaction, { projectId, now, policyType }: { projectId: ProjectId, now: number, policyType: string }, wanted: CreatePolicyBody['policy'],
): Promise<PolicyView> {
  const { name, operation_type: type } = wanted
  const { pattern } = wanted.trigger.properties
  const definition = readDefinition('policy.operation_definition', type, wanted.operation_definition)
  readSchedule('policy.trigger.properties.pattern', pattern, now, DEFAULT_TIME_ZONE)
  if (await countPolicies(tx, projectId, type) >= POLICIES_PER_KIND_MAX) {
    throw new Failure('policy.too_many', { type, max: POLICIES_PER_KIND_MAX })
  }
  const id = newUuid<PolicyId>()
  await insertPolicy(tx, {
    id,
    project_id: projectId,
    name,
    enabled: wanted.enabled ?? true ? 1 : 0,
    operation_type: type,
    operation_definition: JSON.stringify(definition),
    trigger_id: randomUUID(),
    pattern: JSON.stringify(pattern),
    time_zone: DEFAULT_TIME_ZONE,
    policy_type: policyType,
    created_at: now,
    updated_at: now,
  })
  const view = await findPolicyView(tx, projectId, id)
  if (view === undefined) throw new TypeError('a policy that was just written is not there')
  return view
}
