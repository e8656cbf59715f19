import type { ListAllAuditAnswer, ListAllAuditQuery, ListAuditQuery, AuditRecord } from '@opencbr/contract'
import { parseTime, type Micros } from '../clock.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { DomainId, ProjectId } from '../ids.ts'
import { readHead, selectRecords, type AuditFilter, type AuditPage } from './audit-store.ts'
import { auditRecordToWire } from './audit-wire.ts'

const PAGE_MAX = 1000

/** What was done in a project, or was denied there to somebody of it. */
export async function listAudit(
  { db }: Pick<Deps, 'db'>, projectId: ProjectId, query: ListAuditQuery,
): Promise<{ records: AuditRecord[], limit: number }> {
  const page = pageOf(query)
  const rows = await selectRecords(db, { ...filterOf(query), projectId }, page)
  return { records: rows.map(auditRecordToWire), limit: page.limit }
}

/** With a domain, what its users did; without one everything, and with it the end of the chain. */
export async function listAllAudit(
  { db, secrets }: Pick<Deps, 'db' | 'secrets'>, domainId: DomainId | undefined, query: ListAllAuditQuery,
): Promise<ListAllAuditAnswer> {
  const page = pageOf(query)
  const filter = { ...filterOf(query), domainId, projectId: query.project_id }
  return db.transaction().setAccessMode('read only').execute(async (tx) => {
    const rows = await selectRecords(tx, filter, page)
    return { records: rows.map(auditRecordToWire), limit: page.limit, head: domainId === undefined ? await readHead(tx, secrets) : null }
  })
}

function pageOf({ order = 'desc', limit = PAGE_MAX, marker }: ListAuditQuery): AuditPage {
  return { order, limit: Math.min(limit, PAGE_MAX), marker }
}

function filterOf(query: ListAuditQuery): AuditFilter {
  return {
    from: timeOf('from', query.from), to: timeOf('to', query.to), userId: query.user_id, operation: query.operation, outcome: query.outcome,
  }
}

function timeOf(field: string, text: string | undefined): Micros | undefined {
  if (text === undefined) return undefined
  const time = parseTime(text)
  if (time === undefined) throw new Failure('parameter.invalid', { field, reason: 'it is no time of the form 2026-01-15T08:30:00Z' })
  return time
}
