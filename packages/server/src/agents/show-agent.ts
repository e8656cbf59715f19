import type { ListAgentsQuery } from '@opencbr/contract'
import type { Reader } from '../db/database.ts'
import { Failure } from '../failures.ts'
import type { AgentId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import type { ShownAgentStatus } from './agent.ts'
import { findAgentView, selectAgentPage, type AgentView } from './agent-store.ts'

const PAGE_MAX = 1000
const STATUSES: ReadonlySet<string> = new Set<ShownAgentStatus>(['normal', 'offline', 'uninstall'])

export async function showAgent(reader: Reader, projectId: ProjectId, id: string): Promise<AgentView> {
  const view = await findAgentView(reader, projectId, parseUuid<AgentId>('agent_id', id))
  if (view === undefined) throw new Failure('agent.not_found', { agentId: id })
  return view
}

/** A page of the project's agents, newest first, and how many match altogether. */
export async function listAgents(
  reader: Reader, projectId: ProjectId, query: ListAgentsQuery,
): Promise<{ views: AgentView[], count: number, limit: number, offset: number }> {
  const limit = Math.min(query.limit ?? PAGE_MAX, PAGE_MAX)
  const offset = query.offset ?? 0
  const status = query.status?.toLowerCase()
  // No agent is in a state that there is not.
  if (status !== undefined && !STATUSES.has(status)) return { views: [], count: 0, limit, offset }
  const filter = { status: status as ShownAgentStatus | undefined, ids: query.agent_id?.map((id) => id.toLowerCase() as AgentId) }
  return { ...await selectAgentPage(reader, projectId, filter, { limit, offset }), limit, offset }
}
