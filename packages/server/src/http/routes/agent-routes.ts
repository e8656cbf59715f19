import { readFileSync } from 'node:fs'
import {
  AddAgentPathAnswer, AddAgentPathBody, AgentAnswer, AgentParams, CheckAgentAnswer, CheckAgentBody, ListAgentsAnswer, ListAgentsQuery,
  RegisterAgentBody, RemoveAgentPathAnswer, RemoveAgentPathBody, UpdateAgentBody,
} from '@opencbr/contract'
import {
  addAgentPaths, agentToWire, checkAgents, listAgents, registerAgent, removeAgentPaths, showAgent, uninstallAgent, unregisterAgent,
} from '../../agents/index.ts'
import type { Deps } from '../../deps.ts'
import { ok, projectOf, route, type Route } from '../route.ts'

const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }

export function agentRoutes(deps: Deps): Route[] {
  return [...wholeAgentRoutes(deps), ...agentPathRoutes(deps)]
}

function wholeAgentRoutes(deps: Deps): Route[] {
  return [
    route({
      operationId: 'checkAgent',
      audited: false,
      method: 'POST',
      path: '/v3/:project_id/agent/check',
      access: { kind: 'project', action: 'cbr:agents:check' },
      summary: 'Tell whether agents of servers are in service',
      schemas: { body: CheckAgentBody, response: { 200: CheckAgentAnswer } },
      handle: async (call) => ok({ agent_status: await checkAgents(deps.db, projectOf(call).id, call.body.agent_status, version) }),
    }),
    route({
      operationId: 'listAgent',
      method: 'GET',
      path: '/v3/:project_id/agents',
      access: { kind: 'project', action: 'cbr:agents:list' },
      summary: 'List agents',
      schemas: { query: ListAgentsQuery, response: { 200: ListAgentsAnswer } },
      async handle(call) {
        const { views, count, limit, offset } = await listAgents(deps.db, projectOf(call).id, call.query)
        return ok({ agents: views.map(agentToWire), count, limit, offset })
      },
    }),
    route({
      operationId: 'registerAgent',
      method: 'POST',
      path: '/v3/:project_id/agents',
      access: { kind: 'project', action: 'cbr:agents:create' },
      summary: 'Register an agent',
      schemas: { body: RegisterAgentBody, response: { 200: AgentAnswer } },
      handle: async (call) => ok({ agent: agentToWire(await registerAgent(deps, projectOf(call).id, call.body.agent)) }),
    }),
    route({
      operationId: 'showAgent',
      method: 'GET',
      path: '/v3/:project_id/agents/:agent_id',
      access: { kind: 'project', action: 'cbr:agents:get' },
      summary: 'Show an agent',
      schemas: { params: AgentParams, response: { 200: AgentAnswer } },
      handle: async (call) => ok({ agent: agentToWire(await showAgent(deps.db, projectOf(call).id, call.params.agent_id)) }),
    }),
    route({
      operationId: 'updateAgent',
      method: 'PUT',
      path: '/v3/:project_id/agents/:agent_id',
      access: { kind: 'project', action: 'cbr:agents:update' },
      summary: 'Take an agent out of service',
      schemas: { params: AgentParams, body: UpdateAgentBody, response: { 200: AgentAnswer } },
      handle: async (call) => ok({ agent: agentToWire(await uninstallAgent(deps, projectOf(call).id, call.params.agent_id)) }),
    }),
    route({
      operationId: 'unregisterAgent',
      method: 'DELETE',
      path: '/v3/:project_id/agents/:agent_id',
      access: { kind: 'project', action: 'cbr:agents:delete' },
      summary: 'Remove an agent, and delete all its backups in the background',
      schemas: { params: AgentParams },
      async handle(call) {
        await unregisterAgent(deps, { projectId: projectOf(call).id, requestId: call.requestId }, call.params.agent_id)
        return { status: 200 }
      },
    }),
  ]
}

function agentPathRoutes(deps: Deps): Route[] {
  return [
    route({
      operationId: 'addAgentPath',
      method: 'POST',
      path: '/v3/:project_id/agents/:agent_id/add-path',
      access: { kind: 'project', action: 'cbr:agents:addPath' },
      summary: 'Add directories to what an agent backs up',
      schemas: { params: AgentParams, body: AddAgentPathBody, response: { 200: AddAgentPathAnswer } },
      handle: async (call) => ok(await addAgentPaths(deps, projectOf(call).id, call.params.agent_id, call.body)),
    }),
    route({
      operationId: 'removeAgentPath',
      method: 'POST',
      path: '/v3/:project_id/agents/:agent_id/remove-path',
      access: { kind: 'project', action: 'cbr:agents:removePath' },
      summary: 'Stop backing up directories',
      schemas: { params: AgentParams, body: RemoveAgentPathBody, response: { 200: RemoveAgentPathAnswer } },
      handle: async (call) => ok(await removeAgentPaths(deps, projectOf(call).id, call.params.agent_id, call.body)),
    }),
  ]
}
