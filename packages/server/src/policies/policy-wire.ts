import type { Policy, PolicySchedule } from '@opencbr/contract'
import { formatTime, formatTimeOrNull, type Micros } from '../clock.ts'
import { parseDefinition, parsePattern } from './policy.ts'
import { nextRunOf, type PolicyView } from './policy-store.ts'

export function policyToWire({ policy, vaults }: PolicyView): Policy {
  return {
    id: policy.id,
    name: policy.name,
    enabled: policy.enabled === 1,
    operation_type: policy.operation_type,
    operation_definition: parseDefinition(policy.operation_definition),
    trigger: {
      id: policy.trigger_id,
      name: 'default',
      type: 'time',
      properties: {
        pattern: parsePattern(policy.pattern),
        // A blank and no fraction here, unlike all other times.
        start_time: formatTime(policy.created_at).slice(0, 19).replace('T', ' '),
      },
    },
    associated_vaults: vaults.length === 0
      ? null
      : vaults.map(({ vault_id, destination_vault_id }) => ({ vault_id, destination_vault_id })),
    policy_type: policy.policy_type,
  }
}

export function scheduleToWire({ policy }: PolicyView, now: Micros): PolicySchedule {
  return { policy_id: policy.id, enabled: policy.enabled === 1, time_zone: policy.time_zone, next_run_at: formatTimeOrNull(nextRunOf(policy, now)) }
}
