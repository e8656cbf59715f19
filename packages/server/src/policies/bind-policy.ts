import type { AssociatePolicyBody } from '@opencbr/contract'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { PolicyId, ProjectId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findVault, refuseIfLocked } from '../vaults/index.ts'
import { parseDefinition } from './policy.ts'
import { changeBinding, deleteBinding, findBinding, findPolicy, nextRunOf, putBinding } from './policy-store.ts'

export interface Bound {
  readonly vaultId: VaultId
  readonly policyId: PolicyId
  readonly destinationVaultId: VaultId | null
}

type BindDeps = Pick<Deps, 'db' | 'clock' | 'config'>
type BoundVault = Pick<Row<'vaults'>, 'id' | 'project_id' | 'status' | 'protect_type' | 'object_type' | 'cloud_type' | 'locked'>

/**
 * Binds policies to a vault, each in the place of the one of its kind that was bound. Binding the same
 * again succeeds and changes nothing but the target. Answers the first that was named.
 */
export async function bindPolicy({ db, clock, config }: BindDeps, projectId: ProjectId, id: string, body: AssociatePolicyBody): Promise<Bound> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const policyIds = readPolicyIds(body)
  const target = body.destination_vault_id
  return db.transaction().execute(async (tx) => {
    const vault = await findVault(tx, projectId, vaultId)
    if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
    const bound: Bound[] = []
    const kinds = new Set<string>()
    for (const policyId of policyIds) {
      const policy = await getPolicy(tx, projectId, policyId)
      if (kinds.has(policy.operation_type)) {
        throw new Failure('parameter.invalid', { field: 'add_policy_ids', reason: `a vault has one ${policy.operation_type} policy, and two are named` })
      }
      kinds.add(policy.operation_type)
      bound.push(await bind(tx, { vault, policy, target, region: config.region, now: clock.now() }))
    }
    const [first] = bound
    if (first === undefined) throw new TypeError('no policy was named')
    return first
  })
}

/** For a vault that is being created. */
export async function bindBackupPolicy(
  tx: Transaction, { vault, policyId: id, region, now }: { vault: BoundVault, policyId: string, region: string, now: number },
): Promise<void> {
  const policy = await getPolicy(tx, vault.project_id, parseUuid<PolicyId>('vault.backup_policy_id', id))
  if (policy.operation_type !== 'backup') {
    throw new Failure('policy.vault_misfit', { policyId: policy.id, vaultId: vault.id, reason: 'backup_policy_id names a replication policy' })
  }
  await bind(tx, { vault, policy, target: undefined, region, now })
}

function readPolicyIds(body: AssociatePolicyBody): PolicyId[] {
  const { policy_id: single, add_policy_ids: several } = body
  if ((single === undefined) === (several === undefined)) {
    throw new Failure('parameter.invalid', { field: 'policy_id', reason: 'exactly one of policy_id and add_policy_ids must be given' })
  }
  if (single !== undefined) return [parseUuid<PolicyId>('policy_id', single)]
  return [...new Set((several ?? []).map((id, place) => parseUuid<PolicyId>(`add_policy_ids.${place}`, id)))]
}

async function getPolicy(tx: Transaction, projectId: ProjectId, policyId: PolicyId): Promise<Row<'policies'>> {
  const policy = await findPolicy(tx, projectId, policyId)
  if (policy === undefined) throw new Failure('policy.not_found', { policyId })
  return policy
}

interface Binding {
  readonly vault: BoundVault
  readonly policy: Row<'policies'>
  readonly target: string | undefined
  readonly region: string
  readonly now: number
}

async function bind(tx: Transaction, { vault, policy, target, region, now }: Binding): Promise<Bound> {
  if (vault.status !== 'available' && vault.status !== 'lock') throw new Failure('vault.wrong_status', { vaultId: vault.id, status: vault.status })
  assertFits(vault, policy)
  const destinationVaultId = policy.operation_type === 'replication' ? await findTarget(tx, policy, target, region) : null
  const present = await findBinding(tx, vault.project_id, vault.id, policy.operation_type)
  if (present?.policy_id === policy.id) {
    await changeBinding(tx, present, { destination_vault_id: destinationVaultId })
  } else {
    // What is replaced is unbound.
    if (present !== undefined) await refuseIfLocked(tx, vault, 'unbind_policy')
    await putBinding(tx, {
      vault_id: vault.id,
      operation_type: policy.operation_type,
      project_id: vault.project_id,
      policy_id: policy.id,
      destination_vault_id: destinationVaultId,
      bound_at: now,
      next_run_at: nextRunOf(policy, now),
      runs_since_full: 0,
      last_full_at: null,
    })
  }
  return { vaultId: vault.id, policyId: policy.id, destinationVaultId }
}

/** Replicas are not replicated again, so both kinds of policies are for backup vaults. */
function assertFits(vault: BoundVault, policy: Row<'policies'>): void {
  if (vault.protect_type !== 'backup') {
    throw new Failure('policy.vault_misfit', {
      policyId: policy.id, vaultId: vault.id, reason: `a ${policy.operation_type} policy is for backup vaults, and this is a ${vault.protect_type} vault`,
    })
  }
  // Directories of agents lie outside of the cloud too, but are backed up by the service itself.
  if (vault.cloud_type === 'hybrid' && vault.object_type !== 'file' && policy.operation_type === 'backup') {
    throw new Failure('policy.vault_hybrid', { vaultId: vault.id })
  }
}

/** The one region that can be looked into is this one. */
async function findTarget(tx: Transaction, policy: Row<'policies'>, target: string | undefined, region: string): Promise<VaultId> {
  if (target === undefined || target === '') {
    throw new Failure('parameter.invalid', { field: 'destination_vault_id', reason: 'it is mandatory for replication policies' })
  }
  const destinationVaultId = parseUuid<VaultId>('destination_vault_id', target)
  const { destination_region: targetRegion = '', destination_project_id: targetProject } = parseDefinition(policy.operation_definition)
  if (targetRegion !== region) {
    throw new Failure('policy.target_unverified', { vaultId: destinationVaultId, reason: `the region ${targetRegion} is not connected to this server` })
  }
  // Another project's vaults are not told from those that do not exist.
  const vault = targetProject === policy.project_id ? await findVault(tx, policy.project_id, destinationVaultId) : undefined
  if (vault === undefined) throw new Failure('policy.target_not_found', { vaultId: destinationVaultId })
  if (vault.protect_type !== 'replication') throw new Failure('policy.target_takes_no_replicas', { vaultId: destinationVaultId })
  return destinationVaultId
}

/** Unbinds a policy. Its backups stay; those with an end of their own still reach it. */
export async function unbindPolicy({ db }: Pick<Deps, 'db'>, projectId: ProjectId, id: string, policy: string): Promise<Bound> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const policyId = parseUuid<PolicyId>('policy_id', policy)
  return db.transaction().execute(async (tx) => {
    const vault = await findVault(tx, projectId, vaultId)
    if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
    const { operation_type: type } = await getPolicy(tx, projectId, policyId)
    const binding = await findBinding(tx, projectId, vaultId, type)
    if (binding?.policy_id !== policyId) throw new Failure('policy.not_bound', { policyId, vaultId })
    await refuseIfLocked(tx, vault, 'unbind_policy')
    await deleteBinding(tx, projectId, vaultId, policyId)
    return { vaultId, policyId, destinationVaultId: binding.destination_vault_id }
  })
}
