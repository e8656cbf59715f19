import { cancelWaiting, isRemoval } from '../agent-host/index.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId } from '../ids.ts'
import { findJobOfTask, requestCancellation } from '../jobs/index.ts'
import { showOperationLog } from '../operations/index.ts'
import { assertMayAskFor, type TaskCaller } from './actions.ts'

/**
 * Stops a task. One that waits never starts, and has ended when this returns; one that runs is told to
 * stop, and ends when it has, as failed and cancelled, unless it was done before it heard of it. What
 * takes backups out cannot be stopped once it has begun: there would be no way back. Whoever may not make the call that the task
 * came from may not stop it either.
 */
export async function cancelTask(
  deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents'>, caller: TaskCaller & { readonly projectId: ProjectId }, id: string,
): Promise<Row<'operation_logs'>> {
  const { projectId } = caller
  await deps.db.transaction().execute(async (tx) => {
    const task = await showOperationLog(tx, projectId, id)
    if (task.status !== 'waiting' && task.status !== 'running') throw notCancellable(task, `it has ended already, as ${task.status}`)
    await cancelLive(tx, caller, task, deps.clock.now())
  })
  deps.wakeAgents()
  return showOperationLog(deps.db, projectId, id)
}

async function cancelLive(tx: Transaction, caller: TaskCaller, task: Row<'operation_logs'>, now: number): Promise<void> {
  const job = await findJobOfTask(tx, task.project_id, task.id)
  if (job === undefined) throw notCancellable(task, 'nothing works on it')
  assertMayAskFor(caller, job.kind, task.enterprise_project_id)
  if (isRemoval(job.kind) && task.status === 'running') throw notCancellable(task, 'what it removes is being removed already')
  if (await cancelWaiting(tx, job, now)) return
  // Leased between the two looks: then its removal has begun, and what else it is can be told to stop.
  if (isRemoval(job.kind)) throw notCancellable(task, 'what it removes is being removed already')
  if (!await requestCancellation(tx, job.id, now)) throw notCancellable(task, 'it is ending at this moment')
}

function notCancellable({ id }: Row<'operation_logs'>, reason: string): Failure {
  return new Failure('task.cannot_be_cancelled', { taskId: id, reason })
}
