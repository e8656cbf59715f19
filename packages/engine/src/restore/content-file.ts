/**
 * Content of one restored file or device: reading what is there, and writing what is missing. Small
 * pieces are read and written synchronously, which costs a fraction of a trip through the thread
 * pool; big ones asynchronously, so that nothing else has to wait for the disk.
 */
import * as fs from 'node:fs'
import { promisify } from 'node:util'
import { punchHole, startWriting } from '../posix/posix.ts'
import { HOLE_BYTES, isZero, sparseRuns } from './sparse-runs.ts'
import { errorCodeOf } from './system-errors.ts'

const { O_DIRECT, O_WRONLY } = fs.constants

const SYNCHRONOUS_BYTES_MAX = 64 * 1024

const readAsync = promisify(fs.read)
const writeAsync = promisify(fs.write)

/** Fills the bytes from an offset of the file; what lies behind its end reads as zeros. */
export async function readAt(descriptor: number, bytes: Buffer, offset: number): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    const length = bytes.length - done
    const count =
      length <= SYNCHRONOUS_BYTES_MAX
        ? fs.readSync(descriptor, bytes, done, length, offset + done)
        : (await readAsync(descriptor, bytes, done, length, offset + done)).bytesRead
    if (count === 0) {
      bytes.fill(0, done)
      return
    }
    done += count
  }
}

/** Writes all bytes at an offset of the file. */
export async function writeAt(descriptor: number, bytes: Uint8Array, offset: number): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    const length = bytes.length - done
    done +=
      length <= SYNCHRONOUS_BYTES_MAX
        ? fs.writeSync(descriptor, bytes, done, length, offset + done)
        : (await writeAsync(descriptor, bytes, done, length, offset + done)).bytesWritten
  }
}

/** As `writeIntoHole`, at once; for threads that have nothing else to do. Gives the end of what was written, in bytes from the offset. */
export function writeIntoHoleNow(descriptor: number, bytes: Uint8Array, offset: number): number {
  let writtenTo = 0
  for (const { start, end, zero } of sparseRuns(bytes, offset)) {
    if (zero) continue
    writeNow(descriptor, bytes, start, end, offset)
    writtenTo = end
  }
  return writtenTo
}

function writeNow(descriptor: number, bytes: Uint8Array, start: number, end: number, offset: number): void {
  for (let at = start; at < end;) at += fs.writeSync(descriptor, bytes, at, end - at, offset + at)
}

/** Shorter ones are written sooner into the system's memory, which puts them together. */
const DIRECT_BYTES_MIN = 64 * 1024

/** Opens an open file once more, to write to its disk at once; undefined where its file system cannot do that. */
export function openDirect(descriptor: number): number | undefined {
  try {
    return fs.openSync(`/proc/self/fd/${descriptor}`, O_WRONLY | O_DIRECT)
  } catch {
    return undefined
  }
}

/** Of a thread, so many go on beside its other work; then it waits for the disk itself. */
const DIRECT_WRITES_MAX = 4
let directWrites = 0

/**
 * Writes bytes into a file that reads as zeros there, and whose being on the disk somebody will wait for. What is long, and lies at whole blocks in the
 * memory and in the file, goes to the disk without a copy; the system begins to write the rest.
 * Gives nothing when all is done at once; else the bytes must stay until the promise has settled.
 */
export function writeToDisk(descriptor: number, direct: number | undefined, bytes: Uint8Array, offset: number): Promise<void> | undefined {
  const writes: Promise<void>[] = []
  for (const { start, end, zero } of sparseRuns(bytes, offset)) {
    if (zero) continue
    const run = bytes.subarray(start, end)
    const place = offset + start
    const isDirect = direct !== undefined && run.length >= DIRECT_BYTES_MIN && run.length % HOLE_BYTES === 0 && place % HOLE_BYTES === 0
    try {
      if (isDirect && directWrites < DIRECT_WRITES_MAX) writes.push(writeAside(descriptor, direct, run, place))
      else if (!isDirect || !wroteDirectly(direct, run, place)) writeThrough(descriptor, run, place)
    } catch (error) {
      writes.push(Promise.reject(error as Error))
      break
    }
  }
  return writes.length === 0 ? undefined : settle(writes)
}

