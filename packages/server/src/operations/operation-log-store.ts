/**
 * The record of every asynchronous operation. Rows are written in the transaction that starts,
 * advances or ends what they are about, so a task never says anything else than its objects do.
 *
 * waiting -> running -> success | failed | timeout | skipped. `started_at` and `ended_at` are written
 * once. A task whose work was parked or broken off and waits to run again stays running: the states
 * have no way back.
 */
import { sql, type SelectQueryBuilder } from 'kysely'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { Row, Schema } from '../db/schema.ts'
import { recordEvent } from '../events/index.ts'
import { newUuid, type OperationLogId, type ProjectId } from '../ids.ts'
import {
  operationRequestId, type FinalOperationStatus, type NewOperationLog, type OperationError,
  type OperationLogFilter, type OperationLogPage, type OperationParts, type OperationPartsChange,
} from './operation-log.ts'

export async function insertOperationLog(tx: Transaction, log: NewOperationLog): Promise<OperationLogId> {
  const id = newUuid<OperationLogId>()
  const { vault, resource } = log
  const parts: OperationParts = {
    ...(resource === undefined ? {} : { resource: { id: resource.id, type: resource.type, name: resource.name } }),
    ...log.parts,
  }
  await tx.insertInto('operation_logs').values({
    id,
    project_id: vault.project_id,
    enterprise_project_id: vault.enterprise_project_id,
    provider_id: vault.provider_id,
    operation_type: log.type,
    status: 'waiting',
    vault_id: vault.id,
    vault_name: vault.name,
    checkpoint_id: log.checkpointId ?? null,
    backup_id: log.backupId ?? null,
    resource_id: resource?.id ?? null,
    resource_name: resource?.name ?? null,
    resource_type: resource?.type ?? null,
    policy_id: log.policyId ?? null,
    progress: 0,
    request_id: operationRequestId(log.requestId),
    error_code: '',
    error_message: '',
    extra_info: JSON.stringify(parts),
    created_at: log.createdAt,
    updated_at: log.createdAt,
    started_at: null,
    ended_at: null,
  }).execute()
  return id
}

/** Marks a task as running; one that runs already (its work was begun again) keeps its start. */
export async function startOperation(tx: Transaction, id: OperationLogId, now: Micros): Promise<void> {
  await tx.updateTable('operation_logs')
    .set({ status: 'running', started_at: now, updated_at: now })
    .where('id', '=', id).where('status', '=', 'waiting')
    .execute()
}

/** Progress of a running task in percent; it never goes back, and reaches 100 only by finishing. */
export async function advanceOperation(tx: Transaction, id: OperationLogId, percent: number, now: Micros): Promise<void> {
  const progress = Math.max(0, Math.min(99, Math.floor(percent)))
  await tx.updateTable('operation_logs')
    .set({ progress, updated_at: now })
    .where('id', '=', id).where('status', '=', 'running').where('progress', '<', progress)
    .execute()
}

/** Ends a task once: a task that has ended already is left as it is. */
export async function finishOperation(
  tx: Transaction, id: OperationLogId,
  end: { status: FinalOperationStatus, now: Micros, error?: OperationError | undefined, parts?: OperationPartsChange | undefined },
): Promise<void> {
  const row = await tx.selectFrom('operation_logs').selectAll().where('id', '=', id).executeTakeFirst()
  if (row === undefined || (row.status !== 'waiting' && row.status !== 'running')) return
  await tx.updateTable('operation_logs')
    .set({
      status: end.error?.timedOut === true ? 'timeout' : end.status,
      progress: end.status === 'success' ? 100 : row.progress,
      error_code: end.error?.code ?? '',
      error_message: end.error?.message ?? '',
      extra_info: JSON.stringify(mergeParts(parseOperationParts(row.extra_info), end.parts)),
      started_at: row.started_at ?? end.now,
      updated_at: end.now,
      ended_at: end.now,
    })
    .where('id', '=', id)
    .execute()
  if (end.status === 'failed' && end.error?.cancelled !== true) await tellFailure(tx, row, end.error, end.now)
}

async function tellFailure(tx: Transaction, row: Row<'operation_logs'>, error: OperationError | undefined, now: Micros): Promise<void> {
  const { id, operation_type: type, vault_id, vault_name, resource_id, resource_name, policy_id } = row
  const about = resource_name === null || resource_name === '' ? '' : ` of ${resource_name}`
  await recordEvent(tx, {
    kind: 'task.failed',
    projectId: row.project_id,
    vault: vault_id === null ? undefined : { id: vault_id, name: vault_name ?? '' },
    resourceId: resource_id ?? undefined,
    message: `The task ${type}${about} in the vault ${vault_name ?? ''} failed: ${error?.message ?? ''}`,
    facts: { task_id: id, operation_type: type, error_code: error?.code ?? '', resource_name, policy_id },
    createdAt: now,
  })
}

