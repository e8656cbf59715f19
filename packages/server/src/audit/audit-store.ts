import { AUDIT_CHAIN_START, hashAuditRecord, type AuditLink, type AuditOutcome } from '@opencbr/contract'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Secrets } from '../secrets.ts'
import type { AuditEntry, EndedAuditEntry } from './audit.ts'
import { unhashedAuditRecord } from './audit-wire.ts'

const HEAD_ID = 1
const HEAD_PURPOSE = 'audit-head'

export async function insertBegun(tx: Transaction, entry: AuditEntry): Promise<void> {
  await tx.insertInto('audit_begun').values({ request_id: entry.requestId, created_at: entry.calledAt, entry: JSON.stringify(entry) }).execute()
}

/** Calls that were let in before a time and have no record, oldest first. */
export async function listBegun(tx: Transaction, calledBefore: Micros | undefined, limit: number): Promise<AuditEntry[]> {
  let query = tx.selectFrom('audit_begun').select('entry').orderBy('created_at').orderBy('request_id').limit(limit)
  if (calledBefore !== undefined) query = query.where('created_at', '<', calledBefore)
  return (await query.execute()).map(({ entry }) => JSON.parse(entry) as AuditEntry)
}

/**
 * Adds to the end of the chain. A transaction that may write has the catalogue for itself, so the end that is
 * read here is the end until it is committed, however many servers there are.
 */
export async function appendRecords(tx: Transaction, secrets: Secrets, entries: readonly EndedAuditEntry[]): Promise<void> {
  if (entries.length === 0) return
  let { sequence, hash } = await findHead(tx) ?? { sequence: 0, hash: AUDIT_CHAIN_START }
  for (const entry of entries) {
    sequence += 1
    const row: Omit<Row<'audit_records'>, 'hash'> = {
      sequence,
      created_at: entry.calledAt,
      request_id: entry.requestId,
      operation: entry.operation,
      action: entry.action,
      outcome: entry.outcome,
      status: entry.status,
      error_code: entry.errorCode,
      user_id: entry.user?.id ?? null,
      user_name: entry.user?.name ?? null,
      domain_id: entry.user?.domainId ?? null,
      project_id: entry.projectId,
      credential: entry.credential,
      access_key: entry.accessKey,
      address: entry.address,
      targets: JSON.stringify(entry.targets),
      previous_hash: hash,
    }
    hash = hashAuditRecord(unhashedAuditRecord(row))
    await tx.insertInto('audit_records').values({ ...row, hash }).execute()
    await tx.deleteFrom('audit_begun').where('request_id', '=', entry.requestId).execute()
  }
  const head = { sequence, hash, sealed: secrets.seal(HEAD_PURPOSE, `${sequence}:${hash}`) }
  await tx.insertInto('audit_head').values({ id: HEAD_ID, ...head }).onConflict((conflict) => conflict.column('id').doUpdateSet(head)).execute()
}

async function findHead(db: Reader): Promise<Row<'audit_head'> | undefined> {
  return db.selectFrom('audit_head').selectAll().where('id', '=', HEAD_ID).executeTakeFirst()
}

/** The end of the chain, and whether it is as a server sealed it. */
export async function readHead(db: Reader, secrets: Secrets): Promise<AuditLink & { genuine: boolean }> {
  const head = await findHead(db)
  if (head === undefined) return { sequence: 0, hash: AUDIT_CHAIN_START, genuine: true }
  const { sequence, hash, sealed } = head
  return { sequence, hash, genuine: opens(secrets, sealed, `${sequence}:${hash}`) }
}

function opens(secrets: Secrets, sealed: string, expected: string): boolean {
  try {
    return secrets.unseal(HEAD_PURPOSE, sealed) === expected
  } catch {
    return false
  }
}

export interface AuditFilter {
  readonly projectId?: string | undefined
  readonly domainId?: string | undefined
  readonly from?: Micros | undefined
  readonly to?: Micros | undefined
  readonly userId?: string | undefined
  readonly operation?: string | undefined
  readonly outcome?: AuditOutcome | undefined
}

export interface AuditPage {
  readonly order: 'asc' | 'desc'
  readonly limit: number
  /** Begins after this sequence. */
  readonly marker?: number | undefined
}

export async function selectRecords(db: Reader, filter: AuditFilter, { order, limit, marker }: AuditPage): Promise<Row<'audit_records'>[]> {
  let query = db.selectFrom('audit_records').selectAll().orderBy('sequence', order).limit(limit)
  const equal = {
    project_id: filter.projectId, domain_id: filter.domainId, user_id: filter.userId, operation: filter.operation, outcome: filter.outcome,
  } as const
  for (const [column, value] of Object.entries(equal)) {
    if (value !== undefined) query = query.where(column as keyof typeof equal, '=', value)
  }
  if (filter.from !== undefined) query = query.where('created_at', '>=', filter.from)
  if (filter.to !== undefined) query = query.where('created_at', '<', filter.to)
  if (marker !== undefined) query = query.where('sequence', order === 'asc' ? '>' : '<', marker)
  return query.execute()
}
