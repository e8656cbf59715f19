import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import { isUuid, type OperationLogId, type ProjectId } from '../ids.ts'
import { findOperationLog } from './operation-log-store.ts'

/** The failure names no id: its text is the cloud's, which clients know. */
export async function showOperationLog(reader: Reader, projectId: ProjectId, id: string): Promise<Row<'operation_logs'>> {
  if (!isUuid(id)) throw new Failure('parameter.invalid', { field: 'operation_log_id', reason: `${id} is not a UUID` })
  const row = await findOperationLog(reader, projectId, id.toLowerCase() as OperationLogId)
  if (row === undefined) throw new Failure('operation_log.not_found')
  return row
}
