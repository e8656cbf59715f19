/** The unit in which file systems keep holes. */
export const HOLE_BYTES = 4096

const ZEROS = Buffer.alloc(HOLE_BYTES)

export interface Run {
  /** Bytes from the start of the given bytes. */
  readonly start: number
  readonly end: number
  readonly zero: boolean
}

/**
 * Splits bytes that belong at an offset of a file into runs of zeros and runs of data, block by block
 * of the file. A block of which only a part is given counts by that part: two pieces that share a
 * block of zeros must leave a hole together.
 */
export function sparseRuns(bytes: Uint8Array, offset: number): Run[] {
  const runs: Run[] = []
  let start = 0
  let zero = false
  let at = 0
  while (at < bytes.length) {
    const blockEnd = Math.min(at + HOLE_BYTES - ((offset + at) % HOLE_BYTES), bytes.length)
    const blockIsZero = isZeroBlock(bytes, at, blockEnd)
    if (blockIsZero !== zero) {
      if (at > start) runs.push({ start, end: at, zero })
      start = at
      zero = blockIsZero
    }
    at = blockEnd
  }
  if (at > start) runs.push({ start, end: at, zero })
  return runs
}

/** Whether all bytes are zero. */
export function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += HOLE_BYTES) {
    if (!isZeroBlock(bytes, at, Math.min(at + HOLE_BYTES, bytes.length))) return false
  }
  return true
}

/** Whether the bytes of at most one block are zero; most data shows at the first byte that it is none. */
function isZeroBlock(bytes: Uint8Array, start: number, end: number): boolean {
  return bytes[start] === 0 && ZEROS.compare(bytes, start, end, 0, end - start) === 0
}
