/**
 * Events: what happened by itself and a person may want to know of. Written in the transaction of what
 * they tell of, so an event tells the truth and is told once.
 */
import type { SelectQueryBuilder } from 'kysely'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { Row, Schema } from '../db/schema.ts'
import { newUuid, type EventId, type ProjectId, type VaultId } from '../ids.ts'
import type { NewEvent } from './event.ts'

export async function recordEvent(tx: Transaction, event: NewEvent): Promise<void> {
  await tx.insertInto('events').values({
    id: newUuid<EventId>(),
    project_id: event.projectId,
    kind: event.kind,
    vault_id: event.vault?.id ?? null,
    vault_name: event.vault?.name ?? null,
    resource_id: event.resourceId ?? null,
    message: event.message,
    facts: JSON.stringify(event.facts),
    dispatched: 0,
    created_at: event.createdAt,
  }).execute()
}

/** Oldest first: of what receivers were not told of yet. */
export async function listUndispatched(tx: Transaction, limit: number): Promise<Row<'events'>[]> {
  return tx.selectFrom('events').selectAll().where('dispatched', '=', 0).orderBy('created_at').orderBy('id').limit(limit).execute()
}

/** Needs no turn among those that write. */
export async function hasUndispatched(db: Reader): Promise<boolean> {
  return await db.selectFrom('events').select('id').where('dispatched', '=', 0).limit(1).executeTakeFirst() !== undefined
}

export async function markDispatched(tx: Transaction, ids: readonly EventId[]): Promise<void> {
  await tx.updateTable('events').set({ dispatched: 1 }).where('id', 'in', ids).execute()
}

/** Takes out events from before a time. */
export async function deleteEvents(tx: Transaction, createdBefore: Micros): Promise<void> {
  await tx.deleteFrom('events').where('created_at', '<', createdBefore).execute()
}

export interface EventFilter {
  readonly kind?: string | undefined
  readonly vaultId?: string | undefined
}

/** Newest first. An unknown marker gives an empty page. */
export async function selectEventPage(
  db: Reader, projectId: ProjectId, filter: EventFilter, page: { readonly limit: number, readonly offset: number, readonly marker?: string | undefined },
): Promise<{ rows: Row<'events'>[], count: number }> {
  const { count } = await matching(db.selectFrom('events'), projectId, filter)
    .select(({ fn }) => fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  let rows = matching(db.selectFrom('events').selectAll(), projectId, filter)
    .orderBy('created_at', 'desc').orderBy('id', 'desc').limit(page.limit)
  if (page.marker === undefined) {
    rows = rows.offset(page.offset)
  } else {
    const last = await db.selectFrom('events').select(['created_at', 'id'])
      .where('project_id', '=', projectId).where('id', '=', page.marker as EventId).executeTakeFirst()
    if (last === undefined) return { rows: [], count: Number(count) }
    rows = rows.where(({ eb, refTuple, tuple }) => eb(refTuple('created_at', 'id'), '<', tuple(last.created_at, last.id)))
  }
  return { rows: await rows.execute(), count: Number(count) }
}

function matching<Output>(
  query: SelectQueryBuilder<Schema, 'events', Output>, projectId: ProjectId, { kind, vaultId }: EventFilter,
): SelectQueryBuilder<Schema, 'events', Output> {
  let narrowed = query.where('project_id', '=', projectId)
  if (kind !== undefined) narrowed = narrowed.where('kind', '=', kind)
  if (vaultId !== undefined) narrowed = narrowed.where('vault_id', '=', vaultId as VaultId)
  return narrowed
}
