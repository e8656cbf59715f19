import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { deleteMemberRow } from './member-store.ts'
import { getMember, sideOf } from './show-members.ts'

/** The owner withdraws a share. A restore that runs from it ends as it began; one that waits fails. */
export async function deleteMember({ db }: Pick<Deps, 'db'>, projectId: ProjectId, id: string, memberId: string): Promise<void> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  await db.transaction().execute(async (tx) => {
    if (await sideOf(tx, projectId, backupId) !== 'owner') throw new Failure('member.not_found', { backupId, projectId: memberId.slice(0, 64) })
    const member = await getMember(tx, projectId, backupId, memberId)
    if (member.image_id !== null) throw new Failure('member.used_by_image', { backupId, imageId: member.image_id })
    await deleteMemberRow(tx, member.id)
  })
}
