/** SQL of vaults, their resources and their tags. */
import type { Expression, ExpressionBuilder, SelectQueryBuilder, SqlBool } from 'kysely'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, Row, RowChange, Schema, VaultStatus } from '../db/schema.ts'
import type { PolicyId, ProjectId, ResourceId, VaultId } from '../ids.ts'
import type { Tag } from '../tag.ts'

/** What a resource's backups in its vault amount to. */
export interface ResourceUsage {
  readonly backupCount: number
  readonly storedBytes: number
}

/** A vault with all that its wire form shows. */
export interface VaultView {
  readonly vault: Row<'vaults'>
  /** In the order in which they were associated. */
  readonly resources: readonly (Row<'vault_resources'> & ResourceUsage)[]
  /** By key. */
  readonly tags: readonly Tag[]
}

export interface VaultFilter {
  readonly name?: string | undefined
  readonly ids?: readonly string[] | undefined
  readonly status?: VaultStatus | undefined
  readonly cloudType?: string | undefined
  readonly protectType?: string | undefined
  readonly objectType?: string | undefined
  readonly policyId?: string | undefined
  /** Vaults that hold any of these. */
  readonly resourceIds?: readonly string[] | undefined
  /** Ids, separated by commas. */
  readonly enterpriseProjectId?: string | undefined
  /** What else must hold: other nouns' conditions. */
  readonly narrow?: ((eb: ExpressionBuilder<Schema, 'vaults'>) => Expression<SqlBool>) | undefined
}

export interface VaultPage {
  readonly limit: number
  readonly offset: number
  /** Id of the last vault seen; wins over the offset. */
  readonly marker?: string | undefined
}

export async function insertVault(tx: Transaction, row: NewRow<'vaults'>, tags: readonly Tag[]): Promise<void> {
  await tx.insertInto('vaults').values(row).execute()
  if (tags.length > 0) {
    await tx.insertInto('vault_tags').values(tags.map(({ key, value }) => ({ vault_id: row.id, key, value }))).execute()
  }
}

export async function findVault(db: Reader, projectId: ProjectId, vaultId: VaultId): Promise<Row<'vaults'> | undefined> {
  return db.selectFrom('vaults').selectAll().where('project_id', '=', projectId).where('id', '=', vaultId).executeTakeFirst()
}

export async function changeVault(tx: Transaction, projectId: ProjectId, vaultId: VaultId, change: RowChange<'vaults'>): Promise<void> {
  await tx.updateTable('vaults').set(change).where('project_id', '=', projectId).where('id', '=', vaultId).execute()
}

export async function findVaultView(db: Reader, projectId: ProjectId, vaultId: VaultId): Promise<VaultView | undefined> {
  const vault = await findVault(db, projectId, vaultId)
  return vault === undefined ? undefined : (await addDetails(db, projectId, [vault]))[0]
}

/** Of the given vaults those that the project has, in no order. */
export async function findVaultViews(db: Reader, projectId: ProjectId, ids: readonly VaultId[]): Promise<VaultView[]> {
  if (ids.length === 0) return []
  const vaults = await db.selectFrom('vaults').selectAll().where('project_id', '=', projectId).where('id', 'in', ids).execute()
  return addDetails(db, projectId, vaults)
}

/** Newest first, ties by id. An unknown marker gives an empty page. */
export async function selectVaultPage(
  db: Reader, projectId: ProjectId, filter: VaultFilter, page: VaultPage,
): Promise<{ views: VaultView[], count: number }> {
  const count = await countVaults(db, projectId, filter)
  let rows = matching(db.selectFrom('vaults').selectAll('vaults'), projectId, filter)
    .orderBy('vaults.created_at', 'desc').orderBy('vaults.id', 'desc').limit(page.limit)
  if (page.marker === undefined) {
    rows = rows.offset(page.offset)
  } else {
    const last = await findVault(db, projectId, page.marker as VaultId)
    if (last === undefined) return { views: [], count }
    rows = rows.where(({ eb, refTuple, tuple }) => eb(refTuple('vaults.created_at', 'vaults.id'), '<', tuple(last.created_at, last.id)))
  }
  return { views: await addDetails(db, projectId, await rows.execute()), count }
}

