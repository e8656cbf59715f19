/** SQL of declared resources. */
import type { SelectQueryBuilder } from 'kysely'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, ResourceType, Row, RowChange, Schema } from '../db/schema.ts'
import type { ProjectId, ResourceId, VaultId } from '../ids.ts'
import type { Tag } from '../tag.ts'

/** A resource, its tags by key, and the vault that it is in. */
export type ResourceRow = Row<'resources'> & { readonly vault_id: VaultId | null, readonly tags: readonly Tag[] }

export interface ResourceFilter {
  readonly types?: readonly ResourceType[] | undefined
  readonly name?: string | undefined
  readonly id?: string | undefined
  /** Servers whose agents are in this state. */
  readonly agentStatus?: 'normal' | 'offline' | 'uninstall' | undefined
}

export interface ResourcePage {
  readonly limit: number
  readonly offset: number
  /** Id of the last resource seen; wins over the offset. */
  readonly marker?: string | undefined
}

export async function insertResource(tx: Transaction, row: NewRow<'resources'>, tags: readonly Tag[]): Promise<void> {
  await tx.insertInto('resources').values(row).execute()
  await insertTags(tx, row.id, tags)
}

/** The tags are these from now on. */
export async function replaceResourceTags(tx: Transaction, resourceId: ResourceId, tags: readonly Tag[]): Promise<void> {
  await tx.deleteFrom('resource_tags').where('resource_id', '=', resourceId).execute()
  await insertTags(tx, resourceId, tags)
}

async function insertTags(tx: Transaction, resourceId: ResourceId, tags: readonly Tag[]): Promise<void> {
  if (tags.length > 0) await tx.insertInto('resource_tags').values(tags.map(({ key, value }) => ({ resource_id: resourceId, key, value }))).execute()
}

async function addTags<Resource extends Row<'resources'>>(db: Reader, rows: readonly Resource[]): Promise<(Resource & { tags: Tag[] })[]> {
  if (rows.length === 0) return []
  const tags = await db.selectFrom('resource_tags').selectAll().where('resource_id', 'in', rows.map((row) => row.id)).orderBy('key').execute()
  const tagsOf = Map.groupBy(tags, (tag) => tag.resource_id)
  return rows.map((row) => ({ ...row, tags: (tagsOf.get(row.id) ?? []).map(({ key, value }) => ({ key, value })) }))
}

function withVault(db: Reader) {
  return db.selectFrom('resources').selectAll('resources').select((eb) => eb.selectFrom('vault_resources')
    .whereRef('vault_resources.project_id', '=', 'resources.project_id')
    .whereRef('vault_resources.resource_id', '=', 'resources.id')
    .select('vault_resources.vault_id').limit(1).as('vault_id'))
}

export async function findResource(db: Reader, projectId: ProjectId, resourceId: ResourceId): Promise<ResourceRow | undefined> {
  return (await findResources(db, projectId, [resourceId]))[0]
}

/** Of the given ids, those that are declared. */
export async function findResources(db: Reader, projectId: ProjectId, ids: readonly ResourceId[]): Promise<ResourceRow[]> {
  if (ids.length === 0) return []
  return addTags(db, await withVault(db).where('resources.project_id', '=', projectId).where('resources.id', 'in', ids).execute())
}

export async function findResourceByPath(
  db: Reader, projectId: ProjectId, type: ResourceType, path: string,
): Promise<Row<'resources'> | undefined> {
  return db.selectFrom('resources').selectAll()
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
  return { rows: await addTags(db, await rows.execute()), count: Number(count) }
}

function matching<Output>(
  query: SelectQueryBuilder<Schema, 'resources', Output>, projectId: ProjectId, filter: ResourceFilter,
): SelectQueryBuilder<Schema, 'resources', Output> {
  let narrowed = query.where('resources.project_id', '=', projectId)
  if (filter.types !== undefined) narrowed = narrowed.where('resources.type', 'in', filter.types)
  if (filter.name !== undefined) narrowed = narrowed.where('resources.name', '=', filter.name)
  if (filter.id !== undefined) narrowed = narrowed.where('resources.id', '=', filter.id as ResourceId)
  const { agentStatus } = filter
  if (agentStatus !== undefined) {
    narrowed = narrowed.where('resources.id', 'in', (eb) => {
      const agents = eb.selectFrom('agents').select('agents.resource_id').where('agents.project_id', '=', projectId)
      return agentStatus === 'uninstall'
        ? agents.where('agents.status', '=', 'uninstall')
        : agents.where('agents.status', '=', 'normal').where('agents.is_local', '=', agentStatus === 'normal' ? 1 : 0)
    })
  }
  return narrowed
}

export async function changeResource(
  tx: Transaction, projectId: ProjectId, resourceId: ResourceId, change: Pick<RowChange<'resources'>, 'name' | 'updated_at'>,
): Promise<void> {
  await tx.updateTable('resources').set(change).where('project_id', '=', projectId).where('id', '=', resourceId).execute()
}

export async function deleteResourceRow(tx: Transaction, projectId: ProjectId, resourceId: ResourceId): Promise<void> {
  await tx.deleteFrom('resource_tags').where('resource_id', 'in', (eb) => eb.selectFrom('resources').select('resources.id')
    .where('resources.project_id', '=', projectId).where('resources.id', '=', resourceId)).execute()
  await tx.deleteFrom('resources').where('project_id', '=', projectId).where('id', '=', resourceId).execute()
}
