/**
 * Opens what should be read so that nobody can mislead or hang the run by exchanging files: symbolic
 * links are refused, opening a fifo does not wait for a writer, and what was opened is judged by its
 * descriptor. Reading leaves no trace in access times where the system lets us.
 */
import * as fs from 'node:fs'
import { closeDescriptor, findDescriptor, findOpenStatus, type FileStatus } from '../posix/posix.ts'
import { systemCodeOf } from './source-errors.ts'

const { O_DIRECTORY, O_NOATIME, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants
const SAFELY = O_RDONLY | O_NOFOLLOW | O_NONBLOCK

export interface OpenSource extends Disposable {
  readonly descriptor: number
  readonly stat: fs.BigIntStats
}

/** Opens a file of any kind but a symbolic link, which throws ELOOP. */
export function openSource(path: Buffer | string): OpenSource {
  return open(path, SAFELY)
}

/** Opens a directory; whatever else lies there throws ENOTDIR or ELOOP. */
export function openSourceDirectory(path: Buffer | string): OpenSource {
  return open(path, SAFELY | O_DIRECTORY)
}

function open(path: Buffer | string, flags: number): OpenSource {
  const descriptor = openQuietly(path, flags)
  const close = () => fs.closeSync(descriptor)
  try {
    return { descriptor, stat: fs.fstatSync(descriptor, { bigint: true }), [Symbol.dispose]: close }
  } catch (error) {
    close()
    throw error
  }
}

/** A file that was opened by its name in an open directory. */
export interface FoundSource extends OpenSource {
  /** What `stat` says too, in plain numbers. */
  readonly status: FileStatus
}

class Found implements FoundSource {
  readonly descriptor: number
  readonly status: FileStatus
  #stat: fs.BigIntStats | undefined

  constructor(descriptor: number, status: FileStatus) {
    this.descriptor = descriptor
    this.status = status
  }

  /** As the file is when it is asked for first. */
  get stat(): fs.BigIntStats {
    return this.#stat ??= fs.fstatSync(this.descriptor, { bigint: true })
  }

  [Symbol.dispose](): void {
    closeDescriptor(this.descriptor)
  }
}

/** Opens a name, each byte of it a character, in an open directory; undefined for what has to be opened by `openSource`. */
export function findSource(directoryDescriptor: number, latin1Name: string): FoundSource | undefined {
  const descriptor = findDescriptor(directoryDescriptor, latin1Name, triesNoTrace ? SAFELY | O_NOATIME : SAFELY)
  if (descriptor === undefined) return undefined
  const status = findOpenStatus(descriptor)
  if (status !== undefined) return new Found(descriptor, status)
  closeDescriptor(descriptor)
  return undefined
}

/** Whether a file was written to, or its attributes set, between two looks at it in plain numbers. */
export function hasChangedSince(before: FileStatus, after: FileStatus | undefined): boolean {
  return (
    after === undefined || before.size !== after.size ||
    before.mtimeSeconds !== after.mtimeSeconds || before.mtimeNanoseconds !== after.mtimeNanoseconds ||
    before.ctimeSeconds !== after.ctimeSeconds || before.ctimeNanoseconds !== after.ctimeNanoseconds
  )
}

/** Whether a file was written to, or its attributes set, between two looks at it. */
export function hasChanged(before: fs.BigIntStats, after: fs.BigIntStats): boolean {
  return before.size !== after.size || before.mtimeNs !== after.mtimeNs || before.ctimeNs !== after.ctimeNs
}

// Only the owner of a file, or a process with the right to act as such, may read without a trace.
// Trying costs little and is given up when it fails, for most files then belong to others.
let triesNoTrace = true

function openQuietly(path: Buffer | string, flags: number): number {
  if (triesNoTrace) {
    try {
      return fs.openSync(path, flags | O_NOATIME)
    } catch (error) {
      if (systemCodeOf(error) !== 'EPERM') throw error
      triesNoTrace = false
    }
  }
  return fs.openSync(path, flags)
}
