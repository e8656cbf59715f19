/**
 * A restore's run in the catalogue. The backup is what it was, whatever becomes of the restore: it
 * goes available -> waiting_restore -> restoring -> available. How the restore went stands in its task.
 */
import type { RestoreOutcome } from '@opencbr/agent'
import { changeBackup, setProtectStatus } from '../backups/index.ts'
import type { Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { ResourceId } from '../ids.ts'
import { finishJob, listLiveJobs, parseJobPayload } from '../jobs/index.ts'
import {
  describeOperation, finishOperation, startOperation, type OperationError, type OperationPartsChange,
} from '../operations/index.ts'
import { toOperationError } from './task-errors.ts'

export async function startRestore(tx: Transaction, job: Row<'jobs'>, backup: Row<'backups'>, now: Micros): Promise<void> {
  await changeBackup(tx, backup.project_id, backup.id, { status: 'restoring', updated_at: now })
  await startOperation(tx, job.operation_log_id, now)
  const interruptions = job.attempts - 1
  if (interruptions > 0) await describeOperation(tx, job.operation_log_id, { restore: { interruptions } }, now)
}

export async function recordRestore(
  tx: Transaction, job: Row<'jobs'>, backup: Row<'backups'>, outcome: RestoreOutcome, now: Micros,
): Promise<void> {
  const { warnings, warningCount } = outcome
  const parts = warningCount === 0 ? undefined : { restore: { warnings: [...warnings], warning_count: warningCount } }
  if (!outcome.whole) {
    const [first] = warnings
    const example = first === undefined ? '' : `, first ${first.path}: ${first.message}`
    const message = `The restore is not whole: of ${warningCount} warnings some tell of missing content${example}`
    await failRestore(tx, job, backup, toOperationError({ code: 'unknown', message }), now, parts)
    return
  }
  await endRestore(tx, job, backup, now)
  await finishOperation(tx, job.operation_log_id, { status: 'success', now, parts })
  await finishJob(tx, job.id, 'succeeded')
}

/** What was restored until then stays where it is; running the restore again goes on from there. */
export async function failRestore(
  tx: Transaction, job: Row<'jobs'>, backup: Row<'backups'> | undefined, error: OperationError, now: Micros, parts?: OperationPartsChange,
): Promise<void> {
  await endRestore(tx, job, backup, now)
  await finishOperation(tx, job.operation_log_id, { status: 'failed', now, error, parts })
  await finishJob(tx, job.id, 'failed')
}

async function endRestore(tx: Transaction, job: Row<'jobs'>, backup: Row<'backups'> | undefined, now: Micros): Promise<void> {
  await releaseResource(tx, job, parseJobPayload(job, 'restore').resourceId)
  if (backup !== undefined) await changeBackup(tx, backup.project_id, backup.id, { status: 'available', updated_at: now })
}

/**
 * The target may sit in another vault than the backup; and other restores of the same resource, to
 * other directories, may still be under way.
 */
async function releaseResource(tx: Transaction, job: Row<'jobs'>, resourceId: ResourceId): Promise<void> {
  const others = (await listLiveJobs(tx, job.project_id)).filter((each) => each.kind === 'restore' && each.id !== job.id)
  if (others.some((each) => parseJobPayload(each, 'restore').resourceId === resourceId)) return
  const holders = await tx.selectFrom('vault_resources').select('vault_id')
    .where('project_id', '=', job.project_id).where('resource_id', '=', resourceId).where('protect_status', '=', 'restoring')
    .execute()
  for (const { vault_id } of holders) await setProtectStatus(tx, job.project_id, vault_id, [resourceId], 'available')
}
