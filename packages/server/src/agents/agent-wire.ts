import type { Agent } from '@opencbr/contract'
import { formatTime } from '../clock.ts'
import { statusOf } from './agent.ts'
import type { AgentView } from './agent-store.ts'

export function agentToWire({ agent, paths }: AgentView): Agent {
  return {
    agent_id: agent.id,
    agent_type: agent.agent_type,
    agent_version: agent.agent_version,
    host_ip: agent.host_ip,
    host_name: agent.host_name,
    host_nickname: agent.host_nickname,
    host_os: agent.host_os,
    status: statusOf(agent),
    paths: paths.map(({ id, agent_id, dir_path, status, exclude_paths }) => ({ id, agent_id, dir_path, status, exclude_paths })),
    created_at: formatTime(agent.created_at),
    updated_at: formatTime(agent.updated_at),
    last_active_time: formatTime(agent.last_active_at),
  }
}