async function settle(writes: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(writes)) if (outcome.status === 'rejected') throw outcome.reason
}

function writeThrough(descriptor: number, bytes: Uint8Array, offset: number): void {
  writeNow(descriptor, bytes, 0, bytes.length, offset)
  startWriting(descriptor, offset, bytes.length)
}

/** False when the system cannot do so from this memory, or to this place. */
function wroteDirectly(direct: number, bytes: Uint8Array, offset: number): boolean {
  try {
    return fs.writeSync(direct, bytes, 0, bytes.length, offset) === bytes.length
  } catch (error) {
    if (errorCodeOf(error) === 'EINVAL') return false
    throw error
  }
}

async function writeAside(descriptor: number, direct: number, bytes: Uint8Array, offset: number): Promise<void> {
  directWrites += 1
  try {
    if ((await writeAsync(direct, bytes, 0, bytes.length, offset)).bytesWritten === bytes.length) return
  } catch (error) {
    if (errorCodeOf(error) !== 'EINVAL') throw error
  } finally {
    directWrites -= 1
  }
  writeThrough(descriptor, bytes, offset)
}

/** Writes bytes into a file that reads as zeros there: blocks of zeros stay holes. */
export async function writeIntoHole(descriptor: number, bytes: Uint8Array, offset: number): Promise<void> {
  for (const { start, end, zero } of sparseRuns(bytes, offset)) {
    if (!zero) await writeAt(descriptor, bytes.subarray(start, end), offset + start)
  }
}

/**
 * Makes a range of a file or device hold these bytes, and writes only blocks that differ. Zeros in a
 * file become a hole; in a device they are written. Returns how many bytes differed.
 */
export async function writeOver(descriptor: number, bytes: Uint8Array, offset: number): Promise<number> {
  const present = Buffer.allocUnsafe(bytes.length)
  await readAt(descriptor, present, offset)
  let differing = 0
  for (const { start, end, zero } of differingRuns(bytes, present, offset)) {
    differing += end - start
    if (!zero || !punched(descriptor, offset + start, end - start)) {
      await writeAt(descriptor, bytes.subarray(start, end), offset + start)
    }
  }
  return differing
}

function* differingRuns(bytes: Uint8Array, present: Buffer, offset: number): Generator<{ start: number; end: number; zero: boolean }> {
  for (const run of sparseRuns(bytes, offset)) {
    let start: number | undefined
    let at = run.start
    while (at < run.end) {
      const blockEnd = Math.min(at + HOLE_BYTES - ((offset + at) % HOLE_BYTES), run.end)
      const same = present.compare(bytes, at, blockEnd, at, blockEnd) === 0
      if (!same) start ??= at
      else if (start !== undefined) {
        yield { start, end: at, zero: run.zero }
        start = undefined
      }
      at = blockEnd
    }
    if (start !== undefined) yield { start, end: run.end, zero: run.zero }
  }
}

/** Whether the range is a hole now; false where the file system, or a device, has no holes. */
function punched(descriptor: number, offset: number, lengthBytes: number): boolean {
  if (lengthBytes < HOLE_BYTES) return false
  try {
    punchHole(descriptor, offset, lengthBytes)
    return true
  } catch (error) {
    const code = errorCodeOf(error)
    if (code === 'EOPNOTSUPP' || code === 'ENOTSUP' || code === 'ENODEV' || code === 'ENOSYS' || code === 'EINVAL') return false
    throw error
  }
}

/** Whether a range of the file holds nothing but zeros. */
export async function isZeroRange(descriptor: number, offset: number, lengthBytes: number): Promise<boolean> {
  const bytes = Buffer.allocUnsafe(lengthBytes)
  await readAt(descriptor, bytes, offset)
  return isZero(bytes)
}
