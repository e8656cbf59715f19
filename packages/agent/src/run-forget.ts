/** Takes backups out of their vault. May run again: what is gone is gone. */
import type { ForgetAssignment, ForgetOutcome } from './protocol.ts'
import { backupTag } from './tags.ts'
import { hasRepository, withVault, type WorkContext } from './vault-repository.ts'

/**
 * Forgets every snapshot of the backups, also those of attempts that did not get to the end. The
 * data that only they needed stays in the packs until it is pruned.
 */
export async function runForget(job: ForgetAssignment, context: WorkContext): Promise<ForgetOutcome> {
  // Nothing was ever backed up here, so there is nothing to take out.
  if (!job.vault.repositoryExpected && !await hasRepository(job.vault)) return { kind: 'forget' }
  return withVault(job.vault, context, { exclusive: true, create: false }, async (repository, lock, signal) => {
    const tags = new Set(job.backupIds.map(backupTag))
    const snapshots = await repository.listSnapshots({ onDamaged: () => undefined, signal })
    const forgotten = snapshots.filter((each) => each.snapshot.tags?.some((tag) => tags.has(tag)) === true)
    await repository.forgetSnapshots(forgotten.map((each) => each.id), lock, signal)
    return { kind: 'forget' }
  })
}
