/**
 * Copies backups from their vault into another one, and verifies them there: every blob is read back
 * from the target's storage before its snapshot is written. Takes nothing out of the source: that is a
 * job of its own, after the catalogue says where the backups are now. May run again: what is there is
 * found by its origin.
 */
import { copySnapshots, type StoredSnapshot } from '@opencbr/engine'
import type { MigrateAssignment, MigrateOutcome } from './protocol.ts'
import { BACKUP_TAG_PREFIX } from './tags.ts'
import { hasRepository, measureVault, withVault, type WorkContext } from './vault-repository.ts'

export async function runMigrate(job: MigrateAssignment, context: WorkContext, onProgress: (percent: number) => void): Promise<MigrateOutcome> {
  // Nothing was ever backed up there, so there is nothing to copy.
  if (!job.vault.repositoryExpected && !await hasRepository(job.vault)) return { kind: 'migrate', snapshots: [], target: undefined }
  const wanted = new Set(job.backupIds)
  return withVault(job.vault, context, { exclusive: false, create: false }, async (source, _lock, sourceSignal) => {
    const chosen = (await source.listSnapshots({ onDamaged: () => undefined, signal: sourceSignal })).filter((each) => wanted.has(backupOf(each) ?? ''))
    if (chosen.length === 0) return { kind: 'migrate', snapshots: [], target: undefined }
    const held = { ...context, signal: sourceSignal }
    const copied = await withVault(job.target, held, { exclusive: false, create: true, packBytesMax: () => job.roomBytes }, async (target, lock, signal) => {
      const { snapshots } = await copySnapshots(source, target, lock, chosen, {
        signal,
        onProgress: ({ snapshotsDone, snapshotsTotal }) => {
          if (snapshotsTotal > 0) onProgress((snapshotsDone / snapshotsTotal) * 100)
        },
      })
      return { snapshots, repositoryId: target.id, repositoryUrl: target.location }
    })
    const targetOf = new Map(copied.snapshots.map((each) => [each.sourceId, each.targetId]))
    return {
      kind: 'migrate',
      snapshots: chosen.map((each) => ({ sourceId: each.id, targetId: targetOf.get(each.id) ?? '' })),
      target: {
        repositoryId: copied.repositoryId,
        repositoryUrl: copied.repositoryUrl,
        usedBytes: await measureVault(job.target).catch(() => undefined),
      },
    }
  })
}

function backupOf({ snapshot }: StoredSnapshot): string | undefined {
  return snapshot.tags?.find((tag) => tag.startsWith(BACKUP_TAG_PREFIX))?.slice(BACKUP_TAG_PREFIX.length)
}
