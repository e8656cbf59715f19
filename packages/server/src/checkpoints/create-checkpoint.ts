import type { CreateCheckpointBody } from '@opencbr/contract'
import { insertBackups, setProtectStatus } from '../backups/index.ts'
import type { Transaction } from '../db/database.ts'
import type { NewRow, Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import { newUuid, randomHex, type BackupId, type CheckpointId, type ProjectId, type ResourceId, type VaultId } from '../ids.ts'
import { insertJob } from '../jobs/index.ts'
import { insertOperationLog } from '../operations/index.ts'
import { parseUuid } from '../parse-id.ts'
import { chooseResources, nameBackup, nameRun } from './checkpoint.ts'
import { findVaultToRun, insertCheckpoint, listResourcesToRun, listWrittenTo } from './checkpoint-store.ts'
import type { CheckpointView } from './checkpoint-wire.ts'
import { findCheckpointView } from './show-checkpoint.ts'

type Order = CreateCheckpointBody['checkpoint']
type Parameters = NonNullable<Order['parameters']>

const BYTES_PER_GB = 1024 ** 3

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
  const vaultId = parseUuid<VaultId>('checkpoint.vault_id', order.vault_id)
  const parameters = order.parameters ?? {}
  const named = readNamedResources(parameters)
  const view = await deps.db.transaction().execute(async (tx) => {
    const vault = await findVaultToRun(tx, caller.projectId, vaultId)
    if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
    assertMayRun(vault)
    if (parameters.policy_id !== undefined) throw new Failure('policy.not_found', { policyId: parameters.policy_id })
    const resources = pickNamed(vault, await listResourcesToRun(tx, caller.projectId, vaultId), named)
    return startRun(tx, { vault, resources, parameters, caller, now: deps.clock.now(), zone: deps.config.region })
  })
  deps.wakeAgents()
  return view
}

function assertMayRun(vault: Row<'vaults'>): void {
  const vaultId = vault.id
  if (vault.protect_type !== 'backup') throw new Failure('vault.kind_forbids_backup', { vaultId })
  if (vault.status !== 'available') throw new Failure('vault.status_forbids_backup', { vaultId, status: vault.status })
  if (vault.used_bytes > vault.size_gb * BYTES_PER_GB && vault.demand_billing === 0) {
    throw new Failure('vault.over_capacity', { vaultId })
  }
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
  { vault, zone, now }: Run, checkpoint: NewRow<'checkpoints'>, resource: Row<'vault_resources'>, name: string,
): NewRow<'backups'> {
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
    expired_at: null,
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
  }
}

async function startTask(tx: Transaction, { vault, caller, now }: Run, backup: NewRow<'backups'>): Promise<void> {
  const operationLogId = await insertOperationLog(tx, {
    type: 'backup',
    vault,
    checkpointId: backup.checkpoint_id,
    backupId: backup.id,
    resource: { id: backup.resource_id, type: backup.resource_type, name: backup.resource_name },
    requestId: caller.requestId,
    parts: {
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
