/**
 * A backup's run in the catalogue: waiting_protect -> protecting -> available | error. Each step is
 * one transaction that moves backup, resource, checkpoint, task and job together, so none of them
 * ever contradicts another.
 */
import type { BackupOutcome } from '@opencbr/agent'
import { recordAgentRun } from '../agents/index.ts'
import { changeBackup, setProtectStatus } from '../backups/index.ts'
import { settleCheckpoint } from '../checkpoints/index.ts'
import type { Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { finishJob, parseJobPayload } from '../jobs/index.ts'
import { finishOperation, startOperation, type OperationError, type OperationPartsChange } from '../operations/index.ts'
import { sizeInGb } from '../resources/index.ts'
import { changeVault } from '../vaults/index.ts'
import { toOperationError } from './task-errors.ts'

export async function startBackup(tx: Transaction, job: Row<'jobs'>, backup: Row<'backups'>, now: Micros): Promise<void> {
  await changeBackup(tx, job.project_id, backup.id, { status: 'protecting', updated_at: now })
  await startOperation(tx, job.operation_log_id, now)
}

export async function recordBackup(
  tx: Transaction, job: Row<'jobs'>, backup: Row<'backups'>, outcome: BackupOutcome, now: Micros,
): Promise<void> {
  await changeBackup(tx, job.project_id, backup.id, {
    snapshot_id: outcome.snapshotId,
    source_path: outcome.sourcePath,
    content_bytes: outcome.contentBytes,
    stored_bytes: outcome.storedBytes,
    resource_size_gb: sizeInGb(outcome.contentBytes),
    bootable: outcome.bootable === undefined ? null : outcome.bootable ? 1 : 0,
  })
  await changeVault(tx, job.project_id, job.vault_id, { repository_url: outcome.repositoryUrl, repository_id: outcome.repositoryId })
  if (!outcome.whole) {
    await failBackup(tx, job, backup, toOperationError({ code: 'source.incomplete', message: tellMissing(outcome) }), now, tellWarnings(outcome))
    return
  }
  await changeBackup(tx, job.project_id, backup.id, { status: 'available', protected_at: now, updated_at: now })
  await recordResourceSize(tx, job, backup, outcome.contentBytes, now)
  await setProtectStatus(tx, job.project_id, job.vault_id, [backup.resource_id], 'available')
  await recordAgentRun(tx, job.project_id, backup.resource_id, now)
  await settleCheckpoint(tx, job.project_id, backup.checkpoint_id)
  await finishOperation(tx, job.operation_log_id, { status: 'success', now, parts: tellWarnings(outcome) })
  await finishJob(tx, job.id, 'succeeded')
}

export async function failBackup(
  tx: Transaction, job: Row<'jobs'>, backup: Row<'backups'> | undefined, error: OperationError, now: Micros, parts?: OperationPartsChange,
): Promise<void> {
  // The resource can be tried again; that it failed stands in the backup and in the task.
  const { resourceId } = parseJobPayload(job, 'backup')
  await setProtectStatus(tx, job.project_id, job.vault_id, [resourceId], 'available')
  await recordAgentRun(tx, job.project_id, resourceId, now)
  if (backup !== undefined) {
    await changeBackup(tx, job.project_id, backup.id, { status: 'error', updated_at: now })
    await settleCheckpoint(tx, job.project_id, backup.checkpoint_id)
  }
  await finishOperation(tx, job.operation_log_id, { status: 'failed', now, error, parts })
  await finishJob(tx, job.id, 'failed')
}

/** The size that was looked up when the resource was declared may be an estimate, or long outdated. */
async function recordResourceSize(
  tx: Transaction, job: Row<'jobs'>, backup: Row<'backups'>, contentBytes: number, now: Micros,
): Promise<void> {
  await tx.updateTable('resources').set({ size_bytes: contentBytes, updated_at: now })
    .where('project_id', '=', job.project_id).where('id', '=', backup.resource_id)
    .execute()
  await tx.updateTable('vault_resources').set({ size_gb: sizeInGb(contentBytes) })
    .where('project_id', '=', job.project_id).where('vault_id', '=', job.vault_id).where('resource_id', '=', backup.resource_id)
    .execute()
}

const MISSING_NAMED_MAX = 3

function tellMissing({ missingPaths, missingCount }: BackupOutcome): string {
  const named = missingPaths.slice(0, MISSING_NAMED_MAX).join(', ')
  const rest = missingCount - Math.min(missingPaths.length, MISSING_NAMED_MAX)
  const places = rest > 0 ? `${named} and ${rest} more` : named
  return `The backup is not whole: ${missingCount} files or directories could not be read, or not in full (${places}). What was read is kept until the backup is deleted.`
}

function tellWarnings({ warnings, warningCount }: BackupOutcome): OperationPartsChange {
  return warningCount === 0 ? {} : { backup: { warnings: [...warnings], warning_count: warningCount } }
}
