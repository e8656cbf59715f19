import type { DeclaredResource } from '@opencbr/contract'
import { formatTime } from '../clock.ts'
import { sizeInGb } from './resource.ts'
import type { ResourceRow } from './resource-store.ts'

export function resourceToWire(row: ResourceRow): DeclaredResource {
  return {
    id: row.id,
    project_id: row.project_id,
    type: row.type,
    name: row.name,
    path: row.type === 'OS::Native::Server' ? null : row.path,
    size: sizeInGb(row.size_bytes),
    size_bytes: row.size_bytes,
    vault_id: row.vault_id,
    tags: row.tags.map(({ key, value }) => ({ key, value })),
    created_at: formatTime(row.created_at),
    updated_at: formatTime(row.updated_at),
  }
}
