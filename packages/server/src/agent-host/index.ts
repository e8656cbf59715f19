export { openAgentHost, type AgentHost, type AgentHostOptions } from './agent-host.ts'
export { cancelWaiting } from './end-job.ts'
export { isRemoval } from './record-removal.ts'
