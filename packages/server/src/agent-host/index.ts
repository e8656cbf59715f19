export { openAgentHost, type AgentHost, type AgentHostOptions } from './agent-host.ts'
