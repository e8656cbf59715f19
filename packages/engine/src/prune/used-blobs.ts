import { Failure } from '../failure.ts'
import type { BlobIndex } from '../repository/blob-index.ts'
import type { BlobId, BlobType } from '../repository/types.ts'

/**
 * Which entries of an index are needed, one bit for each. A blob that lies in several packs is
 * needed in all of them until `settle` has chosen one. The index may grow meanwhile.
 */
export class UsedBlobs {
  readonly #index: BlobIndex
  #bits: Uint8Array
  readonly #repeated: (readonly number[])[] = []

  constructor(index: BlobIndex) {
    this.#index = index
    this.#bits = new Uint8Array(Math.ceil(index.blobCount / 8))
  }

  /** Marks a blob; false when it was marked before. Throws `blob.missing` when the index lacks it. */
  mark(type: BlobType, id: BlobId): boolean {
    const entries = this.#index.entriesOf(type, id)
    if (entries.length === 0) throw new Failure('blob.missing', { blobId: id, type, reason: 'no index names it' })
    if (entries.some((entry) => this.has(entry))) return false
    for (const entry of entries) this.#set(entry, true)
    if (entries.length > 1) this.#repeated.push(entries)
    return true
  }

  has(entry: number): boolean {
    return ((this.#bits[entry >> 3] ?? 0) & (1 << (entry & 7))) !== 0
  }

  /** Keeps of every repeated blob only the entry of the lowest rank. */
  settle(rankOf: (entry: number) => number): void {
    for (const entries of this.#repeated) {
      const ranks = entries.map(rankOf)
      const best = ranks.indexOf(Math.min(...ranks))
      for (const [at, entry] of entries.entries()) this.#set(entry, at === best)
    }
  }

  #set(entry: number, used: boolean): void {
    if (entry >> 3 >= this.#bits.length) {
      const more = new Uint8Array(Math.ceil(this.#index.blobCount / 8))
      more.set(this.#bits)
      this.#bits = more
    }
    const bit = 1 << (entry & 7)
    const byte = this.#bits[entry >> 3] ?? 0
    this.#bits[entry >> 3] = used ? byte | bit : byte & ~bit
  }
}
