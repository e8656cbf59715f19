import type { Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import { deleteEvents } from '../events/index.ts'
import { deleteJobsOfTasks } from '../jobs/index.ts'
import { deleteOperationLogs } from '../operations/index.ts'
import { deleteVerifications } from '../verify/index.ts'

const DAY_MICROS = 24 * 3600 * 1_000_000
const HISTORY_MICROS = 30 * DAY_MICROS
/** Verifications are evidence, asked for long after. */
const VERIFICATIONS_MICROS = 400 * DAY_MICROS

/** Discards the tasks that ended more than 30 days ago, as the cloud does, and the jobs that belonged to them. */
export async function discardHistory(tx: Transaction, now: Micros): Promise<void> {
  await deleteJobsOfTasks(tx, now - HISTORY_MICROS)
  await deleteOperationLogs(tx, now - HISTORY_MICROS)
  await deleteVerifications(tx, now - VERIFICATIONS_MICROS)
  await deleteEvents(tx, now - HISTORY_MICROS)
}
