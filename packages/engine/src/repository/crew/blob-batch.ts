import { slotBytes, plaintextIn } from './blob-work.ts'
import { packPlaces } from './protocol.ts'
import type { Places } from './protocol.ts'
import type { Slab } from './slab-pool.ts'

/** What a batch holds: some fifty files of common size, or two of the longest short ones. */
export const BATCH_BYTES = 1024 * 1024

/** Small blobs of one kind in one slab, which are hashed, sealed and stored together. */
export class SlabBatch {
  readonly slab: Slab
  /** In the order in which they were added. */
  readonly slots: { readonly bytes: Uint8Array; readonly plainLength: number }[] = []
  plainBytes = 0
  #filled = 0

  constructor(slab: Slab) {
    this.slab = slab
  }

  get count(): number {
    return this.slots.length
  }

  room(bytes: number): Buffer | undefined {
    const length = slotBytes(bytes)
    if (this.#filled + length > BATCH_BYTES) return undefined
    return plaintextIn(this.slab.bytes.subarray(this.#filled, this.#filled + length), bytes)
  }

  add(bytes: number): void {
    const length = slotBytes(bytes)
    this.slots.push({ bytes: this.slab.bytes.subarray(this.#filled, this.#filled + length), plainLength: bytes })
    this.#filled += length
    this.plainBytes += bytes
  }

  /** Some of its slots, as a message names them. */
  placesOf(slots: readonly SlabBatch['slots'][number][], kind: number): Places {
    const { memory } = this.slab
    return packPlaces(slots.map(({ bytes, plainLength }) => ({ memory, offset: bytes.byteOffset, a: plainLength, b: kind, c: 0 })))
  }
}
