/** Restores one backup. May run again over its own unfinished work: what is in place already stays. */
import { Failure, restoreImage, restoreTree, type Repository, type SnapshotId } from '@opencbr/engine'
import { isAllowedDestination } from './allowed-path.ts'
import { WARNINGS_MAX, type RestoreAssignment, type RestoreOutcome } from './protocol.ts'
import { backupTag } from './tags.ts'
import { withVault, type WorkContext } from './vault-repository.ts'

export async function runRestore(
  job: RestoreAssignment, context: WorkContext, onProgress: (percent: number) => void,
): Promise<RestoreOutcome> {
  const { allowedRoots } = context.settings
  if (!await isAllowedDestination(job.target.path, context.settings)) throw new Failure('destination.forbidden', { path: job.target.path })
  return withVault(job.vault, context, { exclusive: false, create: false }, async (repository, _lock, signal) => {
    const common = {
      snapshotId: await findSnapshotOf(repository, job, signal),
      sourcePath: job.sourcePath,
      allowedRoots,
      signal,
      onProgress: ({ bytesDone, bytesTotal }: { bytesDone: number, bytesTotal: number }) => {
        if (bytesTotal > 0) onProgress((bytesDone / bytesTotal) * 100)
      },
    }
    await repository.loadIndex({ signal })
    const result = job.target.kind === 'disk'
      ? await restoreImage(repository, { ...common, targetPath: job.target.path })
      : await restoreTree(repository, { ...common, destination: job.target.path })
    return {
      kind: 'restore',
      whole: result.whole,
      warnings: result.warnings.slice(0, WARNINGS_MAX).map(({ path, message }) => ({ path, message })),
      warningCount: result.warningsTotal,
    }
  })
}

/** Other restic programs give a snapshot another id when they change its tags; ours stays among them. */
async function findSnapshotOf(repository: Repository, job: RestoreAssignment, signal: AbortSignal): Promise<SnapshotId> {
  const recorded = job.snapshotId as SnapshotId
  if (await repository.findSnapshot(recorded, signal) !== undefined) return recorded
  const [tagged] = await repository.listSnapshots({ tags: [backupTag(job.backupId)], onDamaged: () => undefined, signal })
  if (tagged === undefined) throw new Failure('snapshot.not_found', { snapshotId: recorded })
  return tagged.id
}
