import { isAllowedDestination } from '@opencbr/agent'
import type { AddAgentPathBody, RemoveAgentPathBody } from '@opencbr/contract'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { pathRulesOf } from '../config.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import { newUuid, type AgentId, type AgentPathId, type ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { AGENT_PATHS_MAX, readDirectory, readExcludes } from './agent.ts'
import { changeAgent, findAgentView, type AgentView } from './agent-store.ts'

type PathDeps = Pick<Deps, 'db' | 'clock' | 'config'>

/** Adds directories to what an agent backs up. They need not exist yet; one of this machine must lie where it may be read. */
export async function addAgentPaths(
  deps: PathDeps, projectId: ProjectId, text: string, body: AddAgentPathBody,
): Promise<{ added: string[], existed: string[] }> {
  const id = parseUuid<AgentId>('agent_id', text)
  const paths = [...new Set(body.add_path.map((path, place) => readDirectory(`add_path.${place}`, path)))]
  const excludes = readAllExcludes(body, paths)
  const { agent } = await getAgent(deps.db, projectId, id)
  if (agent.is_local === 1) await assertMayBeRead(deps, projectId, body, paths)
  return deps.db.transaction().execute(async (tx) => {
    const view = await getAgent(tx, projectId, id)
    const known = new Map(view.paths.map((path) => [path.dir_path, path]))
    if (new Set([...known.keys(), ...paths]).size > AGENT_PATHS_MAX) {
      throw new Failure('parameter.invalid', { field: 'add_path', reason: `an agent has at most ${AGENT_PATHS_MAX} directories` })
    }
    const now = deps.clock.now()
    const result = { added: [] as string[], existed: [] as string[] }
    for (const path of paths) {
      const row = known.get(path)
      const isAdded = row === undefined || row.status === 'remove'
      result[isAdded ? 'added' : 'existed'].push(path)
      await writePath(tx, { project_id: projectId, agent_id: id, dir_path: path, created_at: now }, row, excludes.get(path))
    }
    await changeAgent(tx, projectId, id, { updated_at: now, last_active_at: now })
    return result
  })
}

/** Stops backing up directories. One that a backup may be reading stands as `remove` until that has ended. */
export async function removeAgentPaths(
  deps: PathDeps, projectId: ProjectId, text: string, body: RemoveAgentPathBody,
): Promise<{ removed: string[], not_existed: string[] }> {
  const id = parseUuid<AgentId>('agent_id', text)
  const paths = [...new Set(body.remove_path.map((path, place) => readDirectory(`remove_path.${place}`, path)))]
  return deps.db.transaction().execute(async (tx) => {
    const { agent, paths: known } = await getAgent(tx, projectId, id)
    const leaving = known.filter((path) => path.status === 'available' && paths.includes(path.dir_path))
    const ids = leaving.map((path) => path.id)
    const isBeingRead = await tx.selectFrom('vault_resources').select('vault_id')
      .where('project_id', '=', projectId).where('resource_id', '=', agent.resource_id).where('protect_status', '=', 'protecting')
      .executeTakeFirst() !== undefined
    if (ids.length > 0 && isBeingRead) await tx.updateTable('agent_paths').set({ status: 'remove' }).where('id', 'in', ids).execute()
    if (ids.length > 0 && !isBeingRead) await tx.deleteFrom('agent_paths').where('id', 'in', ids).execute()
    const now = deps.clock.now()
    await changeAgent(tx, projectId, id, { updated_at: now, last_active_at: now })
    const removed = new Set(leaving.map((path) => path.dir_path))
    return { removed: paths.filter((path) => removed.has(path)), not_existed: paths.filter((path) => !removed.has(path)) }
  })
}

async function getAgent(reader: Parameters<typeof findAgentView>[0], projectId: ProjectId, id: AgentId): Promise<AgentView> {
  const view = await findAgentView(reader, projectId, id)
  if (view === undefined) throw new Failure('agent.not_found', { agentId: id })
  return view
}

/** By directory; those that the call says nothing of are not in it. */
function readAllExcludes(body: AddAgentPathBody, paths: readonly string[]): Map<string, string | null> {
  return new Map((body.exclude_path ?? []).map((each, place) => {
    const field = `exclude_path.${place}`
    const directory = readDirectory(`${field}.path_name`, each.path_name ?? '')
    if (!paths.includes(directory)) throw new Failure('parameter.invalid', { field: `${field}.path_name`, reason: 'it is not one of add_path' })
    return [directory, readExcludes(`${field}.exclude_path_name`, directory, each.exclude_path_name ?? [])]
  }))
}

async function assertMayBeRead({ config }: PathDeps, projectId: ProjectId, body: AddAgentPathBody, paths: readonly string[]): Promise<void> {
  const rules = pathRulesOf(config, projectId)
  for (const path of paths) {
    if (await isAllowedDestination(path, rules)) continue
    const place = body.add_path.findIndex((each, at) => readDirectory(`add_path.${at}`, each) === path)
    throw new Failure('parameter.invalid', { field: `add_path.${place}`, reason: 'it does not lie inside a directory that the operator allows' })
  }
}

async function writePath(
  tx: Transaction, path: Pick<Row<'agent_paths'>, 'project_id' | 'agent_id' | 'dir_path' | 'created_at'>,
  known: Row<'agent_paths'> | undefined, excludes: string | null | undefined,
): Promise<void> {
  if (known === undefined) {
    await tx.insertInto('agent_paths').values({ id: newUuid<AgentPathId>(), ...path, status: 'available', exclude_paths: excludes ?? null }).execute()
    return
  }
  await tx.updateTable('agent_paths')
    .set({ status: 'available', ...(excludes === undefined ? {} : { exclude_paths: excludes }) })
    .where('id', '=', known.id)
    .execute()
}
