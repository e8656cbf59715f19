/** SQL of file agents and their directories. */
import type { ExpressionBuilder, SelectQueryBuilder } from 'kysely'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, Row, RowChange, Schema } from '../db/schema.ts'
import type { AgentId, ProjectId, ResourceId } from '../ids.ts'
import type { ShownAgentStatus } from './agent.ts'

export interface AgentView {
  readonly agent: Row<'agents'>
  /** By path. */
  readonly paths: readonly Row<'agent_paths'>[]
}

export interface AgentFilter {
  readonly ids?: readonly AgentId[] | undefined
  readonly status?: ShownAgentStatus | undefined
}

export async function findAgent(reader: Reader, projectId: ProjectId, id: AgentId): Promise<Row<'agents'> | undefined> {
  return reader.selectFrom('agents').selectAll().where('project_id', '=', projectId).where('id', '=', id).executeTakeFirst()
}

export async function findAgentOfResource(reader: Reader, projectId: ProjectId, resourceId: ResourceId): Promise<AgentView | undefined> {
  const agent = await reader.selectFrom('agents').selectAll()
    .where('project_id', '=', projectId).where('resource_id', '=', resourceId)
    .executeTakeFirst()
  return agent === undefined ? undefined : (await addPaths(reader, projectId, [agent]))[0]
}

/** The agents that stand behind the given resources. */
export async function findAgentsOfResources(reader: Reader, projectId: ProjectId, resourceIds: readonly ResourceId[]): Promise<AgentView[]> {
  if (resourceIds.length === 0) return []
  const agents = await reader.selectFrom('agents').selectAll()
    .where('project_id', '=', projectId).where('resource_id', 'in', resourceIds)
    .execute()
  return addPaths(reader, projectId, agents)
}

export async function findAgentView(reader: Reader, projectId: ProjectId, id: AgentId): Promise<AgentView | undefined> {
  const agent = await findAgent(reader, projectId, id)
  return agent === undefined ? undefined : (await addPaths(reader, projectId, [agent]))[0]
}

/** Newest first. */
export async function selectAgentPage(
  reader: Reader, projectId: ProjectId, filter: AgentFilter, page: { readonly limit: number, readonly offset: number },
): Promise<{ views: AgentView[], count: number }> {
  const { count } = await matching(reader.selectFrom('agents'), projectId, filter)
    .select(({ fn }) => fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  const agents = await matching(reader.selectFrom('agents').selectAll(), projectId, filter)
    .orderBy('created_at', 'desc').orderBy('id', 'desc').limit(page.limit).offset(page.offset)
    .execute()
  return { views: await addPaths(reader, projectId, agents), count: Number(count) }
}

function matching<Output>(
  query: SelectQueryBuilder<Schema, 'agents', Output>, projectId: ProjectId, { ids, status }: AgentFilter,
): SelectQueryBuilder<Schema, 'agents', Output> {
  let narrowed = query.where('agents.project_id', '=', projectId)
  if (ids !== undefined) narrowed = narrowed.where('agents.id', 'in', ids)
  if (status !== undefined) narrowed = narrowed.where(hasStatus(status))
  return narrowed
}

/** The same as `statusOf` says of a row. */
function hasStatus(status: ShownAgentStatus) {
  return ({ eb, and }: ExpressionBuilder<Schema, 'agents'>) => (status === 'uninstall'
    ? eb('agents.status', '=', 'uninstall')
    : and([eb('agents.status', '=', 'normal'), eb('agents.is_local', '=', status === 'normal' ? 1 : 0)]))
}

async function addPaths(reader: Reader, projectId: ProjectId, agents: readonly Row<'agents'>[]): Promise<AgentView[]> {
  if (agents.length === 0) return []
  const paths = await reader.selectFrom('agent_paths').selectAll()
    .where('project_id', '=', projectId).where('agent_id', 'in', agents.map((agent) => agent.id))
    .orderBy('dir_path').orderBy('id')
    .execute()
  const pathsOf = Map.groupBy(paths, (path) => path.agent_id)
  return agents.map((agent) => ({ agent, paths: pathsOf.get(agent.id) ?? [] }))
}

export async function insertAgent(tx: Transaction, row: NewRow<'agents'>): Promise<void> {
  await tx.insertInto('agents').values(row).execute()
}

export async function changeAgent(tx: Transaction, projectId: ProjectId, id: AgentId, change: RowChange<'agents'>): Promise<void> {
  await tx.updateTable('agents').set(change).where('project_id', '=', projectId).where('id', '=', id).execute()
}

export async function deleteAgentRows(tx: Transaction, projectId: ProjectId, id: AgentId): Promise<void> {
  await tx.deleteFrom('agent_paths').where('project_id', '=', projectId).where('agent_id', '=', id).execute()
  await tx.deleteFrom('agents').where('project_id', '=', projectId).where('id', '=', id).execute()
}

/** The vault that an agent's resource is in. */
export async function findMembership(
  reader: Reader, projectId: ProjectId, resourceId: ResourceId,
): Promise<Pick<Row<'vault_resources'>, 'vault_id' | 'protect_status'> | undefined> {
  return reader.selectFrom('vault_resources').select(['vault_id', 'protect_status'])
    .where('project_id', '=', projectId).where('resource_id', '=', resourceId)
    .executeTakeFirst()
}

/** The directories, of whomever, that agents are reading at the moment. */
export async function listPathsBeingRead(reader: Reader): Promise<{ project_id: ProjectId, resource_id: ResourceId, dir_path: string }[]> {
  return reader.selectFrom('vault_resources')
    .innerJoin('agents', (join) => join
      .onRef('agents.project_id', '=', 'vault_resources.project_id').onRef('agents.resource_id', '=', 'vault_resources.resource_id'))
    .innerJoin('agent_paths', (join) => join
      .onRef('agent_paths.project_id', '=', 'agents.project_id').onRef('agent_paths.agent_id', '=', 'agents.id'))
    .select(['agents.project_id', 'agents.resource_id', 'agent_paths.dir_path'])
    .where('vault_resources.protect_status', '=', 'protecting').where('agents.is_local', '=', 1)
    .execute()
}

/** A backup of the agent's resource has ended, so that nothing reads any more what was taken out meanwhile. */
export async function recordAgentRun(tx: Transaction, projectId: ProjectId, resourceId: ResourceId, now: Micros): Promise<void> {
  const agent = await tx.selectFrom('agents').select('id')
    .where('project_id', '=', projectId).where('resource_id', '=', resourceId)
    .executeTakeFirst()
  if (agent === undefined) return
  await changeAgent(tx, projectId, agent.id, { last_active_at: now })
  await tx.deleteFrom('agent_paths').where('project_id', '=', projectId).where('agent_id', '=', agent.id).where('status', '=', 'remove').execute()
}
