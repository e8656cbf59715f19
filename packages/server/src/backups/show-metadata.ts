import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { getShownBackup, type ShownBackup } from './show-backup.ts'

/** What a description of the source is made of; only an available backup has one. */
export async function showMetadata({ db }: Pick<Deps, 'db'>, projectId: ProjectId, id: string): Promise<ShownBackup> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  const shown = await getShownBackup(db, projectId, backupId)
  const { status } = shown.backup
  if (status !== 'available') throw new Failure('backup.status_forbids_metadata', { backupId, status })
  return shown
}
