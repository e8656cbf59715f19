import { asFailure, Failure, throwIfCancelled } from '../failure.ts'
import type { Snapshot } from '../format/snapshot.ts'
import type { TreeNode } from '../format/tree.ts'
import { readOwnerNames, type OwnerNames } from '../posix/posix.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { Repository } from '../repository/repository.ts'
import type { BlobId, SnapshotId } from '../repository/types.ts'
import { INCOMPLETE_TAG, type ArchiveOptions, type ArchiveResult } from './archive-result.ts'
import { ArchiveWarnings } from './archive-warnings.ts'
import { BlobSink } from './blob-sink.ts'
import { SkippedEntries } from './skipped-entries.ts'
import { TreeWindows } from './tree-windows.ts'

/** Progress is told after so many files or bytes, whichever comes first. */
const FILES_PER_REPORT = 50
const BYTES_PER_REPORT = 8 * 1024 * 1024

/** How long the event loop may be kept busy at a stretch, in milliseconds. */
const BUSY_MS_MAX = 8

export type Change = 'new' | 'changed' | 'unmodified'

/** The parent snapshot as far as it can be used. */
export interface Parent {
  readonly id: SnapshotId
  readonly snapshot: Snapshot
}

/** Everything that one run of archiving shares: where blobs go, what was counted, and when to stop. */
export class ArchiveRun {
  readonly repository: Repository
  readonly options: ArchiveOptions
  readonly sink: BlobSink
  /** The parent's trees. */
  readonly trees: TreeWindows
  readonly warnings = new ArchiveWarnings()
  readonly skipped = new SkippedEntries()
  readonly owners: OwnerNames = readOwnerNames()
  readonly files = { new: 0, changed: 0, unmodified: 0 }
  readonly directories = { new: 0, changed: 0, unmodified: 0 }
  readonly parent: Parent | undefined
  /**
   * Whether the parent's extended attributes are those that we would read of a file that has not changed:
   * setting one changes a file's change time, but what a program reads depends on itself and its user.
   */
  readonly trustsAttributes: boolean
  bytesProcessed = 0
  bytesTotal: number | undefined
  readonly #lock: RepositoryLock
  readonly #startedAt: Date
  readonly #now: () => Date
  #filesDone = 0
  #reported = { files: 0, bytes: 0 }
  #busySince = performance.now()

  constructor(repository: Repository, lock: RepositoryLock, options: ArchiveOptions, parent: Parent | undefined) {
    this.repository = repository
    this.options = options
    this.sink = new BlobSink(repository)
    this.trees = new TreeWindows(repository)
    this.parent = parent
    this.trustsAttributes = parent !== undefined && isOurs(parent.snapshot, options)
    this.#lock = lock
    this.#now = options.now ?? (() => new Date())
    this.#startedAt = this.#now()
  }

