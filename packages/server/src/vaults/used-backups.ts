import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import type { ResourceId } from '../ids.ts'

/**
 * Refuses to take backups out of a vault, all or those of some resources, while somebody needs one of them:
 * an image was made from it (6204), or a restore reads it, perhaps of a project that it is shared with (6216).
 */
export async function refuseIfUsed(reader: Reader, vault: Pick<Row<'vaults'>, 'id' | 'project_id'>, resourceIds?: readonly ResourceId[]): Promise<void> {
  let held = reader.selectFrom('backups').select(['id', 'os_images_data', 'status'])
    .where('project_id', '=', vault.project_id).where('vault_id', '=', vault.id)
    .where(({ eb, or }) => or([
      eb('status', 'in', ['waiting_restore', 'restoring']),
      eb.and([eb('os_images_data', 'is not', null), eb('os_images_data', '!=', '[]')]),
    ]))
    .orderBy('id').limit(1)
  if (resourceIds !== undefined) held = held.where('resource_id', 'in', resourceIds)
  const used = await held.executeTakeFirst()
  if (used === undefined) return
  const [image] = JSON.parse(used.os_images_data ?? '[]') as { image_id: string }[]
  if (image === undefined) throw new Failure('backup.in_use', { backupId: used.id })
  throw new Failure('backup.used_by_image', { backupId: used.id, imageId: image.image_id })
}
