import type { CheckAgentBody } from '@opencbr/contract'
import type { Reader } from '../db/database.ts'
import type { AgentId, ProjectId } from '../ids.ts'
import { isOlder, statusOf } from './agent.ts'
import { selectAgentPage } from './agent-store.ts'

export interface CheckedAgent {
  readonly resource_id: string
  readonly installed: boolean
  readonly version: string | null
  readonly is_old: boolean | null
  readonly code: string | null
  readonly message: string | null
}

const SERVER_STATUS_FORBIDS = 'BackupService.7101'

/** Whether agents with the ids of the given servers are in service; in the order asked for. */
export async function checkAgents(
  reader: Reader, projectId: ProjectId, asked: CheckAgentBody['agent_status'], programVersion: string,
): Promise<CheckedAgent[]> {
  const ids = [...new Set(asked.map(({ resource_id }) => resource_id.toLowerCase() as AgentId))]
  if (ids.length === 0) return []
  const { views } = await selectAgentPage(reader, projectId, { ids }, { limit: ids.length, offset: 0 })
  const byId = new Map(views.map(({ agent }) => [agent.id as string, agent]))
  return asked.map(({ resource_id }) => {
    const agent = byId.get(resource_id.toLowerCase())
    if (agent === undefined) return { resource_id, installed: false, version: null, is_old: null, code: null, message: null }
    const status = statusOf(agent)
    const version = agent.agent_version
    return {
      resource_id,
      installed: status === 'normal',
      version,
      is_old: version === null ? null : isOlder(version, programVersion),
      code: status === 'normal' ? null : SERVER_STATUS_FORBIDS,
      message: status === 'normal' ? null : `The agent is ${status}.`,
    }
  })
}
