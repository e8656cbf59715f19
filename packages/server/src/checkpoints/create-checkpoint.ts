import type { CreateCheckpointBody } from '@opencbr/contract'
import { insertBackups, setProtectStatus } from '../backups/index.ts'
import { formatTime, type Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import type { NewRow, Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import { newUuid, randomHex, type BackupId, type CheckpointId, type PolicyId, type ProjectId, type ResourceId, type VaultId } from '../ids.ts'
import { insertJob } from '../jobs/index.ts'
import { insertOperationLog } from '../operations/index.ts'
import { expiryOf, findBackupPolicyOf, findPolicy, parseDefinition, retentionOf } from '../policies/index.ts'
import { parseUuid } from '../parse-id.ts'
import { refuseRunIfFull } from '../vaults/index.ts'
import { chooseResources, nameBackup, nameRun } from './checkpoint.ts'
import { findVaultToRun, insertCheckpoint, listResourcesToRun, listWrittenTo } from './checkpoint-store.ts'
import type { CheckpointView } from './checkpoint-wire.ts'
import { findCheckpointView } from './show-checkpoint.ts'

type Order = CreateCheckpointBody['checkpoint']
type Parameters = NonNullable<Order['parameters']>

/** The due time of a policy for which a run is started. */
export interface DueTime {
  readonly at: Micros
  /** Earlier due times that nobody was there for, and for which this run makes up. */
  readonly missed: number
  /** The wall clock that the rule names was skipped that day, so the run came right after. */
  readonly moved: boolean
}

export function dueTimeToWire(due: DueTime) {
  return { due_at: formatTime(due.at), missed_runs: due.missed, moved: due.moved }
}

/**
 * Starts a backup of a vault's resources, or of the named ones, and names those skipped as busy.
 * Everything is written before the answer: clients list the vault's running tasks straight away and
 * take an empty list for "finished".
 */
export async function createCheckpoint(
  deps: Pick<Deps, 'db' | 'clock' | 'config' | 'wakeAgents'>,
  caller: { projectId: ProjectId, requestId: string },
  order: Order,
): Promise<CheckpointView> {
  const view = await deps.db.transaction().execute((tx) => startCheckpoint(tx, deps, caller, order))
  deps.wakeAgents()
  return view
}

/** The same within a transaction, after which the caller wakes the agents. `due`: the due time of a policy asks for it. */
export async function startCheckpoint(
  tx: Transaction, deps: Pick<Deps, 'clock' | 'config'>, caller: { projectId: ProjectId, requestId: string }, order: Order, due?: DueTime,
): Promise<CheckpointView> {
  const vaultId = parseUuid<VaultId>('checkpoint.vault_id', order.vault_id)
  const parameters = order.parameters ?? {}
  const named = readNamedResources(parameters)
  const vault = await findVaultToRun(tx, caller.projectId, vaultId)
  if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
  assertMayRun(vault)
  const policy = await findPolicyOfRun(tx, vault, parameters)
  const members = await listResourcesToRun(tx, caller.projectId, vaultId)
  // Suspended resources do not follow the policy of their vault.
  const resources = pickNamed(vault, due === undefined ? members : members.filter((member) => member.auto_protect === 1), named)
  return startRun(tx, { vault, resources, parameters, caller, policy, due, now: deps.clock.now(), zone: deps.config.region })
}

/** An automatic run is one of the policy that it names, or else of the vault's own; its retention then applies. */
async function findPolicyOfRun(tx: Transaction, vault: Row<'vaults'>, parameters: Parameters): Promise<Row<'policies'> | undefined> {
  const { policy_id: named, auto_trigger: automatic = false } = parameters
  if (named === undefined || named === '') return automatic ? findBackupPolicyOf(tx, vault.project_id, vault.id) : undefined
  const policyId = parseUuid<PolicyId>('checkpoint.parameters.policy_id', named)
  const policy = await findPolicy(tx, vault.project_id, policyId)
  if (policy?.operation_type !== 'backup') throw new Failure('policy.not_found', { policyId })
  return policy
}

function assertMayRun(vault: Row<'vaults'>): void {
  const vaultId = vault.id
  if (vault.protect_type !== 'backup') throw new Failure('vault.kind_forbids_backup', { vaultId })
  if (vault.status !== 'available') throw new Failure('vault.status_forbids_backup', { vaultId, status: vault.status })
  refuseRunIfFull(vault)
}

/** The named ids with the type, where one was given; undefined when the run is over the whole vault. */
type Named = ReadonlyMap<ResourceId, { readonly type: string | undefined, readonly field: string }> | undefined

/** Empty lists count as absent: clients send them for what is unset. */
function readNamedResources(parameters: Parameters): Named {
  const named = new Map<ResourceId, { type: string | undefined, field: string }>()
  for (const [place, id] of (parameters.resources ?? []).entries()) {
    const field = `checkpoint.parameters.resources.${place}`
    named.set(parseUuid<ResourceId>(field, id), { type: undefined, field })
  }
  for (const [place, detail] of (parameters.resource_details ?? []).entries()) {
    const field = `checkpoint.parameters.resource_details.${place}`
    named.set(parseUuid<ResourceId>(`${field}.id`, detail.id), { type: detail.type, field: `${field}.type` })
  }
  return named.size === 0 ? undefined : named
}

function pickNamed(vault: Row<'vaults'>, members: readonly Row<'vault_resources'>[], named: Named): readonly Row<'vault_resources'>[] {
  if (named === undefined) return members
  const byId = new Map(members.map((member) => [member.resource_id, member]))
  const picked: Row<'vault_resources'>[] = []
  for (const [resourceId, { type, field }] of named) {
    const member = byId.get(resourceId)
    if (member === undefined) throw new Failure('checkpoint.resource_not_inside', { resourceId, vaultId: vault.id })
    if (type !== undefined && type !== member.resource_type) {
      throw new Failure('parameter.invalid', { field, reason: `the resource ${resourceId} is of type ${member.resource_type}` })
    }
    picked.push(member)
  }
  return picked
}

interface Run {
  readonly vault: Row<'vaults'>
  readonly resources: readonly Row<'vault_resources'>[]
  readonly parameters: Parameters
  readonly policy: Row<'policies'> | undefined
  readonly due: DueTime | undefined
  readonly caller: { readonly projectId: ProjectId, readonly requestId: string }
  readonly now: number
  readonly zone: string
}

async function startRun(tx: Transaction, run: Run): Promise<CheckpointView> {
  const { vault, parameters, caller, now } = run
  const { chosen, skipped } = chooseResources(run.resources, await listWrittenTo(tx, run.resources))
  if (chosen.length === 0) {
    const reason = skipped.length === 0 ? `the vault ${vault.id} holds no resources` : `all resources are busy (${skipped[0]?.reason})`
    throw new Failure('checkpoint.nothing_to_back_up', { reason })
  }
  const automatic = parameters.auto_trigger ?? false
  const checkpoint: NewRow<'checkpoints'> = {
    id: newUuid<CheckpointId>(),
    project_id: vault.project_id,
    vault_id: vault.id,
    status: 'protecting',
    name: nameRun({
      given: parameters.name, automatic, vaultName: vault.name, automaticPrefix: vault.backup_name_prefix, random: randomHex(4),
    }),
    description: parameters.description ?? '',
    auto_trigger: automatic ? 1 : 0,
    incremental: parameters.incremental ?? true ? 1 : 0,
    skipped_resources: JSON.stringify(skipped),
    created_at: now,
  }
  await insertCheckpoint(tx, checkpoint)
  const backups = chosen.map((resource, place) => newBackup(run, checkpoint, resource, nameBackup(checkpoint.name, place, chosen.length)))
  await insertBackups(tx, backups)
  await setProtectStatus(tx, caller.projectId, vault.id, chosen.map((resource) => resource.resource_id), 'protecting')
  for (const backup of backups) await startTask(tx, run, backup)
  const view = await findCheckpointView(tx, caller.projectId, checkpoint.id)
  if (view === undefined) throw new TypeError('a checkpoint that was just written is not there')
  return view
}

function newBackup(
  { vault, zone, now, policy }: Run, checkpoint: NewRow<'checkpoints'>, resource: Row<'vault_resources'>, name: string,
): NewRow<'backups'> {
  const keptBy = checkpoint.auto_trigger === 1 ? policy : undefined
  return {
    id: newUuid<BackupId>(),
    project_id: vault.project_id,
    vault_id: vault.id,
    checkpoint_id: checkpoint.id,
    parent_id: null,
    name,
    description: checkpoint.description,
    status: 'waiting_protect',
    image_type: 'backup',
    resource_id: resource.resource_id,
    resource_name: resource.name ?? '',
    resource_type: resource.resource_type,
    resource_size_gb: resource.size_gb,
    resource_az: vault.availability_zone === '' ? zone : vault.availability_zone,
    enterprise_project_id: vault.enterprise_project_id,
    provider_id: vault.provider_id,
    incremental: checkpoint.incremental,
    auto_trigger: checkpoint.auto_trigger,
    created_at: now,
    updated_at: now,
    protected_at: null,
    expired_at: keptBy === undefined ? null : expiryOf(retentionOf(parseDefinition(keptBy.operation_definition)), now),
    bootable: null,
    snapshot_id: null,
    support_lld: 0,
    // A disk's backup goes back onto a disk; a tree's backup only into a directory that is made for it.
    supported_restore_mode: resource.resource_type === 'OS::Cinder::Volume' ? 'backup' : 'na',
    contain_system_disk: 0,
    // Whatever a repository holds is encrypted.
    encrypted: 1,
    system_disk: 0,
    is_multi_az: vault.is_multi_az,
    os_images_data: null,
    source_path: null,
    content_bytes: 0,
    stored_bytes: 0,
    version: 3,
    policy_id: keptBy?.id ?? null,
  }
}

async function startTask(tx: Transaction, { vault, caller, now, policy, due }: Run, backup: NewRow<'backups'>): Promise<void> {
  const operationLogId = await insertOperationLog(tx, {
    type: 'backup',
    vault,
    checkpointId: backup.checkpoint_id,
    backupId: backup.id,
    resource: { id: backup.resource_id, type: backup.resource_type, name: backup.resource_name },
    policyId: policy?.id,
    requestId: caller.requestId,
    parts: {
      ...(due === undefined ? {} : { schedule: dueTimeToWire(due) }),
      backup: {
        backup_id: backup.id,
        backup_name: backup.name,
        incremental: backup.incremental === 1 ? 'true' : 'false',
        app_consistency_status: '0',
        app_consistency_error_code: '',
        app_consistency_error_message: '',
      },
    },
    createdAt: now,
  })
  await insertJob(tx, {
    kind: 'backup',
    projectId: vault.project_id,
    vaultId: vault.id,
    backupId: backup.id,
    operationLogId,
    payload: { resourceId: backup.resource_id, incremental: backup.incremental === 1 },
    createdAt: now,
  })
}
