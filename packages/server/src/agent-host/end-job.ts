/** How a job leaves its agent: done, failed, given back, or given up. */
import type { JobEnd } from '@opencbr/agent'
import { findBackup } from '../backups/index.ts'
import type { Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { requeueJob } from '../jobs/index.ts'
import { changeVault } from '../vaults/index.ts'
import { failBackup, recordBackup } from './record-backup.ts'
import { failRemoval, isRemoval, recordRemoval } from './record-removal.ts'
import { failRestore, recordRestore } from './record-restore.ts'
import { toOperationError } from './task-errors.ts'

/** A job whose agent or server died so often is not begun again: it may be what kills them. */
const ATTEMPTS_MAX = 3

export async function recordEnd(
  tx: Transaction, job: Row<'jobs'>, end: JobEnd, usedBytes: number | undefined, now: Micros,
): Promise<void> {
  if (usedBytes !== undefined) await changeVault(tx, job.project_id, job.vault_id, { used_bytes: usedBytes })
  if (end.type === 'parked') await requeueJob(tx, job.id, 'parked')
  else if (end.type === 'failed') await endInFailure(tx, job, end.failure, now)
  else await recordOutcome(tx, job, end.outcome, now)
}

async function recordOutcome(
  tx: Transaction, job: Row<'jobs'>, outcome: Extract<JobEnd, { type: 'done' }>['outcome'], now: Micros,
): Promise<void> {
  if (isRemoval(job.kind)) {
    await recordRemoval(tx, job, now, outcome.kind === 'forget' ? outcome : undefined)
    return
  }
  const backup = job.backup_id === null ? undefined : await findBackup(tx, job.project_id, job.backup_id)
  if (backup !== undefined && outcome.kind === 'backup') await recordBackup(tx, job, backup, outcome, now)
  else if (backup !== undefined && outcome.kind === 'restore') await recordRestore(tx, job, backup, outcome, now)
  else await endInFailure(tx, job, { code: 'unknown', message: 'The backup is gone.' }, now)
}

export async function endInFailure(
  tx: Transaction, job: Row<'jobs'>, failure: { readonly code: string, readonly message: string }, now: Micros,
): Promise<void> {
  const error = toOperationError(failure)
  if (isRemoval(job.kind)) {
    await failRemoval(tx, job, error, now)
    return
  }
  const backup = job.backup_id === null ? undefined : await findBackup(tx, job.project_id, job.backup_id)
  if (job.kind === 'backup') await failBackup(tx, job, backup, error, now)
  else await failRestore(tx, job, backup, error, now)
}

/** A leased job whose holder is dead runs again, unless that has happened too often. */
export async function giveBack(tx: Transaction, job: Row<'jobs'>, now: Micros): Promise<void> {
  if (job.attempts < ATTEMPTS_MAX) {
    await requeueJob(tx, job.id, 'broken_off')
    return
  }
  const left = job.kind === 'restore' ? ' The destination may hold a part of the backup; restoring again goes on from there.' : ''
  await endInFailure(tx, job, { code: 'unknown', message: `The agent died ${job.attempts} times while it worked on this.${left}` }, now)
}
