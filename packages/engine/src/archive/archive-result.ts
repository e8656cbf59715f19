import type { BlobId, SnapshotId } from '../repository/types.ts'
import type { ArchiveWarning } from './archive-warnings.ts'
import type { SkippedEntry } from './skipped-entries.ts'

/** How things compare with the parent snapshot; without one all are new. */
export interface Comparison {
  readonly new: number
  readonly changed: number
  readonly unmodified: number
}

export interface ArchiveProgress {
  readonly filesDone: number
  /** Bytes of content that were read, or reused from the parent. */
  readonly bytesDone: number
  /** Exact for an image; for a tree what the parent held, as an estimate; undefined when nothing is known. */
  readonly bytesTotal: number | undefined
  /** Absolute, for people. */
  readonly currentPath: string
}

export interface ArchiveOptions {
  /** The absolute path of what should be archived; it names it in the snapshot too. */
  readonly path: string
  /** All paths, when there are several; the snapshot names them. */
  readonly paths?: readonly string[] | undefined
  /** Names the machine in the snapshot. With the path it must stay the same from backup to backup. */
  readonly hostname: string
  readonly tags: readonly string[]
  /** The time that the snapshot stands for. */
  readonly time: Date
  /** The snapshot to compare with; one that is gone is as good as none. */
  readonly parent?: SnapshotId | undefined
  /** The program and its version, as the snapshot names its maker. */
  readonly programVersion?: string | undefined
  /** The clock for the beginning and end of the run; the machine's by default. */
  readonly now?: (() => Date) | undefined
  readonly signal?: AbortSignal | undefined
  /** Called again and again while the run goes on, and once at its end. It must not throw. */
  readonly onProgress?: ((progress: ArchiveProgress) => void) | undefined
}

export interface ArchiveResult {
  readonly snapshotId: SnapshotId
  /** The tree of the snapshot, which begins at the root directory of the machine. */
  readonly treeId: BlobId
  /** The snapshot that was compared with. */
  readonly parent: SnapshotId | undefined
  /** Whether everything of the source is in the snapshot; otherwise it carries the tag `opencbr:incomplete`. */
  readonly whole: boolean
  /** The first thousand. */
  readonly warnings: readonly ArchiveWarning[]
  readonly warningCount: number
  /** What was left out on purpose, and why: the first thousand. What lies below such a directory is not among them. */
  readonly skipped: readonly SkippedEntry[]
  readonly skippedCount: number
  readonly files: Comparison
  /** The directories on the way from the root are among them. */
  readonly directories: Comparison
  /** Bytes of content of all files, as a restore would write them. */
  readonly bytesProcessed: number
  /** New blobs of content, and of trees. */
  readonly dataBlobs: number
  readonly treeBlobs: number
  /** Plaintext bytes of the new blobs of content. */
  readonly dataBytesAdded: number
  /** Plaintext bytes of all new blobs. */
  readonly bytesAdded: number
  /** Bytes that all new blobs take in packs. */
  readonly bytesAddedPacked: number
  readonly startedAt: Date
  readonly endedAt: Date
}

/** The tag of snapshots that lack something of their source. */
export const INCOMPLETE_TAG = 'opencbr:incomplete'
