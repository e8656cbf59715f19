/**
 * A file that only takes space, so that on a full disk there is some for what makes room: a lock must
 * be written before anything can be removed, and an index file before what it replaces. It gives way
 * piece by piece, by as much as is needed, and grows again as soon as something has been removed.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import * as fs from 'node:fs/promises'
import path from 'node:path'

/** Lies beside the files of the storage, and is none of them. */
export const RESERVE_NAME = 'opencbr-reserve'

const RESERVE_BYTES = 8 * 1024 * 1024
/** Kept for the last: a lock, and the largest index file, which names 50,000 blobs at some 50 bytes each. */
const LAST_BYTES = 3 * 1024 * 1024
const PIECE_BYTES = 64 * 1024

export class SpaceReserve {
  readonly #place: string
  readonly #isMade: boolean
  #state: 'unknown' | 'whole' | 'short' | 'none' = 'unknown'

  /** @param isMade whether it is made where there is none; one that is there is used in any case */
  constructor(directory: string, isMade: boolean) {
    this.#place = path.join(directory, RESERVE_NAME)
    this.#isMade = isMade
  }

  /** Gives up so many bytes, rounded up; all that is left if `wholly`. False when it does not go that far. */
  async give(bytes: number, how: 'partly' | 'wholly'): Promise<boolean> {
    try {
      const { size } = await fs.stat(this.#place)
      const left = size - PIECE_BYTES * (1 + Math.ceil(bytes / PIECE_BYTES))
      if (size === 0 || (how === 'partly' && left < LAST_BYTES)) return false
      await fs.truncate(this.#place, Math.max(0, left))
      this.#state = 'short'
      return true
    } catch {
      return false
    }
  }

  /** Makes sure that it is there, once. A disk that has no space for it now may have some later. */
  async afterPut(): Promise<void> {
    if (this.#state === 'unknown') await this.#fill()
  }

  /** Takes back what was given up, as far as there is space again. */
  async afterRemoval(): Promise<void> {
    if (this.#state === 'unknown' || this.#state === 'short') await this.#fill()
  }

  async #fill(): Promise<void> {
    try {
      const handle = await fs.open(this.#place, constants.O_RDWR | (this.#isMade ? constants.O_CREAT : 0), 0o600)
      try {
        let { size } = await handle.stat()
        // Random, so that no file system puts it away in less space.
        while (size < RESERVE_BYTES) {
          const piece = randomBytes(Math.min(PIECE_BYTES, RESERVE_BYTES - size))
          size += (await handle.write(piece, 0, piece.length, size)).bytesWritten
        }
        this.#state = 'whole'
      } finally {
        await handle.close()
      }
    } catch (error) {
      // Whatever prevents it, what was asked of the storage is done.
      const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
      this.#state = isMissing && !this.#isMade ? 'none' : 'short'
    }
  }
}
