import { deleteBackup, findBackup, restoreBackup } from '../backups/index.ts'
import { createCheckpoint } from '../checkpoints/index.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId } from '../ids.ts'
import { findJobOfTask, parseJobPayload } from '../jobs/index.ts'
import { getOperationOfRequest, showOperationLog } from '../operations/index.ts'
import { deleteVault, removeResources } from '../vaults/index.ts'
import { assertMayAskFor, type TaskCaller } from './actions.ts'

type RetryDeps = Pick<Deps, 'db' | 'clock' | 'config' | 'wakeAgents'>

interface Caller extends TaskCaller {
  readonly projectId: ProjectId
  readonly requestId: string
}

/**
 * Asks again for what a task did not get done, as if its call were repeated: all checks are made anew, and
 * the answer is the new task. A backup is made again of the source as it is now, in a run of its own.
 * Whoever may not make the call may not have it repeated either.
 */
export async function retryTask(deps: RetryDeps, caller: Caller, id: string): Promise<Row<'operation_logs'>> {
  const task = await showOperationLog(deps.db, caller.projectId, id)
  if (task.status !== 'failed' && task.status !== 'timeout') {
    throw notRetriable(task, `its status is ${task.status}; only what failed, timed out or was cancelled can be`)
  }
  const job = await findJobOfTask(deps.db, caller.projectId, task.id)
  if (job === undefined) throw notRetriable(task, 'what it was told to do is not known any more')
  assertMayAskFor(caller, job.kind, task.enterprise_project_id)
  await askAgain(deps, caller, task, job)
  return getOperationOfRequest(deps.db, caller.projectId, caller.requestId)
}

async function askAgain(deps: RetryDeps, caller: Caller, task: Row<'operation_logs'>, job: Row<'jobs'>): Promise<void> {
  switch (job.kind) {
    case 'backup':
      return backUpAgain(deps, caller, task, job)
    case 'restore': {
      const payload = parseJobPayload(job, 'restore')
      const order = payload.target === 'disk' ? { volume_id: payload.resourceId } : { details: { destination_path: payload.destinationPath } }
      await restoreBackup(deps, caller, job.backup_id ?? '', order)
      return undefined
    }
    case 'delete_backup':
      return deleteBackup(deps, caller, job.backup_id ?? '')
    case 'remove_resource':
      await removeResources(deps, caller, job.vault_id, { resource_ids: [...parseJobPayload(job, 'remove_resource').resourceIds] })
      return undefined
    case 'delete_vault':
      return deleteVault(deps, caller, job.vault_id)
    default:
      throw notRetriable(task, 'tasks of its kind are started anew by their own call')
  }
}

async function backUpAgain(deps: RetryDeps, caller: Caller, task: Row<'operation_logs'>, job: Row<'jobs'>): Promise<void> {
  const { resourceId, incremental } = parseJobPayload(job, 'backup')
  const failed = job.backup_id === null ? undefined : await findBackup(deps.db, caller.projectId, job.backup_id)
  await createCheckpoint(deps, caller, {
    vault_id: job.vault_id,
    parameters: {
      resources: [resourceId],
      incremental,
      ...(failed === undefined ? {} : { name: failed.name, description: failed.description, auto_trigger: failed.auto_trigger === 1 }),
      ...(task.policy_id === null ? {} : { policy_id: task.policy_id }),
    },
  })
}

function notRetriable({ id }: Row<'operation_logs'>, reason: string): Failure {
  return new Failure('task.cannot_be_retried', { taskId: id, reason })
}
