import { ListOperationLogsAnswer, ListOperationLogsQuery, ShowOperationLogAnswer, ShowOperationLogParams } from '@opencbr/contract'
import type { Deps } from '../../deps.ts'
import { operationLogToWire, listOperationLogs, showOperationLog } from '../../operations/index.ts'
import { ok, projectOf, route, type Route } from '../route.ts'

export function operationLogRoutes({ db }: Pick<Deps, 'db'>): Route[] {
  return [
    route({
      operationId: 'listOpLogs',
      method: 'GET',
      path: '/v3/:project_id/operation-logs',
      access: { kind: 'project', action: 'cbr:tasks:list' },
      summary: 'List tasks',
      schemas: { query: ListOperationLogsQuery, response: { 200: ListOperationLogsAnswer } },
      handle: async (call) => {
        const { rows, count, limit, offset } = await listOperationLogs(db, projectOf(call).id, call.query)
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
  ]
}
