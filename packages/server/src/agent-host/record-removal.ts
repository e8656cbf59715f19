/**
 * What is taken out of a vault, in the catalogue: rows go only after the agent has taken their data
 * out, so nothing is ever unlisted that still costs space for no reason, and a removal that failed
 * leaves rows in error that can be removed again.
 */
import type { ForgetOutcome } from '@opencbr/agent'
import type { ExpressionBuilder } from 'kysely'
import { deleteBackupRows, inParts, setProtectStatus } from '../backups/index.ts'
import { moveCheckpoints, deleteEmptyCheckpoints, settleCheckpoint } from '../checkpoints/index.ts'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { Row, RowChange, Schema } from '../db/schema.ts'
import type { BackupId } from '../ids.ts'
import { finishJob, parseJobPayload } from '../jobs/index.ts'
import { finishOperation, startOperation, type OperationError, type OperationPartsChange } from '../operations/index.ts'
import { deletePolicyRowsOfVault } from '../policies/index.ts'
import { changeVault } from '../vaults/index.ts'
import { deleteScrub } from '../verify/index.ts'

type RemovalKind = 'delete_backup' | 'remove_resource' | 'delete_vault'

export function isRemoval(kind: Row<'jobs'>['kind']): kind is RemovalKind {
  return kind === 'delete_backup' || kind === 'remove_resource' || kind === 'delete_vault'
}

/** Marks everything that goes; answers with the backups that a repository has to forget, children included. */
export async function startRemoval(tx: Transaction, job: Row<'jobs'>, now: Micros): Promise<BackupId[]> {
  await startOperation(tx, job.operation_log_id, now)
  await changeRemoved(tx, job, { status: 'deleting', updated_at: now })
  await settleCheckpoints(tx, job)
  if (job.kind === 'delete_vault') return []
  return (await listRemoved(tx, job)).map((backup) => backup.id)
}

export async function recordRemoval(tx: Transaction, job: Row<'jobs'>, now: Micros, outcome?: ForgetOutcome): Promise<void> {
  const removed = job.kind === 'delete_vault' ? await deleteVaultRows(tx, job) : await deleteListedRows(tx, job)
  await finishOperation(tx, job.operation_log_id, { status: 'success', now, parts: countRemoved(job, 0, removed, outcome) })
  await finishJob(tx, job.id, 'succeeded')
}

export async function failRemoval(tx: Transaction, job: Row<'jobs'>, error: OperationError, now: Micros): Promise<void> {
  await changeRemoved(tx, job, { status: 'error', updated_at: now })
  await settleCheckpoints(tx, job, { deletionFailed: true })
  let failed = 1
  if (job.kind === 'remove_resource') {
    const { resourceIds } = parseJobPayload(job, 'remove_resource')
    await setProtectStatus(tx, job.project_id, job.vault_id, resourceIds, 'error')
    failed = resourceIds.length
  }
  if (job.kind === 'delete_vault') {
    await changeVault(tx, job.project_id, job.vault_id, { status: 'error', updated_at: now })
    const { count } = await tx.selectFrom('vault_resources').select(({ fn }) => fn.countAll<number>().as('count'))
      .where('project_id', '=', job.project_id).where('vault_id', '=', job.vault_id)
      .executeTakeFirstOrThrow()
    failed = Number(count)
  }
  await finishOperation(tx, job.operation_log_id, {
    status: 'failed', now, error: { ...error, code: cloudCode[job.kind as RemovalKind] }, parts: countRemoved(job, failed, 0),
  })
  await finishJob(tx, job.id, 'failed')
}

/** Puts back what a removal had announced that never began. */
export async function withdrawRemoval(tx: Transaction, job: Row<'jobs'>, error: OperationError, now: Micros): Promise<void> {
  if (job.kind === 'delete_backup') {
    const { formerStatus } = parseJobPayload(job, 'delete_backup')
    await changeRemoved(tx, job, { status: formerStatus ?? 'error', updated_at: now })
    await settleCheckpoints(tx, job)
  } else if (job.kind === 'remove_resource') {
    await setProtectStatus(tx, job.project_id, job.vault_id, parseJobPayload(job, 'remove_resource').resourceIds, 'available')
  } else {
    const { formerStatus } = parseJobPayload(job, 'delete_vault')
    await changeVault(tx, job.project_id, job.vault_id, { status: formerStatus ?? 'error', updated_at: now })
  }
  await finishOperation(tx, job.operation_log_id, { status: 'failed', now, error })
  await finishJob(tx, job.id, 'failed')
}

/** Which backups a job takes out; a server's backup takes the parts of it along. */
function isRemoved(job: Row<'jobs'>) {
  return (eb: ExpressionBuilder<Schema, 'backups'>) => {
    const inVault = eb.and([eb('project_id', '=', job.project_id), eb('vault_id', '=', job.vault_id)])
    if (job.kind === 'delete_backup') return eb.and([inVault, eb('id', 'in', parseJobPayload(job, 'delete_backup').backupIds)])
    if (job.kind !== 'remove_resource') return inVault
    const { resourceIds } = parseJobPayload(job, 'remove_resource')
    const whole = eb.selectFrom('backups as whole').select('whole.id')
      .where('whole.project_id', '=', job.project_id).where('whole.vault_id', '=', job.vault_id)
      .where('whole.resource_id', 'in', resourceIds)
    return eb.and([inVault, eb.or([eb('resource_id', 'in', resourceIds), eb('parent_id', 'in', whole)])])
  }
}

