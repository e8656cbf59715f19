import { ListOperationLogsAnswer, ListOperationLogsQuery, ShowOperationLogAnswer, ShowOperationLogParams, TaskParams } from '@opencbr/contract'
import type { Deps } from '../../deps.ts'
import { operationLogToWire, listOperationLogs, showOperationLog } from '../../operations/index.ts'
import { cancelTask, retryTask } from '../../tasks/index.ts'
import { assertMay } from '../refusal.ts'
import { accepted, identityOf, listRoute, ok, projectOf, route, type Call, type Route } from '../route.ts'

export function operationLogRoutes(deps: Deps): Route[] {
  const { db } = deps
  return [
    listRoute({
      operationId: 'listOpLogs',
      path: '/v3/:project_id/operation-logs',
      access: { kind: 'project', action: 'cbr:tasks:list' },
      summary: 'List tasks',
      schemas: { query: ListOperationLogsQuery, response: { 200: ListOperationLogsAnswer } },
      async list({ projectId, query }) {
        const { rows, count, limit, offset } = await listOperationLogs(deps.reads, projectId, query)
        return ok({ operation_logs: rows.map(operationLogToWire), count, limit, offset })
      },
    }),
    route({
      operationId: 'showOpLog',
      method: 'GET',
      path: '/v3/:project_id/operation-logs/:operation_log_id',
      access: { kind: 'project', action: 'cbr:tasks:get' },
      summary: 'Show a task',
      schemas: { params: ShowOperationLogParams, response: { 200: ShowOperationLogAnswer } },
      handle: async (call) => ok({
        operation_log: operationLogToWire(await showOperationLog(db, projectOf(call).id, call.params.operation_log_id)),
      }),
    }),
    route({
      operationId: 'cancelTask',
      method: 'POST',
      path: '/x/v1/:project_id/tasks/:task_id/cancel',
      access: { kind: 'project', action: 'cbr:tasks:cancel' },
      summary: 'Stop a task that waits or runs',
      schemas: { params: TaskParams, response: { 202: ShowOperationLogAnswer } },
      handle: async (call) => accepted({ operation_log: operationLogToWire(await cancelTask(deps, callerOf(call), call.params.task_id)) }),
    }),
    route({
      operationId: 'retryTask',
      method: 'POST',
      path: '/x/v1/:project_id/tasks/:task_id/retry',
      access: { kind: 'project', action: 'cbr:tasks:retry' },
      summary: 'Start again what a task did not get done, as a new task',
      schemas: { params: TaskParams, response: { 202: ShowOperationLogAnswer } },
      handle: async (call) => accepted({ operation_log: operationLogToWire(await retryTask(deps, callerOf(call), call.params.task_id)) }),
    }),
  ]
}

/** Who asks, and what they may do besides the operation's own action. */
function callerOf(call: Call<unknown, unknown, unknown>) {
  const identity = identityOf(call)
  return {
    projectId: projectOf(call).id,
    requestId: call.requestId,
    assertMay: (action: string, enterpriseProjectId: string) => assertMay(identity, action, enterpriseProjectId),
  }
}
