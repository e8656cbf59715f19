import type { BlobId, BlobLocation, BlobType, PackId } from '../repository/types.ts'

/** Knows where the index says that blobs are. */
export interface BlobPlaces {
  locate(type: BlobType, id: BlobId): BlobLocation | undefined
  locateAll(type: BlobType, id: BlobId): readonly BlobLocation[]
}

export type BlobHealth = 'good' | 'missing' | 'damaged'

/** What a check has learned about packs and places in them, and what that means for blobs. */
export class BlobHealthRecord {
  readonly #places: BlobPlaces
  /** Packs that are not there, as length 0, or are too short. */
  readonly #packBytes = new Map<PackId, number>()
  readonly #damaged = new Map<PackId, Set<number>>()
  readonly #damagedBlobs = new Set<string>()

  constructor(places: BlobPlaces) {
    this.#places = places
  }

  /** A pack ends early; 0 when it is not there at all. */
  setPackBytes(id: PackId, bytes: number): void {
    this.#packBytes.set(id, bytes)
  }

  /** One place of a blob is damaged; the blob may have others. */
  setPlaceDamaged(id: PackId, offset: number): void {
    const known = this.#damaged.get(id)
    if (known === undefined) this.#damaged.set(id, new Set([offset]))
    else known.add(offset)
  }

  /** A blob cannot be had from any of its places. */
  setDamaged(type: BlobType, id: BlobId): void {
    this.#damagedBlobs.add(`${type} ${id}`)
  }

  /** Whether anything at all is known that is not as it should be. */
  get hasDamage(): boolean {
    return this.#packBytes.size > 0 || this.#damaged.size > 0 || this.#damagedBlobs.size > 0
  }

  healthOf(type: BlobType, id: BlobId): BlobHealth {
    // The common case, in which a blob that the index knows is good.
    if (!this.hasDamage) return this.#places.locate(type, id) === undefined ? 'missing' : 'good'
    const places = this.#places.locateAll(type, id)
    if (places.length === 0) return 'missing'
    const isThere = places.filter(({ packId, offset, length }) => offset + length <= (this.#packBytes.get(packId) ?? Infinity))
    if (isThere.length === 0) return 'missing'
    if (this.#damagedBlobs.has(`${type} ${id}`)) return 'damaged'
    return isThere.some(({ packId, offset }) => this.#damaged.get(packId)?.has(offset) !== true) ? 'good' : 'damaged'
  }

  /** Plaintext bytes as the index has them; 0 for a blob that it does not know. */
  plainLengthOf(type: BlobType, id: BlobId): number {
    return this.#places.locate(type, id)?.plainLength ?? 0
  }
}
