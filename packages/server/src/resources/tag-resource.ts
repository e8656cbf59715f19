import type { TagResourceBody } from '@opencbr/contract'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, ResourceId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { readTags } from '../tag.ts'
import { findResource, replaceResourceTags, type ResourceRow } from './resource-store.ts'

/** Gives a declared resource these tags and no others. */
export async function tagResource(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, id: string, body: TagResourceBody,
): Promise<ResourceRow> {
  const resourceId = parseUuid<ResourceId>('resource_id', id)
  const tags = readTags('tags', body.tags)
  return db.transaction().execute(async (tx) => {
    const found = await findResource(tx, projectId, resourceId)
    if (found === undefined) throw new Failure('resource.not_found', { resourceId })
    await replaceResourceTags(tx, resourceId, tags)
    const updatedAt = clock.now()
    await tx.updateTable('resources').set({ updated_at: updatedAt }).where('project_id', '=', projectId).where('id', '=', resourceId).execute()
    return { ...found, tags: tags.toSorted((a, b) => a.key < b.key ? -1 : 1), updated_at: updatedAt }
  })
}
