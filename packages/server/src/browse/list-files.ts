import type { BackupFile, ListBackupFilesAnswer, ListBackupFilesQuery } from '@opencbr/contract'
import type { Deps } from '../deps.ts'
import type { ProjectId } from '../ids.ts'
import { decodeName, decodePath, encodeName, encodePath } from './file-path.ts'
import { getReadableBackup } from './readable-backup.ts'
import { asReadFailure } from './read-failure.ts'

const PAGE_MAX = 1000

/** A page of a directory of a backup. */
export async function listFiles(
  deps: Pick<Deps, 'db' | 'config' | 'secrets' | 'reader'>, projectId: ProjectId, id: string, query: ListBackupFilesQuery,
): Promise<ListBackupFilesAnswer> {
  const path = decodePath('path', query.path ?? '/')
  const after = query.marker === undefined ? undefined : decodeName('marker', query.marker)
  const limit = Math.min(query.limit ?? PAGE_MAX, PAGE_MAX)
  const { backup, place } = await getReadableBackup(deps, projectId, id)
  const { entries, count } = await deps.reader.list({ place, path, after, limit })
    .catch((error: unknown) => { throw asReadFailure(error, backup.id, encodePath(path)) })
  const files = entries.map((entry): BackupFile => ({
    name: encodeName(entry.name),
    path: encodePath([...path, entry.name]),
    type: entry.type,
    size: entry.size ?? null,
    mode: entry.mode.toString(8).padStart(4, '0'),
    mtime: entry.mtime,
    uid: entry.uid,
    gid: entry.gid,
    user: entry.user,
    group: entry.group,
    link_target: entry.linkTarget === undefined ? null : encodeName(entry.linkTarget),
  }))
  return { path: encodePath(path), files, count, limit }
}
