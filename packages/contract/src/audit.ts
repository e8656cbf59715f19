/**
 * The audit trail: what was changed and what was denied, by whom, from where; not a part of the cloud's API (`/x/v1`).
 *
 * Records form one chain: each holds the hash of the one before, and its own hash covers that too. Whoever has the
 * records and `hashAuditRecord` can check them without trusting the server.
 */
import { createHash } from 'node:crypto'
import { Type, type Static } from 'typebox'

export const AUDIT_OUTCOMES = ['success', 'failure', 'denied', 'unknown'] as const
export type AuditOutcome = (typeof AUDIT_OUTCOMES)[number]

export const AUDIT_CREDENTIALS = ['none', 'password', 'token', 'access_key', 'temporary_key'] as const
export type AuditCredential = (typeof AUDIT_CREDENTIALS)[number]

/** What the first record names as the one before it. */
export const AUDIT_CHAIN_START = '0'.repeat(64)

const TextOrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description })

export const AuditRecord = Type.Object({
  sequence: Type.Integer({ minimum: 1, description: 'Counts up by one, without gaps, over all projects.' }),
  time: Type.String({ description: 'When the call came in.' }),
  request_id: Type.String(),
  operation: Type.String({ description: 'The operation, as the API names it.' }),
  action: TextOrNull('What the caller has to be permitted; null where anybody, or any user, may call.'),
  outcome: Type.Enum([...AUDIT_OUTCOMES], {
    description: 'denied: answered with 401 or 403. unknown: the server ended before the call did, so what it was to do may have been done.',
  }),
  status: Type.Union([Type.Integer(), Type.Null()], { description: 'Of the answer; null when unknown.' }),
  error_code: TextOrNull('Of the answer, where it has one.'),
  user_id: TextOrNull('Who called; of a login that failed the user whose password was wrong, if there is one.'),
  user_name: TextOrNull('As it was then.'),
  domain_id: TextOrNull('The domain of the user.'),
  project_id: TextOrNull('The project in which it was done.'),
  credential: Type.Enum([...AUDIT_CREDENTIALS], { description: 'What the caller showed.' }),
  access_key: TextOrNull('With which the call was signed, or was said to be.'),
  address: Type.String({ description: 'From where the call came.' }),
  targets: Type.Array(Type.Object({ type: Type.String(), id: Type.String() }), {
    description: 'What the path named and what was made; never what else was sent or answered.',
  }),
  previous_hash: Type.String(),
  hash: Type.String({ description: 'SHA-256, hexadecimal, of all of the above.' }),
})
export type AuditRecord = Static<typeof AuditRecord>

/** The hash that a record must have. Its members in this order, as a JSON array. */
export function hashAuditRecord(record: Omit<AuditRecord, 'hash'>): string {
  const content = [
    'opencbr-audit-1', record.previous_hash, record.sequence, record.time, record.request_id, record.operation, record.action, record.outcome,
    record.status, record.error_code, record.user_id, record.user_name, record.domain_id, record.project_id, record.credential, record.access_key,
    record.address, record.targets.map(({ type, id }) => [type, id]),
  ]
  return createHash('sha256').update(JSON.stringify(content)).digest('hex')
}

/** The end of a part of the chain that has been checked. */
export interface AuditLink {
  readonly sequence: number
  readonly hash: string
}

export interface AuditBreak {
  readonly sequence: number
  readonly reason: string
}

/** Walks on from a link over the records that follow it, oldest first: the new end, or the first record that does not fit. */
export function checkAuditChain(from: AuditLink, records: readonly AuditRecord[]): { end: AuditLink } | { broken: AuditBreak } {
  let end = from
  for (const record of records) {
    const sequence = end.sequence + 1
    if (record.sequence !== sequence) return { broken: { sequence, reason: `it is missing: record ${record.sequence} follows` } }
    if (record.previous_hash !== end.hash) return { broken: { sequence, reason: 'it does not name the hash of the record before it' } }
    if (hashAuditRecord(record) !== record.hash) return { broken: { sequence, reason: 'it was altered: its content does not have its hash' } }
    end = { sequence, hash: record.hash }
  }
  return { end }
}

const filters = {
  from: Type.Optional(Type.String({ description: 'Not earlier than this time: 2026-01-15T08:30:00Z.' })),
  to: Type.Optional(Type.String({ description: 'Earlier than this time.' })),
  user_id: Type.Optional(Type.String({ description: 'Of this user.' })),
  operation: Type.Optional(Type.String({ description: 'Of this operation: deleteVault.' })),
  outcome: Type.Optional(Type.Enum([...AUDIT_OUTCOMES], { description: 'With this outcome.' })),
  order: Type.Optional(Type.Enum(['asc', 'desc'], { description: 'By sequence; the newest first when absent.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Page size; 1000 when absent, and more than 1000 counts as 1000.' })),
  marker: Type.Optional(Type.Integer({ minimum: 0, description: 'Sequence of the last record of the previous page.' })),
}

export const ListAuditQuery = Type.Object(filters)
export type ListAuditQuery = Static<typeof ListAuditQuery>

export const ListAllAuditQuery = Type.Object({
  ...filters,
  project_id: Type.Optional(Type.String({ description: 'Done in this project.' })),
})
export type ListAllAuditQuery = Static<typeof ListAllAuditQuery>

export const ListAuditAnswer = Type.Object({
  records: Type.Array(AuditRecord),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
})

export const ListAllAuditAnswer = Type.Object({
  records: Type.Array(AuditRecord),
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  head: Type.Union([
    Type.Object({
      sequence: Type.Integer({ minimum: 0 }),
      hash: Type.String(),
      genuine: Type.Boolean({ description: 'Whether the end of the chain is as a server with the master key sealed it.' }),
    }),
    Type.Null(),
  ], { description: 'The end of the chain; null for those who do not see all of it.' }),
})
export type ListAllAuditAnswer = Static<typeof ListAllAuditAnswer>
