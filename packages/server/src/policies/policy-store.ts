/** SQL of policies and of what they are bound to. */
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, PolicyOperationType, Row, RowChange } from '../db/schema.ts'
import type { PolicyId, ProjectId, VaultId } from '../ids.ts'
import { scheduleOf } from './policy.ts'
import { nextRun } from './recurrence.ts'

/** A policy with all that its wire form shows. */
export interface PolicyView {
  readonly policy: Row<'policies'>
  /** In the order in which they were bound. */
  readonly vaults: readonly Pick<Row<'vault_policies'>, 'vault_id' | 'destination_vault_id'>[]
}

export async function insertPolicy(tx: Transaction, row: NewRow<'policies'>): Promise<void> {
  await tx.insertInto('policies').values(row).execute()
}

export async function findPolicy(reader: Reader, projectId: ProjectId, id: PolicyId): Promise<Row<'policies'> | undefined> {
  return reader.selectFrom('policies').selectAll().where('project_id', '=', projectId).where('id', '=', id).executeTakeFirst()
}

export async function changePolicy(tx: Transaction, projectId: ProjectId, id: PolicyId, change: RowChange<'policies'>): Promise<void> {
  await tx.updateTable('policies').set(change).where('project_id', '=', projectId).where('id', '=', id).execute()
}

/** How many the project has made itself, or has taken over. */
export async function countOwnPolicies(reader: Reader, projectId: ProjectId, type: PolicyOperationType): Promise<number> {
  const { count } = await reader.selectFrom('policies').select(({ fn }) => fn.countAll<number>().as('count'))
    .where('project_id', '=', projectId).where('operation_type', '=', type).where('policy_type', '!=', 'organization_policy_v1').executeTakeFirstOrThrow()
  return Number(count)
}

export async function deletePolicyRows(tx: Transaction, projectId: ProjectId, id: PolicyId): Promise<void> {
  await tx.deleteFrom('vault_policies').where('project_id', '=', projectId).where('policy_id', '=', id).execute()
  await tx.deleteFrom('policy_runs').where('project_id', '=', projectId).where('policy_id', '=', id).execute()
  await tx.deleteFrom('policies').where('project_id', '=', projectId).where('id', '=', id).execute()
}

/** Newest first. A project has some 128 policies at most, its own and its domain's, so there are no pages. */
export async function listPolicyViews(
  reader: Reader, projectId: ProjectId, filter: { readonly type?: PolicyOperationType | undefined, readonly vaultId?: string | undefined },
): Promise<PolicyView[]> {
  let policies = reader.selectFrom('policies').selectAll().where('project_id', '=', projectId)
    .orderBy('created_at', 'desc').orderBy('id', 'desc')
  if (filter.type !== undefined) policies = policies.where('operation_type', '=', filter.type)
  const { vaultId } = filter
  if (vaultId !== undefined) {
    policies = policies.where('id', 'in', (eb) => eb.selectFrom('vault_policies').select('policy_id')
      .where('project_id', '=', projectId).where('vault_id', '=', vaultId as VaultId))
  }
  return addVaults(reader, projectId, await policies.execute())
}

export async function findPolicyView(reader: Reader, projectId: ProjectId, id: PolicyId): Promise<PolicyView | undefined> {
  const policy = await findPolicy(reader, projectId, id)
  return policy === undefined ? undefined : (await addVaults(reader, projectId, [policy]))[0]
}

async function addVaults(reader: Reader, projectId: ProjectId, policies: readonly Row<'policies'>[]): Promise<PolicyView[]> {
  if (policies.length === 0) return []
  const bindings = await reader.selectFrom('vault_policies').select(['policy_id', 'vault_id', 'destination_vault_id'])
    .where('project_id', '=', projectId).where('policy_id', 'in', policies.map((policy) => policy.id))
    .orderBy('bound_at').orderBy('vault_id').execute()
  const bound = Map.groupBy(bindings, (binding) => binding.policy_id)
  return policies.map((policy) => ({ policy, vaults: bound.get(policy.id) ?? [] }))
}

