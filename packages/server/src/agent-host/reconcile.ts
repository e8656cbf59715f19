/**
 * Puts right, when the server starts, what no agent works on.
 *
 * Every change of a run is one transaction over all rows that it concerns, so after a crash of any
 * process the catalogue holds together: what is in between has a job that waits or is leased. Leased
 * ones whose server is gone wait again; other servers go on with theirs. That is all there is to do after a crash.
 *
 * The rest is for what should never be: rows in between without a job, after a restored copy of the
 * catalogue or a mistake of ours. Nothing would ever move them on, so they end here: a backup that
 * was being made, and one that was being deleted, in error; one that was being restored available.
 *
 * Rows that were filled in for benchmarks stand in every status and never had a job. They are told
 * apart by having no task: whatever a run touches has one, from before the call was answered.
 */
import { changeBackup } from '../backups/index.ts'
import { settleCheckpoint } from '../checkpoints/index.ts'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { BackupStatus, Row } from '../db/schema.ts'
import { listLeasedJobs, parseJobPayload } from '../jobs/index.ts'
import { finishOperation } from '../operations/index.ts'
import type { Membership } from '../servers/index.ts'
import { giveBack } from './end-job.ts'

const NO_JOB = { code: 'BackupService.9910', message: 'The server was stopped and nothing was left to go on with; start it again.' }

const ENDS: Partial<Record<BackupStatus, BackupStatus>> = {
  waiting_protect: 'error',
  protecting: 'error',
  waiting_restore: 'available',
  restoring: 'available',
  waiting_delete: 'error',
  deleting: 'error',
}

export async function reconcile(tx: Transaction, membership: Pick<Membership, 'isListed'>, now: Micros): Promise<void> {
  await takeOver(tx, membership, now)

  const live = await tx.selectFrom('jobs').selectAll().where('status', 'in', ['waiting', 'leased']).execute()
  await endTasks(tx, live, now)
  await endBackups(tx, live, now)
  await endVaults(tx, live, now)
}

/** Gives back the jobs of servers that are gone. */
export async function takeOver(tx: Transaction, membership: Pick<Membership, 'isListed'>, now: Micros): Promise<void> {
  const leased = await listLeasedJobs(tx)
  if (leased.length === 0) return
  const isListed = await membership.isListed(tx)
  for (const job of leased) if (!isListed(job.lease_holder ?? '')) await giveBack(tx, job, now)
}

async function endTasks(tx: Transaction, live: readonly Row<'jobs'>[], now: Micros): Promise<void> {
  const working = new Set(live.map((job) => job.operation_log_id))
  const open = await tx.selectFrom('operation_logs').select('id').where('status', 'in', ['waiting', 'running']).execute()
  for (const { id } of open) {
    if (!working.has(id)) await finishOperation(tx, id, { status: 'failed', now, error: NO_JOB })
  }
}

async function endBackups(tx: Transaction, live: readonly Row<'jobs'>[], now: Micros): Promise<void> {
  const working = new Set(live.map((job) => job.backup_id))
  const wholeVaults = new Set(live.filter((job) => job.kind === 'remove_resource' || job.kind === 'delete_vault').map((job) => job.vault_id))
  const between = await tx.selectFrom('backups').selectAll()
    .where('status', 'in', Object.keys(ENDS) as BackupStatus[])
    .where('id', 'in', tx.selectFrom('operation_logs').select('backup_id').where('backup_id', 'is not', null).$castTo<{ backup_id: Row<'backups'>['id'] }>())
    .execute()
  for (const backup of between) {
    if (working.has(backup.id) || wholeVaults.has(backup.vault_id)) continue
    await changeBackup(tx, backup.project_id, backup.id, { status: ENDS[backup.status] ?? 'error', updated_at: now })
  }
  const checkpoints = await tx.selectFrom('checkpoints').select(['id', 'project_id'])
    .where('status', 'in', ['protecting', 'deleting'])
    .where('id', 'in', tx.selectFrom('operation_logs').select('checkpoint_id').where('checkpoint_id', 'is not', null).$castTo<{ checkpoint_id: Row<'checkpoints'>['id'] }>())
    .execute()
  for (const checkpoint of checkpoints) await settleCheckpoint(tx, checkpoint.project_id, checkpoint.id, { deletionFailed: true })
}

/**
 * Resources of a vault in which something goes on are left to that: a job releases its own at its
 * end. The target of a restore may be in another vault than the backup.
 */
async function endVaults(tx: Transaction, live: readonly Row<'jobs'>[], now: Micros): Promise<void> {
  const busy = new Set(live.map((job) => job.vault_id))
  const targets = live.filter((job) => job.kind === 'restore').map((job) => parseJobPayload(job, 'restore').resourceId)
  for (const vaultId of await listVaultsWithTasks(tx)) {
    if (busy.has(vaultId)) continue
    await tx.updateTable('vaults').set({ status: 'error', updated_at: now }).where('id', '=', vaultId).where('status', '=', 'deleting').execute()
    await tx.updateTable('vault_resources').set({ protect_status: 'available' })
      .where('vault_id', '=', vaultId).where('protect_status', 'in', ['protecting', 'restoring', 'removing'])
      .where('resource_id', 'not in', targets)
      .execute()
  }
}

async function listVaultsWithTasks(reader: Reader): Promise<Row<'vaults'>['id'][]> {
  const rows = await reader.selectFrom('operation_logs').select('vault_id').distinct().execute()
  return rows.map((row) => row.vault_id)
}
