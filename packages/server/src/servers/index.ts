export { joinServers, type Membership } from './membership.ts'
export { SILENT_BEATS_MAX } from './roll-call.ts'
