/** SQL of organization policies and of where they are deployed. */
import type { Transaction, Reader } from '../db/database.ts'
import type { NewRow, PolicyOperationType, Row, RowChange } from '../db/schema.ts'
import type { DomainId, OrganizationPolicyId, ProjectId } from '../ids.ts'

/** With what its wire form shows besides. */
export interface OrganizationPolicyView {
  readonly policy: Row<'organization_policies'>
  readonly domainName: string
  /** Whether projects of the domain still wait for it. */
  readonly isSyncing: boolean
}

export async function insertOrganizationPolicy(tx: Transaction, row: NewRow<'organization_policies'>): Promise<void> {
  await tx.insertInto('organization_policies').values(row).execute()
}

export async function findOrganizationPolicy(
  reader: Reader, domainId: DomainId, id: OrganizationPolicyId,
): Promise<Row<'organization_policies'> | undefined> {
  return reader.selectFrom('organization_policies').selectAll().where('domain_id', '=', domainId).where('id', '=', id).executeTakeFirst()
}

export async function changeOrganizationPolicy(tx: Transaction, id: OrganizationPolicyId, change: RowChange<'organization_policies'>): Promise<void> {
  await tx.updateTable('organization_policies').set(change).where('id', '=', id).execute()
}

export async function deleteOrganizationPolicyRow(tx: Transaction, id: OrganizationPolicyId): Promise<void> {
  await tx.deleteFrom('organization_policies').where('id', '=', id).execute()
}

export async function countOrganizationPolicies(reader: Reader, domainId: DomainId, type: PolicyOperationType | undefined): Promise<number> {
  const { count } = await matching(reader, domainId, type).select(({ fn }) => fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  return Number(count)
}

function matching(reader: Reader, domainId: DomainId, type: PolicyOperationType | undefined) {
  const all = reader.selectFrom('organization_policies').where('domain_id', '=', domainId)
  return type === undefined ? all : all.where('operation_type', '=', type)
}

/** Newest first. */
export async function listOrganizationPolicyViews(
  reader: Reader, domainId: DomainId, { type, limit, offset }: { readonly type: PolicyOperationType | undefined, readonly limit: number, readonly offset: number },
): Promise<OrganizationPolicyView[]> {
  const rows = await matching(reader, domainId, type).selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit).offset(offset).execute()
  return addViews(reader, domainId, rows)
}

export async function findOrganizationPolicyView(
  reader: Reader, domainId: DomainId, id: OrganizationPolicyId,
): Promise<OrganizationPolicyView | undefined> {
  const policy = await findOrganizationPolicy(reader, domainId, id)
  return policy === undefined ? undefined : (await addViews(reader, domainId, [policy]))[0]
}

async function addViews(reader: Reader, domainId: DomainId, rows: readonly Row<'organization_policies'>[]): Promise<OrganizationPolicyView[]> {
  if (rows.length === 0) return []
  const { name } = await reader.selectFrom('domains').select('name').where('id', '=', domainId).executeTakeFirstOrThrow()
  const waiting = await selectMissing(reader).select('organization_policies.id').distinct()
    .where('organization_policies.id', 'in', rows.map((row) => row.id)).execute()
  const syncing = new Set(waiting.map((row) => row.id))
  return rows.map((policy) => ({ policy, domainName: name, isSyncing: syncing.has(policy.id) }))
}

/** Policies for a whole domain, with each project that lacks them. */
function selectMissing(reader: Reader) {
  return reader.selectFrom('organization_policies').innerJoin('projects', 'projects.domain_id', 'organization_policies.domain_id')
    .where('organization_policies.whole_domain', '=', 1)
    .where(({ not, exists, selectFrom }) => not(exists(
      selectFrom('organization_policy_deployments as deployment').select('deployment.policy_id')
        .whereRef('deployment.organization_policy_id', '=', 'organization_policies.id')
        .whereRef('deployment.project_id', '=', 'projects.id'),
    )))
}

/** The first of the deployments that are still to be made. */
export async function listMissing(
  reader: Reader, limit: number,
): Promise<(Row<'organization_policies'> & { readonly target_project_id: ProjectId })[]> {
  return selectMissing(reader).selectAll('organization_policies').select('projects.id as target_project_id')
    .orderBy('organization_policies.created_at').orderBy('organization_policies.id').orderBy('projects.id')
    .limit(limit).execute()
}

/** Projects of a domain: all of them, or those of the list that are of it. */
export async function listProjectIds(reader: Reader, domainId: DomainId, among?: readonly ProjectId[]): Promise<ProjectId[]> {
  let projects = reader.selectFrom('projects').select('id').where('domain_id', '=', domainId).orderBy('id')
  if (among !== undefined) projects = projects.where('id', 'in', among)
  return (await projects.execute()).map((row) => row.id)
}

export async function insertDeployment(tx: Transaction, row: NewRow<'organization_policy_deployments'>): Promise<void> {
  await tx.insertInto('organization_policy_deployments').values(row).execute()
}

export async function deleteDeployment(tx: Transaction, id: OrganizationPolicyId, projectId: ProjectId): Promise<void> {
  await tx.deleteFrom('organization_policy_deployments').where('organization_policy_id', '=', id).where('project_id', '=', projectId).execute()
}

/** By project; all of them, or a page. */
export async function listDeploymentRows(
  reader: Reader, id: OrganizationPolicyId, page?: { readonly limit: number, readonly offset: number },
): Promise<Row<'organization_policy_deployments'>[]> {
  const rows = reader.selectFrom('organization_policy_deployments').selectAll().where('organization_policy_id', '=', id).orderBy('project_id')
  return (page === undefined ? rows : rows.limit(page.limit).offset(page.offset)).execute()
}

export async function countDeployments(reader: Reader, id: OrganizationPolicyId): Promise<number> {
  const { count } = await reader.selectFrom('organization_policy_deployments').select(({ fn }) => fn.countAll<number>().as('count'))
    .where('organization_policy_id', '=', id).executeTakeFirstOrThrow()
  return Number(count)
}
