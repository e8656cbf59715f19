/** How a job leaves its agent: done, failed, given back, or given up. */
import type { JobEnd } from '@opencbr/agent'
import type { Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { requeueJob, withdrawJob } from '../jobs/index.ts'
import { recordUsage } from '../vaults/index.ts'
import { findJobBackup, ownerOf } from './job-backup.ts'
import { failBackup, recordBackup } from './record-backup.ts'
import { failMigration, isMigration, recordForgetting, recordMigration } from './record-migration.ts'
import { failRemoval, isRemoval, recordRemoval, withdrawRemoval } from './record-removal.ts'
import { failRestore, recordRestore } from './record-restore.ts'
import { failVerification, recordVerification } from './record-verification.ts'
import { toOperationError } from './task-errors.ts'

/** A job whose agent or server died so often is not begun again: it may be what kills them. */
const ATTEMPTS_MAX = 3

export async function recordEnd(
  tx: Transaction, job: Row<'jobs'>, end: JobEnd, usedBytes: number | undefined, now: Micros, stoppedBecause?: StopReason,
): Promise<void> {
  if (usedBytes !== undefined) await recordUsage(tx, ownerOf(job), job.vault_id, usedBytes, now)
  if (end.type === 'parked') await putBack(tx, job, 'parked', now)
  else if (end.type === 'cancelled') await stopEnded(tx, job, stoppedBecause ?? 'cancelled', now)
  else if (end.type === 'failed') await endInFailure(tx, job, end.failure, now)
  else await recordOutcome(tx, job, end.outcome, now)
}

async function recordOutcome(
  tx: Transaction, job: Row<'jobs'>, outcome: Extract<JobEnd, { type: 'done' }>['outcome'], now: Micros,
): Promise<void> {
  if (outcome.kind === 'migrate') {
    await recordMigration(tx, job, outcome, now)
    return
  }
  if (job.kind === 'forget_moved' && outcome.kind === 'forget') {
    await recordForgetting(tx, job, outcome, now)
    return
  }
  if (isRemoval(job.kind)) {
    await recordRemoval(tx, job, now, outcome.kind === 'forget' ? outcome : undefined)
    return
  }
  if (outcome.kind === 'verify') {
    await recordVerification(tx, job, outcome, now)
    return
  }
  const backup = await findJobBackup(tx, job)
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
  if (isMigration(job.kind)) {
    await failMigration(tx, job, error, now)
    return
  }
  if (job.kind === 'verify') {
    await failVerification(tx, job, error, now)
    return
  }
  const backup = await findJobBackup(tx, job)
  if (job.kind === 'backup') await failBackup(tx, job, backup, error, now)
  else await failRestore(tx, job, backup, error, now)
}

/** Why a job that was going on was made to stop for good. */
export type StopReason = 'cancelled' | 'stuck'

/** Ends the task of a job that its agent has stopped, or that died with it. */
export async function stopEnded(tx: Transaction, job: Row<'jobs'>, reason: StopReason, now: Micros): Promise<void> {
  const failure = reason === 'cancelled'
    ? { code: 'task.cancelled', message: `Cancelled while it was running.${tellLeft(job)}` }
    : { code: 'task.stuck', message: `It showed no sign of going on for too long, and was given up.${tellLeft(job)}` }
  await endInFailure(tx, job, failure, now)
}

/**
 * Ends a task whose job waits in the queue, as if it had never been asked for; what has run before, and
 * waits to go on, ends where it is. False when the job does not wait any more.
 */
export async function cancelWaiting(tx: Transaction, job: Row<'jobs'>, now: Micros): Promise<boolean> {
  if (!await withdrawJob(tx, job.id, now)) return false
  const failure = { code: 'task.cancelled', message: `Cancelled before it ran.${job.attempts > 0 ? tellLeft(job) : ''}` }
  if (isRemoval(job.kind)) await withdrawRemoval(tx, job, toOperationError(failure), now)
  else await endInFailure(tx, job, failure, now)
  return true
}

/** Gives a leased job back to the queue, unless somebody wants it to stop. */
export async function putBack(tx: Transaction, job: Row<'jobs'>, how: 'parked' | 'broken_off', now: Micros): Promise<void> {
  if (job.cancel_requested_at === null) await requeueJob(tx, job.id, how)
  else await stopEnded(tx, job, 'cancelled', now)
}

/** A leased job whose holder is dead runs again, unless that has happened too often. */
export async function giveBack(tx: Transaction, job: Row<'jobs'>, now: Micros): Promise<void> {
  if (job.attempts < ATTEMPTS_MAX || job.cancel_requested_at !== null) {
    await putBack(tx, job, 'broken_off', now)
    return
  }
  const message = `The agent died ${job.attempts} times while it worked on this.${tellLeft(job)}`
  await endInFailure(tx, job, { code: 'unknown', message }, now)
}

function tellLeft(job: Row<'jobs'>): string {
  return job.kind === 'restore' ? ' The destination may hold a part of the backup; restoring again goes on from there.' : ''
}
