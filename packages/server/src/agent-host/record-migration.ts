/**
 * The migration of resources into another vault, in the catalogue. Two jobs, one task:
 *
 * 1. `migrate_resource` copies the backups and verifies the copies. When it has, one transaction moves
 *    resources, backups and checkpoints to the target vault and queues the second job; until then everything
 *    is in the source, and from then on everything is in the target.
 * 2. `forget_moved` takes the old copies out of the source, and ends the task.
 *
 * A migration that fails or is cancelled leaves the catalogue as it was, and queues the second job for the
 * target, where parts of copies may lie.
 */
import type { MigrateAssignment, MigrateOutcome, VaultAccess } from '@opencbr/agent'
import { setProtectStatus } from '../backups/index.ts'
import { moveCheckpoints } from '../checkpoints/index.ts'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { ResourceId, VaultId } from '../ids.ts'
import { finishJob, insertJob, parseJobPayload } from '../jobs/index.ts'
import { finishOperation, startOperation, type OperationError } from '../operations/index.ts'
import { changeVault, findVault, recordUsage, roomOf } from '../vaults/index.ts'
import type { ForgetOutcome } from '@opencbr/agent'

type MigrationKind = 'migrate_resource' | 'forget_moved'

export function isMigration(kind: Row<'jobs'>['kind']): kind is MigrationKind {
  return kind === 'migrate_resource' || kind === 'forget_moved'
}

/** Undefined when the target is gone. `open` says how a vault is reached, or undefined when its password does not open. */
export async function startMigration(
  tx: Transaction, job: Row<'jobs'>, vault: VaultAccess, open: (row: Row<'vaults'>) => Promise<VaultAccess | undefined>, now: Micros,
): Promise<MigrateAssignment | undefined> {
  await startOperation(tx, job.operation_log_id, now)
  const row = await findVault(tx, job.project_id, targetOf(job))
  const target = row === undefined ? undefined : await open(row)
  if (row === undefined || target === undefined) return undefined
  const backups = await listMoving(tx, job, parseJobPayload(job, 'migrate_resource').resourceIds)
  return { kind: 'migrate', jobId: job.id, vault, target, backupIds: backups.map((backup) => backup.id), roomBytes: roomOf(row) }
}

export async function recordMigration(tx: Transaction, job: Row<'jobs'>, outcome: MigrateOutcome, now: Micros): Promise<void> {
  const targetId = targetOf(job)
  const { resourceIds } = parseJobPayload(job, 'migrate_resource')
  const copies = new Map(outcome.snapshots.map((each) => [each.sourceId, each.targetId]))
  const backups = await listMoving(tx, job, resourceIds)
  const lost = backups.find((backup) => backup.status === 'available' && backup.snapshot_id !== null && !copies.has(backup.snapshot_id))
  if (lost !== undefined) {
    const message = `The snapshot of the backup ${lost.name} is not in the vault that it should be moved out of: verify the vault.`
    await failMigration(tx, job, { code: 'BackupService.9910', message }, now)
    return
  }
  if (outcome.target !== undefined) {
    await changeVault(tx, job.project_id, targetId, { repository_url: outcome.target.repositoryUrl, repository_id: outcome.target.repositoryId })
  }
  for (const backup of backups) {
    const copy = backup.snapshot_id === null ? undefined : copies.get(backup.snapshot_id)
    await tx.updateTable('backups')
      .set({ vault_id: targetId, updated_at: now, ...(backup.snapshot_id === null ? {} : { snapshot_id: copy ?? null }) })
      .where('project_id', '=', job.project_id).where('id', '=', backup.id)
      .execute()
  }
  const moved = tx.selectFrom('backups').select('id').where('project_id', '=', job.project_id).where('vault_id', '=', targetId).where('resource_id', 'in', resourceIds)
  await tx.updateTable('replication_records').set({ vault_id: targetId }).where('backup_id', 'in', moved).execute()
  await tx.updateTable('planned_expiries').set({ vault_id: targetId }).where('backup_id', 'in', moved).execute()
  await tx.updateTable('vault_resources').set({ vault_id: targetId, protect_status: 'available' })
    .where('project_id', '=', job.project_id).where('vault_id', '=', job.vault_id).where('resource_id', 'in', resourceIds)
    .execute()
  await moveCheckpoints(tx, job.project_id, job.vault_id, backups.map((backup) => backup.checkpoint_id))
  if (outcome.target?.usedBytes !== undefined) await recordUsage(tx, job.project_id, targetId, outcome.target.usedBytes, now)
  await finishJob(tx, job.id, 'succeeded')
  await queueForgetting(tx, job, job.vault_id, backups, now)
}

/** The old copies are out, or could not be taken out; the backups are in the target either way. */
export async function recordForgetting(tx: Transaction, job: Row<'jobs'>, _outcome: ForgetOutcome, now: Micros): Promise<void> {
  await finishOperation(tx, job.operation_log_id, { status: 'success', now })
  await finishJob(tx, job.id, 'succeeded')
}

export async function failMigration(tx: Transaction, job: Row<'jobs'>, error: OperationError, now: Micros): Promise<void> {
  await finishJob(tx, job.id, 'failed')
  if (job.kind === 'forget_moved') {
    const message = `The resources have been moved, but their old copies still take up space in the vault that they came from. ${error.message}`
    await finishOperation(tx, job.operation_log_id, { status: 'failed', now, error: { ...error, message } })
    return
  }
  const { resourceIds } = parseJobPayload(job, 'migrate_resource')
  await setProtectStatus(tx, job.project_id, job.vault_id, resourceIds, 'available')
  await finishOperation(tx, job.operation_log_id, { status: 'failed', now, error })
  const target = await findVault(tx, job.project_id, targetOf(job))
  if (job.attempts > 0 && target !== undefined) await queueForgetting(tx, job, target.id, await listMoving(tx, job, resourceIds), now)
}

async function queueForgetting(tx: Transaction, job: Row<'jobs'>, vaultId: VaultId, backups: readonly Row<'backups'>[], now: Micros): Promise<void> {
  await insertJob(tx, {
    kind: 'forget_moved',
    projectId: job.project_id,
    vaultId,
    operationLogId: job.operation_log_id,
    payload: { backupIds: backups.map((backup) => backup.id) },
    createdAt: now,
  })
}

/** Of the resources, in the source vault, parts of backups included. */
function listMoving(reader: Reader, job: Row<'jobs'>, resourceIds: readonly ResourceId[]): Promise<Row<'backups'>[]> {
  return reader.selectFrom('backups').selectAll()
    .where('project_id', '=', job.project_id).where('vault_id', '=', job.vault_id)
    .where(({ eb, or, selectFrom }) => or([
      eb('resource_id', 'in', resourceIds),
      eb('parent_id', 'in', selectFrom('backups as whole').select('whole.id')
        .where('whole.project_id', '=', job.project_id).where('whole.vault_id', '=', job.vault_id).where('whole.resource_id', 'in', resourceIds)),
    ]))
    .orderBy('id').execute()
}

function targetOf(job: Row<'jobs'>): VaultId {
  if (job.target_vault_id === null) throw new TypeError('a migration has a target')
  return job.target_vault_id
}
