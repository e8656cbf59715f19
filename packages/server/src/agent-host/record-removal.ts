/**
 * What is taken out of a vault, in the catalogue: rows go only after the agent has taken their data
 * out, so nothing is ever unlisted that still costs space for no reason, and a removal that failed
 * leaves rows in error that can be removed again.
 */
import { deleteBackupRows, listBackupsOfVault, setProtectStatus } from '../backups/index.ts'
import { settleCheckpoint } from '../checkpoints/index.ts'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { Row, RowChange } from '../db/schema.ts'
import type { BackupId } from '../ids.ts'
import { finishJob, parseJobPayload } from '../jobs/index.ts'
import { finishOperation, startOperation, type OperationError } from '../operations/index.ts'
import { changeVault } from '../vaults/index.ts'

type RemovalKind = 'delete_backup' | 'remove_resource' | 'delete_vault'

export function isRemoval(kind: Row<'jobs'>['kind']): kind is RemovalKind {
  return kind === 'delete_backup' || kind === 'remove_resource' || kind === 'delete_vault'
}

/** The backups that a job takes out, children included. */
export async function listRemovedBackups(reader: Reader, job: Row<'jobs'>): Promise<Row<'backups'>[]> {
  const all = await listBackupsOfVault(reader, job.project_id, job.vault_id)
  if (job.kind === 'delete_vault') return all
  if (job.kind === 'remove_resource') {
    const resources = new Set(parseJobPayload(job, 'remove_resource').resourceIds)
    const chosen = new Set(all.filter((backup) => resources.has(backup.resource_id)).map((backup) => backup.id))
    return all.filter((backup) => chosen.has(backup.id) || (backup.parent_id !== null && chosen.has(backup.parent_id)))
  }
  const chosen = new Set(parseJobPayload(job, 'delete_backup').backupIds)
  return all.filter((backup) => chosen.has(backup.id))
}

export async function startRemoval(tx: Transaction, job: Row<'jobs'>, now: Micros): Promise<Row<'backups'>[]> {
  const backups = await listRemovedBackups(tx, job)
  await changeBackups(tx, backups.map((backup) => backup.id), { status: 'deleting', updated_at: now })
  await startOperation(tx, job.operation_log_id, now)
  return backups
}

export async function recordRemoval(tx: Transaction, job: Row<'jobs'>, now: Micros): Promise<void> {
  const backups = await listRemovedBackups(tx, job)
  for (const backup of backups.filter((each) => each.parent_id === null)) await deleteBackupRows(tx, job.project_id, backup.id)
  for (const id of new Set(backups.map((backup) => backup.checkpoint_id))) await settleCheckpoint(tx, job.project_id, id)
  if (job.kind === 'remove_resource') {
    await tx.deleteFrom('vault_resources')
      .where('project_id', '=', job.project_id).where('vault_id', '=', job.vault_id)
      .where('resource_id', 'in', parseJobPayload(job, 'remove_resource').resourceIds)
      .execute()
  }
  if (job.kind === 'delete_vault') await deleteVaultRows(tx, job)
  await finishOperation(tx, job.operation_log_id, { status: 'success', now, parts: countRemoved(job, 0, backups.length) })
  await finishJob(tx, job.id, 'succeeded')
}

export async function failRemoval(tx: Transaction, job: Row<'jobs'>, error: OperationError, now: Micros): Promise<void> {
  const backups = await listRemovedBackups(tx, job)
  await changeBackups(tx, backups.map((backup) => backup.id), { status: 'error', updated_at: now })
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

const cloudCode: Record<RemovalKind, string> = {
  delete_backup: 'BackupService.9910',
  remove_resource: 'BackupService.6115',
  delete_vault: 'BackupService.6121',
}

function countRemoved(job: Row<'jobs'>, failed: number, removed: number) {
  if (job.kind === 'remove_resource') return { remove_resources: { fail_count: failed, total_count: removed } }
  if (job.kind !== 'delete_vault') return undefined
  return {
    vault_delete: { fail_count: failed, total_count: removed, fail_delete_count: failed, total_delete_count: removed },
  }
}

/** Tasks stay: they are the record of what happened to the vault. */
async function deleteVaultRows(tx: Transaction, { project_id, vault_id }: Row<'jobs'>): Promise<void> {
  await tx.deleteFrom('checkpoints').where('project_id', '=', project_id).where('vault_id', '=', vault_id).execute()
  await tx.deleteFrom('vault_resources').where('project_id', '=', project_id).where('vault_id', '=', vault_id).execute()
  await tx.deleteFrom('vault_tags').where('vault_id', '=', vault_id).execute()
  await tx.deleteFrom('vaults').where('project_id', '=', project_id).where('id', '=', vault_id).execute()
}

const IDS_PER_STATEMENT = 1000

async function changeBackups(tx: Transaction, ids: readonly BackupId[], change: RowChange<'backups'>): Promise<void> {
  for (let at = 0; at < ids.length; at += IDS_PER_STATEMENT) {
    await tx.updateTable('backups').set(change).where('id', 'in', ids.slice(at, at + IDS_PER_STATEMENT)).execute()
  }
}
