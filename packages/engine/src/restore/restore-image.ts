/**
 * Restores a disk image of a snapshot, one file or a directory of segments, into a regular file or a block device.
 *
 * A new file is made as long as the backup and gets only what is not zero. What is there already is
 * compared with the backup chunk by chunk, and only chunks that differ are fetched, and of them only
 * blocks that differ written: going back to a backup costs as much as has changed since. Bytes behind
 * the backup's end stay.
 */
import * as fs from 'node:fs'
import { promisify } from 'node:util'
import { Failure, throwIfCancelled } from '../failure.ts'
import { pathIn, sizeOf } from '../posix/posix.ts'
import type { BlobId, SnapshotId } from '../repository/types.ts'
import { setAttributes } from './attributes.ts'
import { ByteBudget } from './byte-budget.ts'
import { compareChunks, type Chunk, type ComparedChunk } from './chunks.ts'
import { openDirect, writeIntoHole, writeOver } from './content-file.ts'
import { errorOfCall } from './deliver.ts'
import { openDisk, type DiskContent } from './disk-content.ts'
import { fetchBlobs } from './fetch-blobs.ts'
import { findInSnapshot, type SnapshotReader } from './find-in-snapshot.ts'
import { assertAllowed, openResolvedDirectory, resolvePath } from './resolve-destination.ts'
import { RestoreWarnings, type RestoreWarning } from './restore-warnings.ts'
import { asDestinationFailure } from './system-errors.ts'
import { isKnownZeroBlob } from './zero-blobs.ts'

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = fs.constants
const PRIVATE_FILE = 0o600

const BYTES_HELD_MAX = 48 * 1024 * 1024
/** The threads idle at the end of each window, so there should be few. */
const WINDOW_BYTES_MAX = 256 * 1024 * 1024

const syncAsync = promisify(fs.fsync)

export interface RestoreImageOptions {
  readonly snapshotId: SnapshotId
  /** Absolute path of the image in the snapshot. */
  readonly sourcePath: string
  /** Absolute path of a regular file, which is made when missing, or of a block device. */
  readonly targetPath: string
  /** Absolute paths; the target must lie in one of them or be one. None allows nothing. */
  readonly allowedRoots: readonly string[]
  readonly signal?: AbortSignal | undefined
  /** Called often; the caller decides which of the calls to pass on. */
  readonly onProgress?: ((progress: RestoreImageProgress) => void) | undefined
}

export interface RestoreImageProgress {
  /** Bytes that were written, or found to be there already. */
  readonly bytesDone: number
  readonly bytesTotal: number
}

export interface RestoreImageResult {
  /** Bytes in chunks that were fetched and put in place, holes included. */
  readonly bytesWritten: number
  /** Bytes in chunks that were there already. */
  readonly bytesUnchanged: number
  readonly warnings: readonly RestoreWarning[]
  readonly warningsTotal: number
  /** Whether every byte of the backup is in place. */
  readonly whole: boolean
}

/**
 * Restores a disk image; may be run again over its own unfinished or finished work. When it resolves,
 * the target has everything on stable storage. A new file gets the attributes that the image had, one
 * that was there keeps its own. A part that is damaged in the repository is left as it is in the target
 * and warned of. Throws `destination.*`, with `destination.too_small` before anything
 * is written, `snapshot.not_found`, `snapshot.path_not_found`, `cancelled`, and failures of the storage.
 */
export async function restoreImage(repository: SnapshotReader, options: RestoreImageOptions): Promise<RestoreImageResult> {
  const target = locateTarget(options)
  const disk = await openDisk(repository, await findInSnapshot(repository, options.snapshotId, options.sourcePath))
  if (disk === undefined) throw new Failure('snapshot.path_not_found', { path: options.sourcePath, reason: 'It is no file.' })
  try {
    const directory = openResolvedDirectory(target.directory, { create: true })
    try {
      const { descriptor, isNew } = openTarget(pathIn(directory, target.name), disk.sizeBytes, options.targetPath)
      try {
        const direct = isNew ? openDirect(descriptor) : undefined
        try {
          return await fillTarget(repository, descriptor, direct, isNew, disk, options)
        } finally {
          if (direct !== undefined) fs.closeSync(direct)
        }
      } finally {
        fs.closeSync(descriptor)
      }
    } finally {
      fs.closeSync(directory)
    }
  } catch (error) {
    throw asDestinationFailure(error, options.targetPath)
  }
}

interface Target {
  readonly directory: readonly Buffer[]
  readonly name: Buffer
}

/** The target's own name is not resolved: it must not be a link. */
function locateTarget({ targetPath, allowedRoots }: RestoreImageOptions): Target {
  const end = targetPath.lastIndexOf('/')
  const text = targetPath.slice(end + 1)
  if (end < 0 || text === '' || text === '.' || text === '..' || text.includes('\0')) throw new Failure('destination.forbidden', { path: targetPath })
  const directory = resolvePath(end === 0 ? '/' : targetPath.slice(0, end))
  const name = Buffer.from(text)
  assertAllowed([...directory, name], allowedRoots)
  return { directory, name }
}

