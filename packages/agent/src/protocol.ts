/**
 * What server and agent say to each other over the IPC channel between them. The agent asks for
 * work, the server leases; secrets travel only here. Messages of one side arrive in order.
 *
 *   agent  -> server   lease; per job: room*, progress*, end; alive
 *   server -> agent    settings (first), assign (answers a lease), room (answers one), wake (there may be new work), cancel (a job), stop
 */
import type { StorageKeys } from '@opencbr/storage'

/** What the agent has to know before it can work. */
export interface AgentSettings {
  /** Names the deployment in snapshots: the same for all of them, so that runs find their parents. */
  readonly snapshotHostname: string
  /** Identifies the deployment's catalogue, so that the agent knows locks of its own predecessors. */
  readonly installation: string
  /** Whether agents of other servers, perhaps on other machines, work for the same deployment. */
  readonly hasFellows: boolean
  /** Absolute paths that are neither backed up nor restored to: the server's own data. */
  readonly forbiddenPaths: readonly string[]
  /** Where drills restore to; nothing else lies there. */
  readonly scratchDir: string
  readonly jobsMax: number
  /** How long to wait for somebody else's lock on a repository, in milliseconds. */
  readonly lockPatienceMs: number
  /** How long data that no backup needs stays before it is pruned, in milliseconds by the storage's clock. */
  readonly pruneGraceMs: number
  readonly programVersion: string
  /** How often to say that it is alive, in milliseconds. */
  readonly aliveEveryMs: number
}

export interface VaultAccess {
  readonly projectId: string
  readonly vaultId: string
  /** Where the repository lies: an absolute directory or `s3:…`, which ends with `/<projectId>/<vaultId>`. */
  readonly address: string
  /** For a bucket. */
  readonly storageKeys: StorageKeys
  readonly password: string
  /** Whether a first backup has made the repository; one that has gone since is not made again. */
  readonly repositoryExpected: boolean
  /** What the repository's guard against removal is to say: null when the vault is not locked, absent for it to stay as it is. */
  readonly guard?: { readonly reason: string, readonly facts: Readonly<Record<string, string | number | null>> } | null
}

interface Job {
  readonly jobId: string
  readonly vault: VaultAccess
}

export type SourceKind = 'directory' | 'disk'

/** One of several directories that are backed up together. */
export interface SourceDirectory {
  /** Absolute. */
  readonly path: string
  /** Lines of a `.gitignore` in it. */
  readonly excludes: readonly string[]
}

export interface BackupAssignment extends Job {
  readonly kind: 'backup'
  readonly backupId: string
  readonly checkpointId: string
  readonly resourceId: string
  /** Milliseconds since 1970: the time of the backup, the same however often it is tried. */
  readonly takenAtMs: number
  readonly source: { readonly kind: SourceKind, readonly path: string } | { readonly kind: 'directories', readonly directories: readonly SourceDirectory[] }
  /** Absolute directories inside which sources must lie. */
  readonly allowedRoots: readonly string[]
  readonly incremental: boolean
  /** What the source held when it was last looked at; for telling progress. */
  readonly expectedBytes: number
}

export interface RestoreAssignment extends Job {
  readonly kind: 'restore'
  readonly backupId: string
  readonly snapshotId: string
  /** Absolute path of the source when it was backed up: where its content lies in the snapshot. */
  readonly sourcePath: string
  readonly target: { readonly kind: SourceKind, readonly path: string }
  /** Absolute directories inside which it must lie. */
  readonly allowedRoots: readonly string[]
}

export interface ForgetAssignment extends Job {
  readonly kind: 'forget'
  readonly backupIds: readonly string[]
}

export interface RemoveVaultAssignment extends Job {
  readonly kind: 'remove_vault'
}

/** `structure`: everything is there. `sample`, `data`: and some, or all, of the content is what it should be. `drill`: a restore works. */
export type VerifyLevel = 'structure' | 'sample' | 'data' | 'drill'

/** What a verification looks at: one backup, a whole vault, or the packs of a vault in a span of their ids. */
export type VerifyScope =
  | { readonly kind: 'backup', readonly backupId: string, readonly snapshotId: string, readonly sourcePath: string, readonly isDisk: boolean, readonly contentBytes: number }
  | { readonly kind: 'vault' }
  | { readonly kind: 'packs', readonly span: PackSpan }

/**
 * Packs by the first 48 bits of their ids, which are hashes and lie evenly: from `from` to below `to`. A
 * span whose end lies before its beginning goes on at 0; one whose ends meet is all of them.
 */
export interface PackSpan {
  readonly from: number
  readonly to: number
}

export interface VerifyAssignment extends Job {
  readonly kind: 'verify'
  readonly level: VerifyLevel
  /** At level `sample`. */
  readonly samplePercent: number | undefined
  readonly scope: VerifyScope
}

/** Copies backups into another vault; takes nothing out of theirs. */
export interface MigrateAssignment extends Job {
  readonly kind: 'migrate'
  readonly target: VaultAccess
  readonly backupIds: readonly string[]
  /** Bytes of packs that may be added to the target; undefined when there is no limit. */
  readonly roomBytes: number | undefined
}

export type Assignment = MigrateAssignment | BackupAssignment | RestoreAssignment | ForgetAssignment | RemoveVaultAssignment | VerifyAssignment

export interface TaskWarning {
  readonly path: string
  readonly message: string
}

