import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import type { OperationLogId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findOperationLog } from './operation-log-store.ts'

/** The failure names no id: its text is the cloud's, which clients know. */
export async function showOperationLog(reader: Reader, projectId: ProjectId, id: string): Promise<Row<'operation_logs'>> {
  const row = await findOperationLog(reader, projectId, parseUuid<OperationLogId>('operation_log_id', id))
  if (row === undefined) throw new Failure('operation_log.not_found')
  return row
}
