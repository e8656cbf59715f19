import type { Checkpoint } from '@opencbr/contract'
import { formatTime, type Micros } from '../clock.ts'
import type { Row } from '../db/schema.ts'
import { parseSkipped, type CheckpointResource } from './checkpoint-store.ts'

const BYTES_PER_MB = 1024 * 1024
const MICROS_PER_DAY = 24 * 3600 * 1_000_000

/** A checkpoint with what its answer also needs. */
export interface CheckpointView {
  readonly checkpoint: Row<'checkpoints'>
  readonly vault: { readonly name: string, readonly provider_id: string }
  readonly resources: readonly CheckpointResource[]
  /** The end that a policy gave its backups; null when they have none. */
  readonly expiredAt: Micros | null
}

/** Sizes and counts are texts here, and integers in vaults: clients parse both that strictly. */
export function checkpointToWire({ checkpoint, vault, resources, expiredAt }: CheckpointView): Checkpoint {
  return {
    id: checkpoint.id,
    project_id: checkpoint.project_id,
    status: checkpoint.status,
    created_at: formatTime(checkpoint.created_at),
    vault: {
      id: checkpoint.vault_id,
      name: vault.name,
      provider_id: vault.provider_id,
      resources: resources.map((resource) => ({
        id: resource.id,
        name: resource.name,
        type: resource.type,
        protect_status: resource.protect_status ?? 'deleted',
        resource_size: String(resource.size_gb),
        backup_size: String(Math.ceil(resource.stored_bytes / BYTES_PER_MB)),
        backup_count: String(resource.backup_count),
        extra_info: null,
      })),
      skipped_resources: parseSkipped(checkpoint.skipped_resources),
    },
    extra_info: { name: checkpoint.name, description: checkpoint.description, retention_duration: daysFrom(checkpoint.created_at, expiredAt) },
  }
}

/** Whole days, as policies count them; -1 when there is no end. */
function daysFrom(createdAt: Micros, expiredAt: Micros | null): number {
  return expiredAt === null ? -1 : Math.round((expiredAt - createdAt) / MICROS_PER_DAY)
}