export interface BackupOutcome {
  readonly kind: 'backup'
  readonly snapshotId: string
  readonly repositoryId: string
  /** Where the repository lies, as restic names it. */
  readonly repositoryUrl: string
  /** The source's path in the snapshot; of several directories the root, since they stand at their own paths. */
  readonly sourcePath: string
  /** Whether everything that was to be read was read. */
  readonly whole: boolean
  /** What was not: the first few paths, and how many there are. */
  readonly missingPaths: readonly string[]
  readonly missingCount: number
  readonly contentBytes: number
  /** Bytes that this backup added to the repository's packs. */
  readonly storedBytes: number
  /** For disks: whether a machine could start from it; undefined for directories. */
  readonly bootable: boolean | undefined
  readonly warnings: readonly TaskWarning[]
  readonly warningCount: number
}

export interface RestoreOutcome {
  readonly kind: 'restore'
  /** Whether all content is in place; attributes may be missing and are warned of. */
  readonly whole: boolean
  readonly warnings: readonly TaskWarning[]
  readonly warningCount: number
}

export interface ForgetOutcome {
  readonly kind: 'forget'
  /** Bytes of packs that the repository holds less; undefined when they could not be given back. */
  readonly freedBytes: number | undefined
  /** Bytes that nobody needs and that stay for now: a later removal gives them back. */
  readonly pendingBytes: number | undefined
  /** Why the space of the backups was not given back, or not all of it. */
  readonly warnings: readonly TaskWarning[]
  readonly warningCount: number
}

export interface RemoveVaultOutcome {
  readonly kind: 'remove_vault'
}

export interface VerifyFinding {
  readonly severity: 'error' | 'warning'
  /** A code of the engine's findings. */
  readonly code: string
  readonly message: string
  /** Absolute path in the snapshot, of what is damaged. */
  readonly path?: string | undefined
  readonly packId?: string | undefined
  readonly snapshotId?: string | undefined
}

export interface VerifyOutcome {
  readonly kind: 'verify'
  /** Whether there is no error among the findings, as far as the level looks. */
  readonly whole: boolean
  /** Errors first; the first hundred. */
  readonly findings: readonly VerifyFinding[]
  readonly findingsCount: number
  readonly snapshots: number
  /** Packs of the vault; 0 when one backup was looked at. */
  readonly packs: number
  readonly packsRead: number
  readonly bytesRead: number
}

/** Findings that travel with an outcome; more are only counted. */
export const FINDINGS_MAX = 100

export interface MigrateOutcome {
  readonly kind: 'migrate'
  /** Where the snapshots of the backups are now, those of attempts that did not get to the end included. */
  readonly snapshots: readonly { readonly sourceId: string, readonly targetId: string }[]
  /** Undefined when there was nothing to copy. */
  readonly target: { readonly repositoryId: string, readonly repositoryUrl: string, readonly usedBytes: number | undefined } | undefined
}

export type Outcome = MigrateOutcome | BackupOutcome | RestoreOutcome | ForgetOutcome | RemoveVaultOutcome | VerifyOutcome

/** Why a job failed: a code that the server matches on, and words for the user. */
export interface TaskFailure {
  /** A code of the engine's failures, `source.forbidden` or `unknown`. */
  readonly code: string
  readonly message: string
}

/** What a backup wants to add to its vault, before it writes. */
export interface RoomRequest {
  /** Bytes of packs. */
  readonly neededBytes: number
  /** Whether that was counted; else it is a bound. */
  readonly measured: boolean
}

/**
 * `granted`: and so much is kept for the run, without a limit when undefined. `measure`: it may not fit, so count it;
 * there are at most so many bytes. `wait`: it fits when other runs in the vault have ended. `refused`: it does not fit.
 */
export type RoomAnswer =
  | { readonly kind: 'granted', readonly bytes: number | undefined }
  | { readonly kind: 'measure', readonly freeBytes: number | undefined }
  | { readonly kind: 'wait' }
  | { readonly kind: 'refused', readonly freeBytes: number }

export type ToAgent =
  | { readonly type: 'settings', readonly settings: AgentSettings }
  | { readonly type: 'assign', readonly assignments: readonly Assignment[] }
  | { readonly type: 'room', readonly jobId: string, readonly answer: RoomAnswer }
  | { readonly type: 'wake' }
  | { readonly type: 'cancel', readonly jobId: string }
  | { readonly type: 'stop' }

/** How a job ended, or that it is to go on later. */
export type JobEnd =
  | { readonly type: 'done', readonly outcome: Outcome }
  | { readonly type: 'failed', readonly failure: TaskFailure }
  | { readonly type: 'parked' }
  | { readonly type: 'cancelled' }

/** A job that the agent works on, and how often the work has shown a sign of going on. */
export interface JobActivity {
  readonly jobId: string
  readonly signs: number
}

export type FromAgent =
  | { readonly type: 'alive', readonly jobs: readonly JobActivity[] }
  | { readonly type: 'lease', readonly places: number }
  | { readonly type: 'progress', readonly jobId: string, readonly percent: number }
  /** With the bytes that the vault's repository holds in packs now; undefined when they could not be counted. */
  | { readonly type: 'room', readonly jobId: string, readonly request: RoomRequest, readonly usedBytes: number | undefined }
  | {
    readonly type: 'end'
    readonly jobId: string
    readonly end: JobEnd
    /** Bytes that the vault's repository holds in packs after the job; undefined when they could not be counted. */
    readonly usedBytes: number | undefined
  }

/** Warnings and paths that travel with an outcome; more are only counted. */
export const WARNINGS_MAX = 20
