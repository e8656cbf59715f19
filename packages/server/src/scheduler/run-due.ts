/**
 * Starts what policies are due for.
 *
 * Each binding of a policy to a vault carries its next due time. When that has come, one transaction
 * moves it on, writes the row of `policy_runs` that stands for the due time, and starts the run (or the task
 * that says why not). Moving on is conditional and the row is unique, so of several servers one succeeds,
 * and a server that dies has either done all of it or nothing.
 *
 * After downtime several times have passed: the latest is run, once, and says how many it makes up for. A
 * clock that was put back finds next times too far ahead: they are brought forward to what the schedule says
 * from now on, and the rows keep due times that ran already from running again.
 */
import { dueTimeToWire, startCheckpoint, type DueTime } from '../checkpoints/index.ts'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { PolicyRunOutcome, Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure, failures } from '../failures.ts'
import { randomHex, type CheckpointId } from '../ids.ts'
import { listLiveJobs } from '../jobs/index.ts'
import { finishOperation, insertOperationLog } from '../operations/index.ts'
import { changeBinding, countRuns, findBinding, findPolicy, latestRun, nextRunOf, parseDefinition, scheduleOf } from '../policies/index.ts'
import { bindAutomatically, findVault } from '../vaults/index.ts'

export type SchedulerDeps = Pick<Deps, 'db' | 'clock' | 'config' | 'wakeAgents'>
export type TellMistake = (what: string, error: unknown) => void

type Binding = Row<'vault_policies'>

const PAGE = 200
const MISSED_COUNTED_MAX = 10_000
const FULL_APART_MIN_MICROS = 24 * 3600 * 1_000_000

/** Answers how many due times were dealt with. One that fails by a mistake of ours holds up no other, and is tried again. */
export async function runDue(deps: SchedulerDeps, tell: TellMistake): Promise<number> {
  const now = deps.clock.now()
  let done = 0
  let last: Binding | undefined
  for (;;) {
    const page = await selectDue(deps.db, now, last)
    for (const binding of page) {
      try {
        const isDone = await deps.db.transaction().execute((tx) => runBinding(tx, deps, binding, now))
        if (isDone) done += 1
      } catch (error) {
        tell(`the policy ${binding.policy_id} could not be run in vault ${binding.vault_id}`, error)
      }
    }
    if (page.length < PAGE) break
    last = page.at(-1)
  }
  if (done > 0) deps.wakeAgents()
  return done
}

async function selectDue(reader: Reader, now: Micros, after: Binding | undefined): Promise<Binding[]> {
  let query = reader.selectFrom('vault_policies').selectAll().where('next_run_at', '<=', now)
    .orderBy('next_run_at').orderBy('vault_id').orderBy('operation_type').limit(PAGE)
  if (after !== undefined) {
    query = query.where(({ eb, refTuple, tuple }) =>
      eb(refTuple('next_run_at', 'vault_id', 'operation_type'), '>', tuple(after.next_run_at ?? 0, after.vault_id, after.operation_type)))
  }
  return query.execute()
}

async function runBinding(tx: Transaction, deps: SchedulerDeps, seen: Binding, now: Micros): Promise<boolean> {
  const binding = await findBinding(tx, seen.project_id, seen.vault_id, seen.operation_type)
  if (binding === undefined || binding.next_run_at === null || binding.next_run_at !== seen.next_run_at || binding.policy_id !== seen.policy_id) return false
  const policy = await findPolicy(tx, binding.project_id, binding.policy_id)
  const vault = await findVault(tx, binding.project_id, binding.vault_id)
  // A vault that is going takes its bindings along.
  if (policy === undefined || vault === undefined || vault.status === 'deleting') {
    await changeBinding(tx, binding, { next_run_at: null })
    return false
  }
  const schedule = scheduleOf(policy)
  const from = binding.next_run_at - 1
  const run = policy.enabled === 0 ? undefined : latestRun(schedule, from, now)
  if (!await claim(tx, binding, nextRunOf(policy, now)) || run === undefined) return false
  const due: DueTime = { at: run.at, missed: countRuns(schedule, from, run.at - 1, MISSED_COUNTED_MAX), moved: run.moved }
  if (!await insertRun(tx, binding, due, now)) return false
  const result = binding.operation_type === 'backup'
    ? await startBackups(tx, deps, { binding, policy, vault, due, now })
    : NO_SECOND_REGION
  if (result.outcome !== 'started') await insertEndedTask(tx, { binding, policy, vault, due, now }, result)
  await recordRun(tx, binding, due, result)
  return true
}

