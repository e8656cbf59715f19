import type { OperationLog } from '@opencbr/contract'
import { formatTime, formatTimeOrNull } from '../clock.ts'
import type { Row } from '../db/schema.ts'
import { parseOperationParts } from './operation-log-store.ts'

export function operationLogToWire(row: Row<'operation_logs'>): OperationLog {
  return {
    id: row.id,
    operation_type: row.operation_type,
    status: row.status,
    project_id: row.project_id,
    vault_id: row.vault_id,
    vault_name: row.vault_name,
    policy_id: row.policy_id,
    checkpoint_id: row.checkpoint_id,
    provider_id: row.provider_id,
    created_at: formatTime(row.created_at),
    started_at: formatTimeOrNull(row.started_at),
    updated_at: formatTime(row.updated_at),
    ended_at: formatTimeOrNull(row.ended_at),
    error_info: { code: row.error_code, message: row.error_message },
    extra_info: {
      common: { progress: row.progress, request_id: row.request_id, task_id: null },
      ...parseOperationParts(row.extra_info),
    },
  }
}
