import type { RegisterAgentBody } from '@opencbr/contract'
import type { Deps } from '../deps.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { newUuid, type AgentId, type ProjectId, type ResourceId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { changeResource, insertResource, nameFromPath } from '../resources/index.ts'
import { isThisMachine } from './agent.ts'
import { changeAgent, findAgent, findAgentView, insertAgent, type AgentView } from './agent-store.ts'

/**
 * Registers an agent, and with it the resource that stands for its machine. Registering again tells what
 * has changed, and puts an agent back into service that was taken out.
 */
export async function registerAgent(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, wanted: RegisterAgentBody['agent'],
): Promise<AgentView> {
  const id = parseUuid<AgentId>('agent.agent_id', wanted.agent_id)
  const now = clock.now()
  const told = {
    agent_type: wanted.agent_type ?? 'native',
    agent_version: wanted.agent_version ?? null,
    host_ip: wanted.host_ip,
    host_name: wanted.host_name,
    host_nickname: wanted.host_nickname ?? null,
    host_os: wanted.host_os,
    status: 'normal',
    is_local: isThisMachine({ hostIp: wanted.host_ip, hostName: wanted.host_name }),
    updated_at: now,
    last_active_at: now,
  } as const
  return db.transaction().execute(async (tx) => {
    const known = await findAgent(tx, projectId, id)
    if (known === undefined) {
      const resourceId = await insertServer(tx, projectId, id, told, now)
      await insertAgent(tx, { project_id: projectId, id, resource_id: resourceId, created_at: now, ...told })
    } else {
      await changeAgent(tx, projectId, id, told)
      await changeResource(tx, projectId, known.resource_id, { name: nameOf(told), updated_at: now })
    }
    const view = await findAgentView(tx, projectId, id)
    if (view === undefined) throw new TypeError('an agent that was just written is not there')
    return view
  })
}

/**
 * The resource has the agent's id, so that whoever knows one knows the other. Ids are unique only inside
 * a project, and resources' everywhere: where somebody else has it, the resource gets an id of its own.
 */
async function insertServer(
  tx: Transaction, projectId: ProjectId, agentId: AgentId, told: Pick<Row<'agents'>, 'host_name' | 'host_nickname'>, now: number,
): Promise<ResourceId> {
  const wished = agentId as string as ResourceId
  const isTaken = await tx.selectFrom('resources').select('id').where('id', '=', wished).executeTakeFirst() !== undefined
  const id = isTaken ? newUuid<ResourceId>() : wished
  await insertResource(tx, {
    id, project_id: projectId, type: 'OS::Native::Server', name: nameOf(told), path: `agent:${agentId}`, size_bytes: 0, created_at: now, updated_at: now,
  }, [])
  return id
}

function nameOf({ host_name, host_nickname }: Pick<Row<'agents'>, 'host_name' | 'host_nickname'>): string {
  return nameFromPath(host_nickname === null || host_nickname === '' ? host_name : host_nickname)
}