  /** Throws when the run must not go on: cancelled, the lock lost, or a blob not saved. */
  checkpoint(): void {
    throwIfCancelled(this.options.signal)
    if (this.#lock.lost.aborted) throw this.#lock.lost.reason
    this.sink.throwIfFailed()
  }

  /** A checkpoint that also says whether others have waited for a turn long enough. */
  isPauseDue(): boolean {
    this.checkpoint()
    return performance.now() - this.#busySince >= BUSY_MS_MAX
  }

  /** A checkpoint that lets timers and messages of others have their turn when it is due. */
  async pause(): Promise<void> {
    if (!this.isPauseDue()) return
    await new Promise((resolve) => setImmediate(resolve))
    this.#busySince = performance.now()
    this.checkpoint()
  }

  addBytes(bytes: number, path: () => Buffer): void {
    this.bytesProcessed += bytes
    if (this.bytesProcessed - this.#reported.bytes >= BYTES_PER_REPORT) this.#report(path())
  }

  addFile(change: Change, path: () => Buffer): void {
    this.files[change] += 1
    this.#filesDone += 1
    if (this.#filesDone - this.#reported.files >= FILES_PER_REPORT) this.#report(path())
  }

  #report(path: Buffer): void {
    this.#reported = { files: this.#filesDone, bytes: this.bytesProcessed }
    this.options.onProgress?.({
      filesDone: this.#filesDone,
      bytesDone: this.bytesProcessed,
      bytesTotal: this.bytesTotal === undefined ? undefined : Math.max(this.bytesTotal, this.bytesProcessed),
      currentPath: path.toString(),
    })
  }

  /** Writes the snapshot over a finished root tree: the one point at which the backup comes to be. */
  async commit(treeId: BlobId, excludes: readonly string[] = []): Promise<ArchiveResult> {
    const { options, sink, warnings, skipped, files, directories } = this
    await sink.settle()
    this.checkpoint()
    const endedAt = this.#now()
    const uid = process.getuid?.() ?? 0
    const counts = {
      dataBlobs: sink.dataBlobs,
      treeBlobs: sink.treeBlobs,
      dataBytesAdded: sink.dataBytesAdded,
      bytesAdded: sink.bytesAdded,
      bytesAddedPacked: sink.bytesAddedPacked,
    }
    const snapshotId = await this.repository.saveSnapshot(
      {
        time: options.time.toISOString(),
        parent: this.parent?.id,
        tree: treeId,
        paths: options.paths ?? [options.path],
        hostname: options.hostname,
        username: this.owners.userName(uid),
        uid,
        gid: process.getgid?.() ?? 0,
        excludes,
        tags: warnings.whole ? options.tags : [...options.tags, INCOMPLETE_TAG],
        program_version: options.programVersion,
        summary: {
          backup_start: this.#startedAt.toISOString(),
          backup_end: endedAt.toISOString(),
          files_new: files.new,
          files_changed: files.changed,
          files_unmodified: files.unmodified,
          dirs_new: directories.new,
          dirs_changed: directories.changed,
          dirs_unmodified: directories.unmodified,
          data_blobs: counts.dataBlobs,
          tree_blobs: counts.treeBlobs,
          data_added: counts.bytesAdded,
          data_added_packed: counts.bytesAddedPacked,
          total_files_processed: files.new + files.changed + files.unmodified,
          total_bytes_processed: this.bytesProcessed,
        },
      },
      this.#lock,
      options.signal,
    )
    this.#report(Buffer.from(options.path))
    return {
      snapshotId,
      treeId,
      parent: this.parent?.id,
      whole: warnings.whole,
      warnings: warnings.list,
      warningCount: warnings.total,
      skipped: skipped.list,
      skippedCount: skipped.total,
      files,
      directories,
      bytesProcessed: this.bytesProcessed,
      ...counts,
      startedAt: this.#startedAt,
      endedAt,
    }
  }
}

/**
 * Runs an archiver from the parent's snapshot to the commit. When it fails, what was stored so far is
 * still named in the index, so that the next run need not store it again; not so when its lock is gone.
 */
export async function runArchive(
  repository: Repository, lock: RepositoryLock, options: ArchiveOptions, archive: (run: ArchiveRun) => Promise<ArchiveResult>,
): Promise<ArchiveResult> {
  throwIfCancelled(options.signal)
  // Before the index, so that the index knows the parent's blobs.
  const parent = await findParent(repository, options)
  await repository.loadIndex(options.signal === undefined ? {} : { signal: options.signal })
  const run = new ArchiveRun(repository, lock, options, parent)
  try {
    return await archive(run)
  } catch (error) {
    await run.sink.settle()
    // The reason of the failure is thrown; that this saving of work fails as well is of no interest.
    await repository.flush(lock).catch(() => undefined)
    throw asFailure(error, options.signal)
  }
}

async function findParent(repository: Repository, { parent: id, signal }: ArchiveOptions): Promise<Parent | undefined> {
  if (id === undefined) return undefined
  try {
    const snapshot = await repository.findSnapshot(id, signal)
    return snapshot === undefined ? undefined : { id, snapshot }
  } catch (error) {
    // A damaged parent costs time, for everything is read again, but must not prevent a backup.
    if (error instanceof Failure && error.code === 'repository.damaged') return undefined
    throw error
  }
}

/** Whether the very program that runs now, as the same user, made a snapshot without a gap. */
function isOurs({ program_version: program, uid = 0, tags = [] }: Snapshot, options: ArchiveOptions): boolean {
  const isSameProgram = program !== undefined && program === options.programVersion
  return isSameProgram && uid === (process.getuid?.() ?? 0) && !tags.includes(INCOMPLETE_TAG)
}

/** How a directory compares with what the parent had in its place. */
export function compareDirectory(current: TreeNode, previous: TreeNode | undefined): Change {
  if (previous?.type !== 'dir') return 'new'
  const isSame = previous.subtree === current.subtree && previous.ctime === current.ctime && previous.mtime === current.mtime
  return isSame ? 'unmodified' : 'changed'
}