/** Adds to what a running task tells about itself. */
export async function describeOperation(tx: Transaction, id: OperationLogId, parts: OperationPartsChange, now: Micros): Promise<void> {
  const row = await tx.selectFrom('operation_logs').select('extra_info').where('id', '=', id).executeTakeFirst()
  if (row === undefined) return
  await tx.updateTable('operation_logs')
    .set({ extra_info: JSON.stringify(mergeParts(parseOperationParts(row.extra_info), parts)), updated_at: now })
    .where('id', '=', id)
    .execute()
}

/** Takes out tasks that ended before a time; what waits or runs has not ended. */
export async function deleteOperationLogs(tx: Transaction, endedBefore: Micros): Promise<void> {
  await tx.deleteFrom('operation_logs').where('ended_at', '<', endedBefore).execute()
}

export function parseOperationParts(json: string): OperationParts {
  return JSON.parse(json) as OperationParts
}

/** Each part's members are added to what is known, so that an end need not repeat the beginning. */
function mergeParts(known: OperationParts, added: OperationPartsChange | undefined): OperationParts {
  if (added === undefined) return known
  const merged: Record<string, unknown> = { ...known }
  for (const [name, part] of Object.entries(added)) {
    merged[name] = { ...merged[name] as object | undefined, ...part }
  }
  return merged as OperationParts
}

export async function findOperationLog(
  reader: Reader, projectId: ProjectId, id: OperationLogId,
): Promise<Row<'operation_logs'> | undefined> {
  return reader.selectFrom('operation_logs').selectAll()
    .where('project_id', '=', projectId).where('id', '=', id)
    .executeTakeFirst()
}

/** The task that a call has just started. */
export async function getOperationOfRequest(reader: Reader, projectId: ProjectId, callRequestId: string): Promise<Row<'operation_logs'>> {
  return reader.selectFrom('operation_logs').selectAll()
    .where('project_id', '=', projectId).where('request_id', '=', operationRequestId(callRequestId))
    .orderBy('created_at', 'desc').orderBy('id').limit(1)
    .executeTakeFirstOrThrow()
}

export async function selectOperationLogPage(
  reader: Reader, projectId: ProjectId, filter: OperationLogFilter, page: OperationLogPage,
): Promise<{ rows: Row<'operation_logs'>[], count: number }> {
  const matching = applyFilter(reader.selectFrom('operation_logs').where('project_id', '=', projectId), filter)
  const { count } = await matching.select(({ fn }) => fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  let rows = matching.selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(page.limit)
  if (page.marker === undefined) {
    rows = rows.offset(page.offset)
  } else {
    const last = await reader.selectFrom('operation_logs').select(['created_at', 'id'])
      .where('project_id', '=', projectId).where('id', '=', page.marker)
      .executeTakeFirst()
    if (last === undefined) return { rows: [], count: Number(count) }
    rows = rows.where(({ eb, or, and }) => or([
      eb('created_at', '<', last.created_at),
      and([eb('created_at', '=', last.created_at), eb('id', '<', last.id)]),
    ]))
  }
  return { rows: await rows.execute(), count: Number(count) }
}

type LogQuery = SelectQueryBuilder<Schema, 'operation_logs', object>

/**
 * The time window is about a task's start and end. One that has not started or ended is judged by
 * the latest of its times that exists, so that a window around now finds what is going on.
 */
function applyFilter(query: LogQuery, filter: OperationLogFilter): LogQuery {
  let narrowed = query
  if (filter.startedFrom !== undefined) {
    narrowed = narrowed.where(sql<number>`coalesce(started_at, created_at)`, '>=', filter.startedFrom)
  }
  if (filter.endedUntil !== undefined) {
    narrowed = narrowed.where(sql<number>`coalesce(ended_at, started_at, created_at)`, '<=', filter.endedUntil)
      // Says nothing new, and lets the index leave out what is younger.
      .where(sql<number>`created_at`, '<=', filter.endedUntil)
  }
  if (filter.types !== undefined) narrowed = narrowed.where(sql<string>`operation_type`, 'in', filter.types)
  if (filter.statuses !== undefined) narrowed = narrowed.where(sql<string>`status`, 'in', filter.statuses)
  if (filter.enterpriseProjectId !== undefined) {
    narrowed = narrowed.where(sql<string>`enterprise_project_id`, 'in', filter.enterpriseProjectId.split(','))
  }
  const equal = {
    provider_id: filter.providerId, resource_id: filter.resourceId, resource_name: filter.resourceName,
    vault_id: filter.vaultId, vault_name: filter.vaultName,
  }
  for (const [column, value] of Object.entries(equal)) {
    if (value !== undefined) narrowed = narrowed.where(sql<string>`${sql.ref(column)}`, '=', value)
  }
  return narrowed
}
