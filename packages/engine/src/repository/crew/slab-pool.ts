/**
 * Memory that all threads see, in pieces that are used again and again: what is in flight is bounded,
 * and no page of it has to be fetched from the system twice.
 */

export interface Slab {
  readonly memory: SharedArrayBuffer
  readonly bytes: Uint8Array
}

const SLAB_BYTES_MIN = 640 * 1024

interface Waiting {
  readonly size: number
  readonly resolve: (slab: Slab) => void
}

/** The size of the slab that so many bytes get: few different ones, so that one fits the next user. */
function slabSize(bytes: number): number {
  let size = SLAB_BYTES_MIN
  while (size < bytes) size *= 2
  return size
}

export class SlabPool {
  readonly #bytesMax: number
  readonly #waiting: Waiting[] = []
  #free: Slab[] = []
  #freeBytes = 0
  #usedBytes = 0

  /** @param bytesMax in use and kept together; slabs above half of it are granted beside it, and not kept */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Resolves in the order of the calls, as soon as there is room. */
  take(bytes: number): Promise<Slab> {
    const size = slabSize(bytes)
    if (this.#isOutsize(size)) return Promise.resolve(this.#allocate(size))
    return new Promise((resolve) => {
      this.#waiting.push({ size, resolve })
      this.#serve()
    })
  }

  give(slab: Slab): void {
    if (this.#isOutsize(slab.bytes.length)) return
    this.#usedBytes -= slab.bytes.length
    this.#free.push(slab)
    this.#freeBytes += slab.bytes.length
    this.#serve()
  }

  #isOutsize(bytes: number): boolean {
    return bytes > this.#bytesMax / 2
  }

  #serve(): void {
    for (;;) {
      const next = this.#waiting[0]
      if (next === undefined) return
      const fitting = this.#takeFitting(next.size)
      if (fitting === undefined && this.#usedBytes + next.size > this.#bytesMax) return
      this.#waiting.shift()
      const slab = fitting ?? this.#allocateWithin(next.size)
      this.#usedBytes += slab.bytes.length
      next.resolve(slab)
    }
  }

  /** The smallest free slab that is large enough, but not one that is far too large. */
  #takeFitting(size: number): Slab | undefined {
    const fitting = this.#free.filter(({ bytes }) => bytes.length >= size && bytes.length <= 4 * size)
    const best = fitting.toSorted((a, b) => a.bytes.length - b.bytes.length)[0]
    if (best === undefined || this.#usedBytes + best.bytes.length > this.#bytesMax) return undefined
    this.#free = this.#free.filter((slab) => slab !== best)
    this.#freeBytes -= best.bytes.length
    return best
  }

  #allocateWithin(size: number): Slab {
    // What is kept for later makes room for what is needed now.
    while (this.#free.length > 0 && this.#usedBytes + this.#freeBytes + size > this.#bytesMax) {
      this.#freeBytes -= this.#free.shift()?.bytes.length ?? 0
    }
    return this.#allocate(size)
  }

  #allocate(size: number): Slab {
    const memory = new SharedArrayBuffer(size)
    return { memory, bytes: new Uint8Array(memory) }
  }
}
