/**
 * Memory for what was read and is not stored yet, used again and again: fresh memory for every file
 * would have to be fetched from the system and be collected as garbage, which costs more than reading.
 */
const SLAB_BYTES = 1024 * 1024

interface Slab {
  readonly bytes: Buffer
  filled: number
  /** Pieces that are in use, and one more while it is being filled. */
  users: number
}

export interface ReadingPiece {
  readonly bytes: Buffer
  /** Gives the memory back; the bytes may change from then on. */
  release(): void
}

export class ReadingMemory {
  readonly #idle: Slab[] = []
  #filling: Slab | undefined

  /** A piece of up to 1 MiB. */
  take(bytes: number): ReadingPiece {
    let slab = this.#filling
    if (slab === undefined || slab.filled + bytes > SLAB_BYTES) {
      if (slab !== undefined) this.#leave(slab)
      slab = this.#idle.pop() ?? { bytes: Buffer.allocUnsafeSlow(SLAB_BYTES), filled: 0, users: 0 }
      slab.filled = 0
      slab.users = 1
      this.#filling = slab
    }
    const piece = slab.bytes.subarray(slab.filled, slab.filled + bytes)
    slab.filled += bytes
    slab.users += 1
    return { bytes: piece, release: () => this.#leave(slab) }
  }

  #leave(slab: Slab): void {
    slab.users -= 1
    if (slab.users === 0) this.#idle.push(slab)
  }
}