/** Whoever moves the next time on has the due times before it to itself. */
async function claim(tx: Transaction, binding: Binding, nextRunAt: Micros | null): Promise<boolean> {
  const { numUpdatedRows } = await tx.updateTable('vault_policies').set({ next_run_at: nextRunAt })
    .where('vault_id', '=', binding.vault_id).where('operation_type', '=', binding.operation_type)
    .where('policy_id', '=', binding.policy_id).where('next_run_at', '=', binding.next_run_at)
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

/** False when this due time has run already, as after a clock was put back. */
async function insertRun(tx: Transaction, binding: Binding, due: DueTime, now: Micros): Promise<boolean> {
  const { numInsertedOrUpdatedRows = 0n } = await tx.insertInto('policy_runs').values({
    policy_id: binding.policy_id,
    vault_id: binding.vault_id,
    due_at: due.at,
    project_id: binding.project_id,
    ran_at: now,
    outcome: 'started',
    checkpoint_id: null,
    error_code: '',
    error_message: '',
    missed: due.missed,
    moved: due.moved ? 1 : 0,
  }).onConflict((conflict) => conflict.columns(['policy_id', 'vault_id', 'due_at']).doNothing()).executeTakeFirst()
  return numInsertedOrUpdatedRows > 0n
}

interface Result {
  readonly outcome: PolicyRunOutcome
  readonly checkpointId: CheckpointId | null
  readonly error: { readonly code: string, readonly message: string }
}

/** Replication policies may be bound only where there is a target; a target that has gone since ends here. */
const NO_SECOND_REGION: Result = {
  outcome: 'failed',
  checkpointId: null,
  error: { code: 'BackupService.1006', message: 'There is no second region that replicas could be sent to.' },
}

interface Occasion {
  readonly binding: Binding
  readonly policy: Row<'policies'>
  readonly vault: Row<'vaults'>
  readonly due: DueTime
  readonly now: Micros
}

async function startBackups(tx: Transaction, deps: SchedulerDeps, { binding, policy, vault, due, now }: Occasion): Promise<Result> {
  const live = await listLiveJobs(tx, vault.project_id, vault.id)
  if (live.some((job) => job.kind === 'backup')) {
    return notStarted('skipped', 'BackupService.0002', 'A backup of this vault was still running when the policy was due.')
  }
  await bindAutomatically(deps, tx, vault)
  const full = isFullDue(binding, parseDefinition(policy.operation_definition).full_backup_interval, now)
  try {
    const { checkpoint } = await startCheckpoint(tx, deps, { projectId: vault.project_id, requestId: randomHex(32) }, {
      vault_id: vault.id, parameters: { auto_trigger: true, policy_id: policy.id, incremental: !full },
    }, due)
    await changeBinding(tx, binding, full ? { runs_since_full: 0, last_full_at: now } : { runs_since_full: binding.runs_since_full + 1 })
    return { outcome: 'started', checkpointId: checkpoint.id, error: { code: '', message: '' } }
  } catch (error) {
    // Refusals come before anything is written.
    if (!(error instanceof Failure)) throw error
    return notStarted(error.code === 'checkpoint.nothing_to_back_up' ? 'skipped' : 'failed', `BackupService.${failures[error.code].code}`, error.message)
  }
}

function notStarted(outcome: 'skipped' | 'failed', code: string, message: string): Result {
  return { outcome, checkpointId: null, error: { code, message } }
}

/** After so many incremental runs one reads everything again, but full ones stay at least a day apart. */
export function isFullDue(
  binding: Pick<Binding, 'runs_since_full' | 'last_full_at'>, interval: number, now: Micros,
): boolean {
  if (interval < 0 || binding.runs_since_full < interval) return false
  return binding.last_full_at === null || Math.abs(now - binding.last_full_at) >= FULL_APART_MIN_MICROS
}

/** A run that did not start has a task all the same, which ends as soon as it begins. */
async function insertEndedTask(tx: Transaction, { binding, policy, vault, due, now }: Occasion, result: Result): Promise<void> {
  const id = await insertOperationLog(tx, {
    type: binding.operation_type,
    vault,
    policyId: policy.id,
    requestId: randomHex(32),
    parts: { schedule: dueTimeToWire(due) },
    createdAt: now,
  })
  await finishOperation(tx, id, { status: result.outcome === 'skipped' ? 'skipped' : 'failed', now, error: result.error })
}

async function recordRun(tx: Transaction, binding: Binding, due: DueTime, { outcome, checkpointId, error }: Result): Promise<void> {
  await tx.updateTable('policy_runs')
    .set({ outcome, checkpoint_id: checkpointId, error_code: error.code, error_message: error.message })
    .where('policy_id', '=', binding.policy_id).where('vault_id', '=', binding.vault_id).where('due_at', '=', due.at)
    .execute()
}

/** Brings forward next times that a clock gone wrong, or a policy changed beside us, has left too far ahead. */
export async function bringForward(deps: Pick<Deps, 'db' | 'clock'>): Promise<void> {
  const now = deps.clock.now()
  let last: Binding | undefined
  for (;;) {
    const page = await selectAhead(deps.db, now, last)
    for (const binding of page) {
      await deps.db.transaction().execute(async (tx) => {
        const policy = await findPolicy(tx, binding.project_id, binding.policy_id)
        const nextRunAt = policy === undefined ? null : nextRunOf(policy, now)
        if (nextRunAt !== null && binding.next_run_at !== null && nextRunAt < binding.next_run_at) await claim(tx, binding, nextRunAt)
      })
    }
    if (page.length < PAGE) return
    last = page.at(-1)
  }
}

async function selectAhead(reader: Reader, now: Micros, after: Binding | undefined): Promise<Binding[]> {
  let query = reader.selectFrom('vault_policies').selectAll().where('next_run_at', '>', now)
    .orderBy('vault_id').orderBy('operation_type').limit(PAGE)
  if (after !== undefined) {
    query = query.where(({ eb, refTuple, tuple }) => eb(refTuple('vault_id', 'operation_type'), '>', tuple(after.vault_id, after.operation_type)))
  }
  return query.execute()
}
