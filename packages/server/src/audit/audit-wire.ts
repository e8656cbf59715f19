import type { AuditRecord } from '@opencbr/contract'
import { formatTime } from '../clock.ts'
import type { Row } from '../db/schema.ts'

/** The form that is hashed, and that is answered: one and the same, so that whoever reads it can check it. */
export function auditRecordToWire(row: Row<'audit_records'>): AuditRecord {
  return { ...unhashedAuditRecord(row), hash: row.hash }
}

export function unhashedAuditRecord(row: Omit<Row<'audit_records'>, 'hash'>): Omit<AuditRecord, 'hash'> {
  return {
    sequence: row.sequence,
    time: formatTime(row.created_at),
    request_id: row.request_id,
    operation: row.operation,
    action: row.action,
    outcome: row.outcome,
    status: row.status,
    error_code: row.error_code,
    user_id: row.user_id,
    user_name: row.user_name,
    domain_id: row.domain_id,
    project_id: row.project_id,
    credential: row.credential,
    access_key: row.access_key,
    address: row.address,
    targets: parseTargets(row.targets),
    previous_hash: row.previous_hash,
  }
}

/** Somebody may have written anything into the row; the walk along the chain is to find it, not to fail on it. */
function parseTargets(text: string): AuditRecord['targets'] {
  try {
    const targets = JSON.parse(text) as unknown
    if (Array.isArray(targets)) return targets.map((each: Partial<AuditRecord['targets'][number]>) => ({ type: String(each.type), id: String(each.id) }))
  } catch {
    // Answered below.
  }
  return [{ type: 'unreadable', id: '' }]
}
