import type { Micros } from '../clock.ts'
import type { JobKind } from '../db/schema.ts'
import type { BackupId, ProjectId, ResourceId, VerificationId } from '../ids.ts'

/** What each kind of job is told, besides the columns of its row. Kept as JSON. */
export interface JobPayloads {
  readonly backup: {
    readonly resourceId: ResourceId
    /** Compare with the resource's previous backup; the first one reads everything in any case. */
    readonly incremental: boolean
  }
  readonly restore: RestorePayload
  readonly delete_backup: {
    /** The backup and its children. */
    readonly backupIds: readonly BackupId[]
    /** What they were before, and are again when the deletion is cancelled before it begins. */
    readonly formerStatus?: 'available' | 'error'
  }
  /** Into the job's target vault. */
  readonly migrate_resource: { readonly resourceIds: readonly ResourceId[] }
  /** What was copied elsewhere, and is not wanted in this vault any more. */
  readonly forget_moved: { readonly backupIds: readonly BackupId[] }
  readonly remove_resource: { readonly resourceIds: readonly ResourceId[] }
  readonly delete_vault: { readonly formerStatus?: 'available' | 'error' }
  readonly verify: {
    readonly verificationId: VerificationId
    /** Of a scrub: what it reads, and the vault's state when it has. */
    readonly scrub?: { readonly span: { readonly from: number, readonly to: number }, readonly position: number, readonly coveredUntil: Micros } | undefined
  }
}

export type RestorePayload = {
  /** Of a backup that was shared: whose it is. The job itself is the receiver's. */
  readonly ownerProjectId?: ProjectId
} & (
  | {
    readonly target: 'directory'
    /** Absolute; the directory that the tree's content is put into. */
    readonly destinationPath: string
    /** The resource that was backed up: it shows as restoring meanwhile. */
    readonly resourceId: ResourceId
  }
  | {
    readonly target: 'disk'
    /** The declared resource that is overwritten. */
    readonly resourceId: ResourceId
  }
)

/**
 * Kinds that take something out of a repository, or move it. Such a job runs alone in its vaults: restic's
 * exclusive lock would make it fail otherwise, after a wait, instead of waiting its turn here.
 *
 * That holds for backups beside a removal too, although most of a prune goes on under a shared lock. It begins (forget) and
 * ends (the short phase) with the exclusive one, and lock waits are short beside backups. A removal that found a
 * backup at work would fail; one that a backup joined would end with its space not given back, and in a vault that is
 * backed up all the time that would be so every time. Besides, what a prune has copied and not yet
 * replaced lies in the vault twice: a backup that ended then would measure it, and might grow the vault or reach its threshold
 * for good. To let backups in, the two phases would have to be jobs of their own, of which the second waits its
 * turn here; other programs and repository commands are let in by the locks already.
 */
export const EXCLUSIVE_KINDS = ['delete_backup', 'remove_resource', 'delete_vault', 'migrate_resource', 'forget_moved'] as const satisfies readonly JobKind[]
