/** Restores one backup. May run again over its own unfinished work: what is in place already stays. */
import { Failure, restoreImage, restoreTree } from '@opencbr/engine'
import { isAllowedDestination } from './allowed-path.ts'
import { findSnapshotOf } from './find-snapshot.ts'
import { WARNINGS_MAX, type RestoreAssignment, type RestoreOutcome } from './protocol.ts'
import { withVault, type WorkContext } from './vault-repository.ts'

export async function runRestore(
  job: RestoreAssignment, context: WorkContext, onProgress: (percent: number) => void,
): Promise<RestoreOutcome> {
  const { allowedRoots } = job
  if (!await isAllowedDestination(job.target.path, { allowedRoots, forbiddenPaths: context.settings.forbiddenPaths })) throw new Failure('destination.forbidden', { path: job.target.path })
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