function listRemoved(reader: Reader, job: Row<'jobs'>): Promise<Pick<Row<'backups'>, 'id' | 'parent_id' | 'checkpoint_id'>[]> {
  return reader.selectFrom('backups').select(['id', 'parent_id', 'checkpoint_id']).where(isRemoved(job)).orderBy('id').execute()
}

async function changeRemoved(tx: Transaction, job: Row<'jobs'>, change: RowChange<'backups'>): Promise<void> {
  const ids = (await listRemoved(tx, job)).map((backup) => backup.id)
  for (const part of inParts(tx, ids)) await tx.updateTable('backups').set(change).where('project_id', '=', job.project_id).where('id', 'in', part).execute()
}

/** Brings the checkpoints of everything that a job takes out in line. */
async function settleCheckpoints(tx: Transaction, job: Row<'jobs'>, after?: { deletionFailed: true }): Promise<void> {
  if (job.kind === 'delete_vault') {
    await tx.updateTable('checkpoints').set({ status: after === undefined ? 'deleting' : 'error-deleting' })
      .where('project_id', '=', job.project_id).where('vault_id', '=', job.vault_id)
      .execute()
    return
  }
  const rows = await tx.selectFrom('backups').select('checkpoint_id').distinct().where(isRemoved(job)).execute()
  for (const { checkpoint_id: id } of rows) await settleCheckpoint(tx, job.project_id, id, after)
}

/** Answers how many backups went, parts of others included. */
async function deleteListedRows(tx: Transaction, job: Row<'jobs'>): Promise<number> {
  const backups = await listRemoved(tx, job)
  await deleteBackupRows(tx, job.project_id, backups.filter((backup) => backup.parent_id === null).map((backup) => backup.id))
  const checkpointIds = [...new Set(backups.map((backup) => backup.checkpoint_id))]
  await deleteEmptyCheckpoints(tx, job.project_id, checkpointIds)
  for (const id of checkpointIds) await settleCheckpoint(tx, job.project_id, id)
  if (job.kind === 'remove_resource') {
    await tx.deleteFrom('vault_resources')
      .where('project_id', '=', job.project_id).where('vault_id', '=', job.vault_id)
      .where('resource_id', 'in', parseJobPayload(job, 'remove_resource').resourceIds)
      .execute()
  }
  return backups.length
}

/** Tasks stay: they are the record of what happened to the vault. Answers how many backups went. */
async function deleteVaultRows(tx: Transaction, job: Row<'jobs'>): Promise<number> {
  const { project_id, vault_id } = job
  const backups = await listRemoved(tx, job)
  const listed = new Set(backups.map((backup) => backup.id))
  // Parts go with what they are parts of.
  await deleteBackupRows(tx, project_id, backups.filter(({ parent_id: parent }) => parent === null || !listed.has(parent)).map((backup) => backup.id))
  // What others shared and this vault had accepted is given back.
  await tx.updateTable('backup_members').set({ status: 'rejected', vault_id: null })
    .where('dest_project_id', '=', project_id).where('vault_id', '=', vault_id).execute()
  // Of a run whose resources were moved apart, other backups may be left elsewhere.
  const shared = await tx.selectFrom('checkpoints').select('id').where('project_id', '=', project_id).where('vault_id', '=', vault_id)
    .where(({ exists, selectFrom }) => exists(selectFrom('backups').select('backups.id')
      .whereRef('backups.project_id', '=', 'checkpoints.project_id').whereRef('backups.checkpoint_id', '=', 'checkpoints.id')))
    .execute()
  await moveCheckpoints(tx, project_id, vault_id, shared.map(({ id }) => id))
  // They showed as going with this vault, and do not.
  for (const { id } of shared) await settleCheckpoint(tx, project_id, id)
  await tx.deleteFrom('checkpoints').where('project_id', '=', project_id).where('vault_id', '=', vault_id).execute()
  await tx.deleteFrom('vault_resources').where('project_id', '=', project_id).where('vault_id', '=', vault_id).execute()
  await deletePolicyRowsOfVault(tx, project_id, vault_id)
  await tx.deleteFrom('vault_tags').where('vault_id', '=', vault_id).execute()
  await deleteScrub(tx, project_id, vault_id)
  await tx.deleteFrom('vaults').where('project_id', '=', project_id).where('id', '=', vault_id).execute()
  return backups.length
}

const cloudCode: Record<RemovalKind, string> = {
  delete_backup: 'BackupService.9910',
  remove_resource: 'BackupService.6115',
  delete_vault: 'BackupService.6121',
}

function countRemoved(job: Row<'jobs'>, failed: number, removed: number, outcome?: ForgetOutcome): OperationPartsChange | undefined {
  const space = outcome === undefined ? {} : tellSpace(outcome)
  if (job.kind === 'remove_resource') return { remove_resources: { fail_count: failed, total_count: removed, ...space } }
  if (job.kind === 'delete_backup') return { delete: space }
  return {
    vault_delete: { fail_count: failed, total_count: removed, fail_delete_count: failed, total_delete_count: removed },
  }
}

function tellSpace({ freedBytes, pendingBytes, warnings, warningCount }: ForgetOutcome) {
  return {
    ...(freedBytes === undefined ? {} : { freed_bytes: freedBytes }),
    ...(pendingBytes === undefined ? {} : { pending_bytes: pendingBytes }),
    ...(warningCount === 0 ? {} : { warnings: [...warnings], warning_count: warningCount }),
  }
}
