import { Failure, type Repository, type SnapshotId } from '@opencbr/engine'
import { backupTag } from './tags.ts'

/** Other restic programs give a snapshot another id when they change its tags; ours stays among them. */
export async function findSnapshotOf(
  repository: Repository, backup: { readonly backupId: string, readonly snapshotId: string }, signal?: AbortSignal,
): Promise<SnapshotId> {
  const recorded = backup.snapshotId as SnapshotId
  if (await repository.findSnapshot(recorded, signal) !== undefined) return recorded
  const [tagged] = await repository.listSnapshots({ tags: [backupTag(backup.backupId)], onDamaged: () => undefined, signal })
  if (tagged === undefined) throw new Failure('snapshot.not_found', { snapshotId: recorded })
  return tagged.id
}
