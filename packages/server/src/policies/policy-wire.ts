import type { Policy } from '@opencbr/contract'
import { formatTime } from '../clock.ts'
import { parseDefinition, parsePattern } from './policy.ts'
import type { PolicyView } from './policy-store.ts'

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
    policy_type: policy.policy_type as Policy['policy_type'],
  }
}
