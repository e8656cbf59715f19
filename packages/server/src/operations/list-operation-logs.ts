import type { ListOperationLogsQuery } from '@opencbr/contract'
import { parseTime, type Micros } from '../clock.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import type { OperationLogId, ProjectId } from '../ids.ts'
import { selectOperationLogPage } from './operation-log-store.ts'

const PAGE_MAX = 1000
const EVERY_ENTERPRISE_PROJECT = 'all_granted_eps'

/** A page of the project's tasks, newest first, and how many match altogether. */
export async function listOperationLogs(
  reader: Reader, projectId: ProjectId, query: ListOperationLogsQuery,
): Promise<{ rows: Row<'operation_logs'>[], count: number, limit: number, offset: number }> {
  const limit = Math.min(query.limit ?? PAGE_MAX, PAGE_MAX)
  const offset = query.offset ?? 0
  const found = await selectOperationLogPage(reader, projectId, {
    startedFrom: readTime('start_time', query.start_time),
    endedUntil: readTime('end_time', query.end_time),
    types: query.operation_type,
    statuses: query.status,
    providerId: query.provider_id,
    resourceId: query.resource_id,
    resourceName: query.resource_name,
    vaultId: query.vault_id,
    vaultName: query.vault_name,
    enterpriseProjectId: query.enterprise_project_id === EVERY_ENTERPRISE_PROJECT ? undefined : query.enterprise_project_id,
  }, { limit, offset, marker: query.marker as OperationLogId | undefined })
  return { ...found, limit, offset }
}

function readTime(field: string, text: string | undefined): Micros | undefined {
  if (text === undefined) return undefined
  const micros = parseTime(text)
  if (micros === undefined) throw new Failure('parameter.invalid', { field, reason: 'there is no such time' })
  return micros
}