function openTarget(path: Buffer, sizeBytes: number, shownPath: string): { descriptor: number; isNew: boolean } {
  const present = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false })
  if (present === undefined) {
    const descriptor = fs.openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, PRIVATE_FILE)
    fs.ftruncateSync(descriptor, sizeBytes)
    return { descriptor, isNew: true }
  }
  if (present.isSymbolicLink()) throw new Failure('destination.forbidden', { path: shownPath, reason: 'It is a symbolic link.' })
  assertSuitable(present, shownPath)
  // A device that is in use, as a mounted file system, cannot be opened exclusively.
  const exclusive = present.isBlockDevice() ? O_EXCL : 0
  const descriptor = fs.openSync(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | exclusive)
  try {
    const opened = fs.fstatSync(descriptor, { bigint: true })
    if (opened.ino !== present.ino || opened.dev !== present.dev) throw new Failure('destination.changed', { path: shownPath })
    assertSuitable(opened, shownPath)
    const targetBytes = sizeOf(descriptor)
    if (targetBytes < sizeBytes) throw new Failure('destination.too_small', { path: shownPath, sizeBytes: targetBytes, neededBytes: sizeBytes })
    return { descriptor, isNew: false }
  } catch (error) {
    fs.closeSync(descriptor)
    throw error
  }
}

/** A file with several names may have one outside the allowed roots, where it would change as well. */
function assertSuitable(status: fs.BigIntStats, shownPath: string): void {
  if (status.isBlockDevice() || (status.isFile() && status.nlink === 1n)) return
  throw new Failure('destination.unsuitable', { path: shownPath })
}

async function fillTarget(
  repository: SnapshotReader, descriptor: number, direct: number | undefined, isNew: boolean, disk: DiskContent, options: RestoreImageOptions,
): Promise<RestoreImageResult> {
  const { signal } = options
  const warnings = new RestoreWarnings()
  const budget = new ByteBudget(BYTES_HELD_MAX)
  let bytesWritten = 0
  let bytesUnchanged = 0
  const report = (): void => options.onProgress?.({ bytesDone: bytesWritten + bytesUnchanged, bytesTotal: disk.sizeBytes })
  const warn = (code: Parameters<RestoreWarnings['add']>[1], reason: string): void => warnings.add(options.targetPath, code, reason)

  const restoreWindow = async (window: ReadonlyMap<BlobId, readonly Chunk[]>): Promise<void> => {
    await fetchBlobs(repository, 'data', window.keys(), {
      // What is there already is compared before anything is written, which is not left to the threads.
      wants: (id) => (isNew ? { targets: (window.get(id) ?? []).map(({ offset }) => ({ descriptor, offset, isAwaited: true, direct })), release: () => undefined } : undefined),
      onDelivered(id, outcomes) {
        for (const [i, { length }] of (window.get(id) ?? []).entries()) {
          const failed = outcomes[i]?.failed
          if (failed !== undefined) throw errorOfCall(failed)
          bytesWritten += length
        }
        report()
      },
      async onBlob(id, plaintext) {
        for (const { offset } of window.get(id) ?? []) {
          if (isNew) await writeIntoHole(descriptor, plaintext, offset)
          else await writeOver(descriptor, plaintext, offset)
          bytesWritten += plaintext.length
        }
        report()
      },
      onDamage(id, damage) {
        for (const { offset, length } of window.get(id) ?? []) warn('content.damaged', `${damage.code}, ${length} bytes at ${offset}`)
      },
    }, { budget, signal })
  }

  let window = new Map<BlobId, Chunk[]>()
  let windowBytes = 0
  let restoring: Promise<void> = Promise.resolve()
  const flush = async (): Promise<void> => {
    await restoring
    restoring = restoreWindow(window)
    // Whoever waits for it next gets the error; until then it must not count as unhandled.
    restoring.catch(() => undefined)
    window = new Map()
    windowBytes = 0
  }
  try {
    for await (const chunks of disk.parts(warn)) {
      for await (const { chunk, isThere } of isNew ? newChunks(chunks) : compareChunks(descriptor, disk.sizeBytes, chunks, signal)) {
        throwIfCancelled(signal)
        if (isThere) {
          if (isNew) bytesWritten += chunk.length
          else bytesUnchanged += chunk.length
          report()
          continue
        }
        const same = window.get(chunk.blobId)
        if (same === undefined) window.set(chunk.blobId, [chunk])
        else same.push(chunk)
        windowBytes += chunk.length
        if (windowBytes >= WINDOW_BYTES_MAX) await flush()
      }
    }
    await flush()
    await restoring
  } finally {
    // The descriptor is closed next, and the last window still uses it.
    await restoring.catch(() => undefined)
  }
  throwIfCancelled(signal)
  if (isNew) setAttributes(descriptor, disk.node, warn)
  await syncAsync(descriptor)
  return { bytesWritten, bytesUnchanged, warnings: warnings.list, warningsTotal: warnings.total, whole: warnings.contentWhole }
}

/** In a new file zeros are there without being written. */
function* newChunks(chunks: Iterable<Chunk>): Generator<ComparedChunk> {
  for (const chunk of chunks) yield { chunk, isThere: isKnownZeroBlob(chunk) }
}
