import type { Reader } from '../db/database.ts'
import type { ProjectId, ResourceId } from '../ids.ts'

/**
 * Where on this machine the content of resources lies: the path of a tree or disk, and the directories of
 * an agent. Resources that nobody offers, and those of other machines, lie nowhere.
 */
export async function listSourcePaths(
  reader: Reader, projectId: ProjectId, resourceIds: readonly ResourceId[],
): Promise<{ resourceId: ResourceId, path: string }[]> {
  if (resourceIds.length === 0) return []
  const declared = await reader.selectFrom('resources').select(['id as resourceId', 'path'])
    .where('project_id', '=', projectId).where('id', 'in', resourceIds).where('type', '!=', 'OS::Native::Server')
    .execute()
  const ofAgents = await reader.selectFrom('agents')
    .innerJoin('agent_paths', (join) => join
      .onRef('agent_paths.project_id', '=', 'agents.project_id').onRef('agent_paths.agent_id', '=', 'agents.id'))
    .select(['agents.resource_id as resourceId', 'agent_paths.dir_path as path'])
    .where('agents.project_id', '=', projectId).where('agents.resource_id', 'in', resourceIds).where('agents.is_local', '=', 1)
    .execute()
  return [...declared, ...ofAgents]
}
