import type { ListResourcesQuery } from '@opencbr/contract'
import type { Reader } from '../db/database.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, ResourceId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findResource, selectResourcePage, type ResourceRow } from './resource-store.ts'

const PAGE_MAX = 1000

export async function showResource(db: Reader, projectId: ProjectId, resourceId: string): Promise<ResourceRow> {
  const found = await findResource(db, projectId, parseUuid<ResourceId>('resource_id', resourceId))
  if (found === undefined) throw new Failure('resource.not_found', { resourceId })
  return found
}

/** A page of the project's resources, newest first, and how many match altogether. */
export async function listResources(
  db: Reader, projectId: ProjectId, query: ListResourcesQuery,
): Promise<{ rows: ResourceRow[], count: number, limit: number, offset: number }> {
  const limit = Math.min(query.limit ?? PAGE_MAX, PAGE_MAX)
  const offset = query.offset ?? 0
  const filter = { types: query.type === undefined ? undefined : [query.type], name: query.name }
  return { ...await selectResourcePage(db, projectId, filter, { limit, offset, marker: query.marker }), limit, offset }
}
