import type { PolicyDefinition, UpdatePolicyBody } from '@opencbr/contract'
import type { Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import type { Row, RowChange } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { PolicyId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { refuseIfLocked } from '../vaults/index.ts'
import { parseDefinition, readDefinition, readSchedule, readTimeZone, refuseIfDeployed } from './policy.ts'
import { changePolicy, findPolicy, findPolicyView, listLockedVaultsOf, rescheduleBindings, type PolicyView } from './policy-store.ts'
import { keepsAtLeast, retentionOf } from './retention.ts'

/**
 * Changes what the body names and leaves the rest; a definition is replaced as a whole. Backups keep the
 * end that they were given; a rule by count or calendar judges all backups that the policy has made.
 */
export async function updatePolicy(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, id: string, wanted: UpdatePolicyBody['policy'],
): Promise<PolicyView> {
  return db.transaction().execute(async (tx) => {
    const policy = await getOwnPolicy(tx, projectId, id)
    const definition = wanted.operation_definition === undefined
      ? undefined
      : readDefinition('policy.operation_definition', policy.operation_type, wanted.operation_definition)
    const pattern = wanted.trigger?.properties.pattern
    if (pattern !== undefined) readSchedule('policy.trigger.properties.pattern', pattern, policy.created_at, policy.time_zone)
    return replacePolicy(tx, policy, { name: wanted.name, enabled: wanted.enabled, definition, pattern }, clock.now())
  })
}

export interface PolicyChange {
  readonly name?: string | undefined
  readonly enabled?: boolean | undefined
  readonly definition?: PolicyDefinition | undefined
  readonly pattern?: readonly string[] | undefined
}

/** Writes what was checked by itself, if the vaults that the policy is bound to allow it. */
export async function replacePolicy(
  tx: Transaction, policy: Row<'policies'>, { name, enabled, definition, pattern }: PolicyChange, now: Micros,
): Promise<PolicyView> {
  if (definition !== undefined) await assertMayReplace(tx, policy, definition)
  return write(tx, policy, {
    ...(name === undefined ? {} : { name }),
    ...(enabled === undefined ? {} : { enabled: enabled ? 1 : 0 }),
    ...(definition === undefined ? {} : { operation_definition: JSON.stringify(definition) }),
    ...(pattern === undefined ? {} : { pattern: JSON.stringify(pattern) }),
  }, now)
}

/** Reads the rules of a policy by the wall clock of a time zone from now on; `UTC` is what the cloud does. */
export async function setPolicyTimeZone(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, id: string, timeZone: string,
): Promise<PolicyView> {
  return db.transaction().execute(async (tx) => {
    const policy = await getOwnPolicy(tx, projectId, id)
    return write(tx, policy, { time_zone: readTimeZone('time_zone', timeZone) }, clock.now())
  })
}

async function getOwnPolicy(tx: Transaction, projectId: ProjectId, id: string): Promise<Row<'policies'>> {
  const policyId = parseUuid<PolicyId>('policy_id', id)
  const policy = await findPolicy(tx, projectId, policyId)
  if (policy === undefined) throw new Failure('policy.not_found', { policyId })
  refuseIfDeployed(policy)
  return policy
}

async function assertMayReplace(tx: Transaction, policy: Row<'policies'>, definition: PolicyDefinition): Promise<void> {
  const before = parseDefinition(policy.operation_definition)
  if (!keepsAtLeast(retentionOf(before), retentionOf(definition))) {
    for (const vault of await listLockedVaultsOf(tx, policy.project_id, policy.id)) await refuseIfLocked(tx, vault, 'keep_less')
  }
  if (before.destination_region === definition.destination_region) return
  const view = await findPolicyView(tx, policy.project_id, policy.id)
  const [bound] = view?.vaults ?? []
  if (bound !== undefined) throw new Failure('policy.region_fixed', { policyId: policy.id, vaultId: bound.vault_id })
}

async function write(tx: Transaction, policy: Row<'policies'>, change: RowChange<'policies'>, now: number): Promise<PolicyView> {
  await changePolicy(tx, policy.project_id, policy.id, { ...change, updated_at: now })
  const view = await findPolicyView(tx, policy.project_id, policy.id)
  if (view === undefined) throw new TypeError('a policy that was just written is not there')
  const isScheduleSame = policy.enabled === view.policy.enabled && policy.pattern === view.policy.pattern && policy.time_zone === view.policy.time_zone
  if (!isScheduleSame) await rescheduleBindings(tx, view.policy, now)
  return view
}
