import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { AgentId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { changeAgent, findAgentView, type AgentView } from './agent-store.ts'

/** Takes an agent out of service: its backups stay, and no further ones are made until it is registered again. */
export async function uninstallAgent({ db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, text: string): Promise<AgentView> {
  const id = parseUuid<AgentId>('agent_id', text)
  return db.transaction().execute(async (tx) => {
    const now = clock.now()
    await changeAgent(tx, projectId, id, { status: 'uninstall', updated_at: now, last_active_at: now })
    const view = await findAgentView(tx, projectId, id)
    if (view === undefined) throw new Failure('agent.not_found', { agentId: id })
    return view
  })
}
