/** SQL of declared resources. */
import type { SelectQueryBuilder } from 'kysely'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, ResourceType, Row, Schema } from '../db/schema.ts'
import type { ProjectId, ResourceId, VaultId } from '../ids.ts'

/** A resource, and the vault that it is in. */
export type ResourceRow = Row<'resources'> & { readonly vault_id: VaultId | null }

export interface ResourceFilter {
  readonly types?: readonly ResourceType[] | undefined
  readonly name?: string | undefined
  readonly id?: string | undefined
}

export interface ResourcePage {
  readonly limit: number
  readonly offset: number
  /** Id of the last resource seen; wins over the offset. */
  readonly marker?: string | undefined
}

export async function insertResource(tx: Transaction, row: NewRow<'resources'>): Promise<void> {
  await tx.insertInto('resources').values(row).execute()
}

function withVault(db: Reader) {
  return db.selectFrom('resources').selectAll('resources').select((eb) => eb.selectFrom('vault_resources')
    .whereRef('vault_resources.project_id', '=', 'resources.project_id')
    .whereRef('vault_resources.resource_id', '=', 'resources.id')
    .select('vault_resources.vault_id').limit(1).as('vault_id'))
}

export async function findResource(db: Reader, projectId: ProjectId, resourceId: ResourceId): Promise<ResourceRow | undefined> {
  return withVault(db).where('resources.project_id', '=', projectId).where('resources.id', '=', resourceId).executeTakeFirst()
}

/** Of the given ids, those that are declared. */
export async function findResources(db: Reader, projectId: ProjectId, ids: readonly ResourceId[]): Promise<ResourceRow[]> {
  if (ids.length === 0) return []
  return withVault(db).where('resources.project_id', '=', projectId).where('resources.id', 'in', ids).execute()
}

export async function findResourceByPath(
  db: Reader, projectId: ProjectId, type: ResourceType, path: string,
): Promise<ResourceRow | undefined> {
  return withVault(db)
    .where('resources.project_id', '=', projectId).where('resources.type', '=', type).where('resources.path', '=', path)
    .executeTakeFirst()
}

/** Newest first. An unknown marker gives an empty page. */
export async function selectResourcePage(
  db: Reader, projectId: ProjectId, filter: ResourceFilter, page: ResourcePage,
): Promise<{ rows: ResourceRow[], count: number }> {
  const { count } = await matching(db.selectFrom('resources'), projectId, filter)
    .select(({ fn }) => fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  let rows = matching(withVault(db), projectId, filter)
    .orderBy('resources.created_at', 'desc').orderBy('resources.id', 'desc').limit(page.limit)
  if (page.marker === undefined) {
    rows = rows.offset(page.offset)
  } else {
    const last = await db.selectFrom('resources').select(['created_at', 'id'])
      .where('project_id', '=', projectId).where('id', '=', page.marker as ResourceId).executeTakeFirst()
    if (last === undefined) return { rows: [], count: Number(count) }
    rows = rows.where(({ eb, refTuple, tuple }) => eb(refTuple('resources.created_at', 'resources.id'), '<', tuple(last.created_at, last.id)))
  }
  return { rows: await rows.execute(), count: Number(count) }
}

function matching<Output>(
  query: SelectQueryBuilder<Schema, 'resources', Output>, projectId: ProjectId, filter: ResourceFilter,
): SelectQueryBuilder<Schema, 'resources', Output> {
  let narrowed = query.where('resources.project_id', '=', projectId)
  if (filter.types !== undefined) narrowed = narrowed.where('resources.type', 'in', filter.types)
  if (filter.name !== undefined) narrowed = narrowed.where('resources.name', '=', filter.name)
  if (filter.id !== undefined) narrowed = narrowed.where('resources.id', '=', filter.id as ResourceId)
  return narrowed
}

export async function deleteResourceRow(tx: Transaction, projectId: ProjectId, resourceId: ResourceId): Promise<void> {
  await tx.deleteFrom('resources').where('project_id', '=', projectId).where('id', '=', resourceId).execute()
}
