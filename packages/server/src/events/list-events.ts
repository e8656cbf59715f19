import type { Event, ListEventsQuery } from '@opencbr/contract'
import { formatTime } from '../clock.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { ProjectId } from '../ids.ts'
import { selectEventPage } from './event-store.ts'

const PAGE_MAX = 1000

/** A page of the project's events, newest first, and how many match altogether. */
export async function listEvents(
  db: Reader, projectId: ProjectId, query: ListEventsQuery,
): Promise<{ rows: Row<'events'>[], count: number, limit: number, offset: number }> {
  const limit = Math.min(query.limit ?? PAGE_MAX, PAGE_MAX)
  const offset = query.offset ?? 0
  const filter = { kind: query.kind, vaultId: query.vault_id?.toLowerCase() }
  return { ...await selectEventPage(db, projectId, filter, { limit, offset, marker: query.marker?.toLowerCase() }), limit, offset }
}

export function eventToWire(row: Row<'events'>): Event {
  return {
    id: row.id,
    kind: row.kind,
    project_id: row.project_id,
    vault_id: row.vault_id,
    vault_name: row.vault_name,
    resource_id: row.resource_id,
    message: row.message,
    facts: JSON.parse(row.facts) as Event['facts'],
    created_at: formatTime(row.created_at),
  }
}
