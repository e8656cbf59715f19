import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { AgentId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { deleteResourceRow } from '../resources/index.ts'
import { removeResources } from '../vaults/index.ts'
import { deleteAgentRows, findAgent, findMembership } from './agent-store.ts'

/**
 * Removes an agent, and starts the deletion of all its backups. What forbids that (a locked vault, work in
 * progress) forbids both. The deletion is asked for first: when the server dies in between, the agent is
 * still there, and calling again removes it.
 */
export async function unregisterAgent(
  deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents'>, caller: { projectId: ProjectId, requestId: string }, text: string,
): Promise<void> {
  const { projectId } = caller
  const id = parseUuid<AgentId>('agent_id', text)
  const agent = await findAgent(deps.db, projectId, id)
  if (agent === undefined) throw new Failure('agent.not_found', { agentId: id })
  const member = await findMembership(deps.db, projectId, agent.resource_id)
  if (member !== undefined && member.protect_status !== 'removing') {
    await removeResources(deps, caller, member.vault_id, { resource_ids: [agent.resource_id] })
  }
  await deps.db.transaction().execute(async (tx) => {
    await deleteAgentRows(tx, projectId, id)
    await deleteResourceRow(tx, projectId, agent.resource_id)
  })
}
