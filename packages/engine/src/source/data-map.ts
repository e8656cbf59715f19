import { findDataRegion, type DataRegion } from '../posix/posix.ts'

/** Where an open file holds data, asked from front to back; the rest reads as zeros. */
export class DataMap {
  readonly #descriptor: number
  readonly #sizeBytes: number
  #region: DataRegion | undefined

  constructor(descriptor: number, sizeBytes: number) {
    this.#descriptor = descriptor
    this.#sizeBytes = sizeBytes
  }

  /** Whether a range is a hole, as far as the file system tells. Ranges must come in ascending order. */
  isHole(start: number, end: number): boolean {
    return this.#nextData(start) >= end
  }

  #nextData(offset: number): number {
    if (this.#region === undefined || offset >= this.#region.end) {
      this.#region = findDataRegion(this.#descriptor, offset, this.#sizeBytes) ?? { start: this.#sizeBytes, end: Infinity }
    }
    return Math.max(offset, this.#region.start)
  }
}

const BYTES_PER_STAT_BLOCK = 512n

/** Whether a file takes less space than it is long, so that looking for holes is worth it. */
export function hasHoles(stat: { readonly blocks: bigint; readonly size: bigint }): boolean {
  return stat.blocks * BYTES_PER_STAT_BLOCK < stat.size
}
