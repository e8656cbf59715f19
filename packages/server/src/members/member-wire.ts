import type { Member } from '@opencbr/contract'
import { formatTime } from '../clock.ts'
import type { Row } from '../db/schema.ts'

export function memberToWire(row: Row<'backup_members'>): Member {
  return {
    id: row.id,
    backup_id: row.backup_id,
    dest_project_id: row.dest_project_id,
    status: row.status,
    vault_id: row.vault_id,
    image_id: row.image_id,
    created_at: formatTime(row.created_at),
    // A share that nobody has touched since has no time of a change.
    updated_at: row.updated_at === row.created_at ? null : formatTime(row.updated_at),
  }
}