export async function countVaults(db: Reader, projectId: ProjectId, filter: VaultFilter): Promise<number> {
  const { count } = await matching(db.selectFrom('vaults'), projectId, filter)
    .select(({ fn }) => fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  return Number(count)
}

function matching<Output>(
  query: SelectQueryBuilder<Schema, 'vaults', Output>, projectId: ProjectId, filter: VaultFilter,
): SelectQueryBuilder<Schema, 'vaults', Output> {
  let narrowed = query.where('vaults.project_id', '=', projectId)
  if (filter.name !== undefined) narrowed = narrowed.where('vaults.name', '=', filter.name)
  if (filter.ids !== undefined) narrowed = narrowed.where('vaults.id', 'in', filter.ids as VaultId[])
  if (filter.status !== undefined) narrowed = narrowed.where('vaults.status', '=', filter.status)
  if (filter.cloudType !== undefined) narrowed = narrowed.where('vaults.cloud_type', '=', filter.cloudType)
  if (filter.protectType !== undefined) narrowed = narrowed.where('vaults.protect_type', '=', filter.protectType as Row<'vaults'>['protect_type'])
  if (filter.objectType !== undefined) narrowed = narrowed.where('vaults.object_type', '=', filter.objectType)
  if (filter.enterpriseProjectId !== undefined) narrowed = narrowed.where('vaults.enterprise_project_id', 'in', filter.enterpriseProjectId.split(','))
  if (filter.narrow !== undefined) narrowed = narrowed.where(filter.narrow)
  const { resourceIds, policyId } = filter
  if (policyId !== undefined) {
    narrowed = narrowed.where('vaults.id', 'in', (eb) => eb.selectFrom('vault_policies').select('vault_policies.vault_id')
      .where('vault_policies.project_id', '=', projectId).where('vault_policies.policy_id', '=', policyId as PolicyId))
  }
  if (resourceIds === undefined) return narrowed
  return narrowed.where('vaults.id', 'in', (eb) => eb.selectFrom('vault_resources').select('vault_resources.vault_id')
    .where('vault_resources.project_id', '=', projectId)
    .where('vault_resources.resource_id', 'in', resourceIds as ResourceId[]))
}

async function addDetails(db: Reader, projectId: ProjectId, vaults: readonly Row<'vaults'>[]): Promise<VaultView[]> {
  if (vaults.length === 0) return []
  const ids = vaults.map((vault) => vault.id)
  const resources = await db.selectFrom('vault_resources').selectAll()
    .where('project_id', '=', projectId).where('vault_id', 'in', ids).orderBy('added_at').orderBy('resource_id').execute()
  const tags = await db.selectFrom('vault_tags').selectAll().where('vault_id', 'in', ids).orderBy('key').execute()
  const usage = await readUsage(db, projectId, ids)
  const resourcesOf = Map.groupBy(resources, (resource) => resource.vault_id)
  const tagsOf = Map.groupBy(tags, (tag) => tag.vault_id)
  return vaults.map((vault) => ({
    vault,
    resources: (resourcesOf.get(vault.id) ?? []).map((resource) => ({
      ...resource, ...usage.get(`${resource.vault_id} ${resource.resource_id}`) ?? { backupCount: 0, storedBytes: 0 },
    })),
    tags: (tagsOf.get(vault.id) ?? []).map(({ key, value }) => ({ key, value })),
  }))
}

/** By vault and resource. Its cost does not grow with the backups: they are counted when they are written. */
async function readUsage(db: Reader, projectId: ProjectId, vaultIds: readonly VaultId[]): Promise<Map<string, ResourceUsage>> {
  const rows = await db.selectFrom('vault_usage').select(['vault_id', 'resource_id', 'backup_count', 'stored_bytes'])
    .where('project_id', '=', projectId).where('vault_id', 'in', vaultIds).execute()
  return new Map(rows.map((row) => [
    `${row.vault_id} ${row.resource_id}`, { backupCount: row.backup_count, storedBytes: row.stored_bytes },
  ]))
}

export async function listVaultResources(db: Reader, projectId: ProjectId, vaultId: VaultId): Promise<Row<'vault_resources'>[]> {
  return db.selectFrom('vault_resources').selectAll()
    .where('project_id', '=', projectId).where('vault_id', '=', vaultId).orderBy('added_at').orderBy('resource_id').execute()
}

/** In which backup vaults the given resources are. */
export async function findMemberships(
  db: Reader, projectId: ProjectId, resourceIds: readonly ResourceId[],
): Promise<{ resource_id: ResourceId, vault_id: VaultId }[]> {
  if (resourceIds.length === 0) return []
  return db.selectFrom('vault_resources').innerJoin('vaults', 'vaults.id', 'vault_resources.vault_id')
    .select(['vault_resources.resource_id', 'vault_resources.vault_id'])
    .where('vault_resources.project_id', '=', projectId).where('vaults.protect_type', '=', 'backup')
    .where('vault_resources.resource_id', 'in', resourceIds).execute()
}

export async function insertVaultResources(tx: Transaction, rows: readonly NewRow<'vault_resources'>[]): Promise<void> {
  if (rows.length > 0) await tx.insertInto('vault_resources').values(rows).execute()
}

export async function changeExtraInfo(
  tx: Transaction, projectId: ProjectId, vaultId: VaultId, resourceId: ResourceId, extraInfo: object,
): Promise<void> {
  await tx.updateTable('vault_resources').set({ extra_info: JSON.stringify(extraInfo) })
    .where('project_id', '=', projectId).where('vault_id', '=', vaultId).where('resource_id', '=', resourceId).execute()
}

/** Of all vaults of the project. */
export async function sumVaults(db: Reader, projectId: ProjectId): Promise<{ sizeGb: number, usedBytes: number }> {
  const { size, used, shared } = await db.selectFrom('vaults')
    .select(({ fn }) => [fn.sum<number | null>('size_gb').as('size'), fn.sum<number | null>('used_bytes').as('used'), fn.sum<number | null>('shared_bytes').as('shared')])
    .where('project_id', '=', projectId).executeTakeFirstOrThrow()
  return { sizeGb: Number(size ?? 0), usedBytes: Number(used ?? 0) + Number(shared ?? 0) }
}

/** Resources that are in a vault, or of which backups are, by id. */
export async function selectStorageUsagePage(
  db: Reader, projectId: ProjectId, filter: { readonly resourceId?: string | undefined, readonly resourceType?: string | undefined },
  page: { readonly limit: number, readonly offset: number },
) {
  const members = db.selectFrom('vault_resources')
    .select(({ lit, fn, val }) => ['resource_id', 'resource_type', fn.coalesce('name', val('')).as('resource_name'), lit<number>(0).as('backup_count'), lit<number>(0).as('stored_bytes')])
    .where('project_id', '=', projectId)
  const usage = db.selectFrom('vault_usage').select(['resource_id', 'resource_type', 'resource_name', 'backup_count', 'stored_bytes'])
    .where('project_id', '=', projectId)
  let each = db.selectFrom(members.unionAll(usage).as('each'))
  if (filter.resourceId !== undefined) each = each.where('resource_id', '=', filter.resourceId as ResourceId)
  if (filter.resourceType !== undefined) each = each.where('resource_type', '=', filter.resourceType)
  const { count } = await each.select(({ fn }) => fn.count<number>('resource_id').distinct().as('count')).executeTakeFirstOrThrow()
  const rows = await each
    .select(({ fn }) => [
      'resource_id', fn.max('resource_type').as('resource_type'), fn.max('resource_name').as('resource_name'),
      fn.sum<number>('backup_count').as('backup_count'), fn.sum<number>('stored_bytes').as('stored_bytes'),
    ])
    .groupBy('resource_id').orderBy('resource_id').limit(page.limit).offset(page.offset).execute()
  return { rows, count: Number(count) }
}