export async function findBinding(
  reader: Reader, projectId: ProjectId, vaultId: VaultId, type: PolicyOperationType,
): Promise<Row<'vault_policies'> | undefined> {
  return reader.selectFrom('vault_policies').selectAll()
    .where('project_id', '=', projectId).where('vault_id', '=', vaultId).where('operation_type', '=', type).executeTakeFirst()
}

/** The backup policy that is bound to a vault. */
export async function findBackupPolicyOf(reader: Reader, projectId: ProjectId, vaultId: VaultId): Promise<Row<'policies'> | undefined> {
  const binding = await findBinding(reader, projectId, vaultId, 'backup')
  return binding === undefined ? undefined : findPolicy(reader, projectId, binding.policy_id)
}

/** Binds, in the place of whatever policy of the kind is bound; counts runs from now on. */
export async function putBinding(tx: Transaction, row: NewRow<'vault_policies'>): Promise<void> {
  await tx.insertInto('vault_policies').values(row)
    .onConflict((conflict) => conflict.columns(['vault_id', 'operation_type']).doUpdateSet(row))
    .execute()
}

export async function changeBinding(
  tx: Transaction, binding: Pick<Row<'vault_policies'>, 'vault_id' | 'operation_type'>, change: RowChange<'vault_policies'>,
): Promise<void> {
  await tx.updateTable('vault_policies').set(change)
    .where('vault_id', '=', binding.vault_id).where('operation_type', '=', binding.operation_type).execute()
}

export async function deleteBinding(tx: Transaction, projectId: ProjectId, vaultId: VaultId, policyId: PolicyId): Promise<boolean> {
  const { numDeletedRows } = await tx.deleteFrom('vault_policies')
    .where('project_id', '=', projectId).where('vault_id', '=', vaultId).where('policy_id', '=', policyId).executeTakeFirst()
  return numDeletedRows > 0n
}

/** For a vault that goes: takes its bindings, runs and plans along. */
export async function deletePolicyRowsOfVault(tx: Transaction, projectId: ProjectId, vaultId: VaultId): Promise<void> {
  for (const table of ['vault_policies', 'policy_runs', 'planned_expiries'] as const) {
    await tx.deleteFrom(table).where('project_id', '=', projectId).where('vault_id', '=', vaultId).execute()
  }
}

/** Bound vaults of a policy that are locked. */
export async function listLockedVaultsOf(
  reader: Reader, projectId: ProjectId, policyId: PolicyId,
): Promise<Pick<Row<'vaults'>, 'id' | 'project_id' | 'locked'>[]> {
  return reader.selectFrom('vaults').select(['vaults.id', 'vaults.project_id', 'vaults.locked'])
    .innerJoin('vault_policies', 'vault_policies.vault_id', 'vaults.id')
    .where('vault_policies.project_id', '=', projectId).where('vault_policies.policy_id', '=', policyId)
    .where('vaults.project_id', '=', projectId).where('vaults.locked', '=', 1)
    .orderBy('vaults.id').execute()
}

/** When a policy runs next, from now; null while it does not. */
export function nextRunOf(policy: Pick<Row<'policies'>, 'enabled' | 'pattern' | 'created_at' | 'time_zone'>, now: Micros): Micros | null {
  return policy.enabled === 0 ? null : nextRun(scheduleOf(policy), now)?.at ?? null
}

/** Sets the next run of every vault that a policy is bound to: it was switched, or its schedule changed. */
export async function rescheduleBindings(tx: Transaction, policy: Row<'policies'>, now: Micros): Promise<void> {
  await tx.updateTable('vault_policies').set({ next_run_at: nextRunOf(policy, now) })
    .where('project_id', '=', policy.project_id).where('policy_id', '=', policy.id).execute()
}
