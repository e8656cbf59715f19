/** Takes backups out of their vault, and gives back their space. May run again: what is gone is gone. */
import { planPrune, runPrune, type PruneProgress, type Repository, type TakeLock } from '@opencbr/engine'
import { removeLeftovers } from '@opencbr/storage'
import type { ForgetAssignment, ForgetOutcome, TaskFailure, TaskWarning } from './protocol.ts'
import { backupTag } from './tags.ts'
import { hasRepository, underLock, vaultPlace, withVaultRepository, type VaultPlace, type WorkContext } from './vault-repository.ts'

/** How far the job is once a stage of pruning begins, and once it is through, in percent. */
const SPANS: Record<PruneProgress['stage'], readonly [begin: number, end: number]> = {
  marking: [5, 50],
  repacking: [50, 90],
  removing: [90, 100],
}

/** No write takes so long, so what is older and has no final name was left by a process that was killed. */
const LEFTOVER_AGE_MS = 24 * 3600 * 1000

const NOTHING_THERE: ForgetOutcome = { kind: 'forget', freedBytes: 0, pendingBytes: 0, warnings: [], warningCount: 0 }

/**
 * Forgets every snapshot of the backups, also those of attempts that did not get to the end, then
 * prunes the data that only they needed; backups go on during most of that. Once a backup is forgotten
 * it is gone: that its space cannot be given back at the moment is reported, and does not fail the job.
 */
export async function runForget(
  job: ForgetAssignment, context: WorkContext, onProgress: (percent: number) => void,
): Promise<ForgetOutcome> {
  const place = vaultPlace(job.vault)
  // Nothing was ever backed up here, so there is nothing to take out.
  if (!job.vault.repositoryExpected && !await hasRepository(job.vault)) return NOTHING_THERE
  return withVaultRepository(job.vault, context, { create: false }, async (repository, takeLock) => {
    await underLock(takeLock, true, context, async (lock, signal) => {
      const tags = new Set(job.backupIds.map(backupTag))
      const snapshots = await repository.listSnapshots({ onDamaged: () => undefined, signal })
      const forgotten = snapshots.filter((each) => each.snapshot.tags?.some((tag) => tags.has(tag)) === true)
      await repository.forgetSnapshots(forgotten.map((each) => each.id), lock, signal)
    })
    try {
      const space = await prune(repository, takeLock, context, onProgress)
      if (place.directory !== undefined) await removeLeftovers(place.directory, Date.now() - LEFTOVER_AGE_MS)
      return { kind: 'forget', ...space, warnings: [], warningCount: 0 }
    } catch (error) {
      // Parked: the next attempt finds nothing to forget, and goes on pruning.
      if (context.signal.aborted) throw error
      return { kind: 'forget', freedBytes: undefined, pendingBytes: undefined, warnings: [tellLeftover(place, context.describe(error))], warningCount: 1 }
    }
  })
}

async function prune(
  repository: Repository, takeLock: TakeLock, context: WorkContext, onProgress: (percent: number) => void,
): Promise<{ freedBytes: number, pendingBytes: number }> {
  const report = ({ stage, done, total }: PruneProgress): void => {
    const [begin, end] = SPANS[stage]
    if (total > 0) onProgress(begin + (end - begin) * (done / total))
  }
  const plan = await underLock(takeLock, false, context, (_lock, signal) => planPrune(repository, { signal, onProgress: report }))
  const graceMs = context.settings.pruneGraceMs
  const { freedBytes, pendingBytes } = await runPrune(repository, takeLock, plan, { signal: context.signal, onProgress: report, graceMs })
  // With a grace there may be more copied than has gone yet.
  return { freedBytes: Math.max(0, freedBytes), pendingBytes: plan.remainingUnusedBytes + pendingBytes }
}

function tellLeftover({ storage }: VaultPlace, failure: TaskFailure): TaskWarning {
  const message = `What was removed is gone, but its space has not been given back, or not all of it; the next removal tries again. ${failure.message}`
  return { path: storage.location, message }
}
