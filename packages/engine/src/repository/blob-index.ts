/**
 * Where every blob of a repository lies, in typed arrays: a page holds the 32-byte ids and four
 * numbers of 8192 blobs, and a hash table of entry numbers finds them, so that a blob costs 48
 * bytes and some 6 of table, and no object. Entries of one pack are consecutive. The first four
 * bytes of an id serve as its hash, for ids are hashes themselves.
 *
 * A blob that lies in several packs has several entries; which of them `find` answers with is not
 * said. A pack that two index files name is kept once when they agree, which is what an
 * interrupted rewriting of indexes leaves behind.
 */
import assert from 'node:assert/strict'
import { ENVELOPE_BYTES } from '../crypto/envelope.ts'
import type { IndexedPack } from '../format/index-file.ts'
import { packBytes } from '../format/pack-header.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import type { BlobId, BlobLocation, BlobType, PackId } from './types.ts'

const PAGE_BITS = 13
const PAGE_ENTRIES = 1 << PAGE_BITS
const ID_WORDS = 8
const NUMBER_WORDS = 4
const TREE_BIT = 0x8000_0000

interface Page {
  readonly ids: Int32Array
  /** Pack number with the type in the top bit, offset, length, plaintext length or 0 when stored raw. */
  readonly numbers: Uint32Array
}

interface PackRow {
  readonly id: PackId
  readonly firstEntry: number
  readonly entryCount: number
  /** Bytes of the whole file, as far as these entries tell. */
  readonly size: number
}

export class BlobIndex {
  readonly #pages: Page[] = []
  readonly #packs: PackRow[] = []
  readonly #packNumbers = new Map<PackId, number>()
  readonly #wanted = new Int32Array(ID_WORDS)
  #slots = new Int32Array(1 << 10)
  #entryCount = 0
  #packBytes = 0
  #splitPackIds = new Set<PackId>()
  #repeatedPackIds = new Set<PackId>()

  /** Entries, a blob in two packs counted twice. */
  get blobCount(): number {
    return this.#entryCount
  }

  get packCount(): number {
    return this.#packNumbers.size
  }

  /** Bytes of all packs, headers included. */
  get packBytes(): number {
    return this.#packBytes
  }

  /** Packs whose blobs several index entries name piecemeal, which no writer does any more. */
  get splitPackIds(): ReadonlySet<PackId> {
    return this.#splitPackIds
  }

  /** Packs that several index entries name alike. */
  get repeatedPackIds(): ReadonlySet<PackId> {
    return this.#repeatedPackIds
  }

  hasPack(id: PackId): boolean {
    return this.#packNumbers.has(id)
  }

  addPack(pack: IndexedPack): void {
    // Some writers list the blobs of a pack in another order than that in which they lie there.
    let blobs = pack.blobs.toSorted((a, b) => a.offset - b.offset)
    const known = this.#packNumbers.has(pack.id)
    if (known) {
      blobs = blobs.filter((blob) => !this.#lies(blob, pack.id))
      if (blobs.length === 0) {
        this.#repeatedPackIds.add(pack.id)
        return
      }
      this.#splitPackIds.add(pack.id)
    }
    const size = packBytes(blobs)
    const row = { id: pack.id, firstEntry: this.#entryCount, entryCount: blobs.length, size }
    const packNumber = this.#packs.push(row) - 1
    if (!known) this.#packNumbers.set(pack.id, packNumber)
    this.#packBytes += known ? size - packBytes([]) : size
    for (const blob of blobs) this.#addBlob(blob, packNumber)
  }

  has(type: BlobType, id: BlobId): boolean {
    return this.#findEntry(type, id) !== undefined
  }

  find(type: BlobType, id: BlobId): BlobLocation | undefined {
    const entry = this.#findEntry(type, id)
    return entry === undefined ? undefined : this.#locationOf(entry)
  }

  /** Every place where a blob lies. */
  findAll(type: BlobType, id: BlobId): BlobLocation[] {
    return this.#entriesOf(type, id).map((entry) => this.#locationOf(entry)).toArray()
  }

  /** The numbers of a blob's entries, counted from 0 through the blobs of `packs` as those come. */
  entriesOf(type: BlobType, id: BlobId): number[] {
    return this.#entriesOf(type, id).toArray()
  }

  /** The packs with their blobs, in the order of their offsets; a split pack comes once for each of its parts. */
  *packs(): Generator<IndexedPack & { readonly size: number }> {
    for (const { id, firstEntry, entryCount, size } of this.#packs) {
      const blobs: PackedBlob[] = []
      for (let entry = firstEntry; entry < firstEntry + entryCount; entry += 1) blobs.push(this.#blobOf(entry))
      yield { id, blobs, size }
    }
  }

  #page(entry: number): Page {
    const page = this.#pages[entry >> PAGE_BITS]
    assert(page !== undefined)
    return page
  }

  #number(entry: number, which: number): number {
    return this.#page(entry).numbers[(entry & (PAGE_ENTRIES - 1)) * NUMBER_WORDS + which] ?? 0
  }

  #addBlob(blob: PackedBlob, packNumber: number): void {
    const entry = this.#entryCount
    if (entry >> PAGE_BITS === this.#pages.length) {
      this.#pages.push({
        ids: new Int32Array(PAGE_ENTRIES * ID_WORDS),
        numbers: new Uint32Array(PAGE_ENTRIES * NUMBER_WORDS),
      })
    }
    const page = this.#page(entry)
    const at = entry & (PAGE_ENTRIES - 1)
    this.#readWanted(blob.id)
    page.ids.set(this.#wanted, at * ID_WORDS)
    page.numbers[at * NUMBER_WORDS] = blob.type === 'tree' ? packNumber + TREE_BIT : packNumber
    page.numbers[at * NUMBER_WORDS + 1] = blob.offset
    page.numbers[at * NUMBER_WORDS + 2] = blob.length
    page.numbers[at * NUMBER_WORDS + 3] = blob.compressed ? blob.plainLength : 0
    this.#entryCount += 1
    if (this.#entryCount * 3 > this.#slots.length * 2) this.#growSlots()
    else this.#claimSlot(entry, this.#wanted[0] ?? 0)
  }

  #claimSlot(entry: number, hash: number): void {
    const mask = this.#slots.length - 1
    let slot = hash & mask
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask
    this.#slots[slot] = entry + 1
  }

  #growSlots(): void {
    this.#slots = new Int32Array(this.#slots.length * 2)
    for (let entry = 0; entry < this.#entryCount; entry += 1) {
      this.#claimSlot(entry, this.#page(entry).ids[(entry & (PAGE_ENTRIES - 1)) * ID_WORDS] ?? 0)
    }
  }

  #readWanted(id: BlobId): void {
    for (let word = 0; word < ID_WORDS; word += 1) {
      this.#wanted[word] = Number.parseInt(id.slice(word * 8, word * 8 + 8), 16)
    }
  }

  *#entriesOf(type: BlobType, id: BlobId): Generator<number> {
    this.#readWanted(id)
    const wanted = this.#wanted.slice()
    const mask = this.#slots.length - 1
    for (let slot = (wanted[0] ?? 0) & mask; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const entry = (this.#slots[slot] ?? 0) - 1
      if (this.#matches(entry, type, wanted)) yield entry
    }
  }

  #findEntry(type: BlobType, id: BlobId): number | undefined {
    this.#readWanted(id)
    const mask = this.#slots.length - 1
    for (let slot = (this.#wanted[0] ?? 0) & mask; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const entry = (this.#slots[slot] ?? 0) - 1
      if (this.#matches(entry, type, this.#wanted)) return entry
    }
    return undefined
  }

  #matches(entry: number, type: BlobType, wanted: Int32Array): boolean {
    const { ids, numbers } = this.#page(entry)
    const at = entry & (PAGE_ENTRIES - 1)
    for (let word = 0; word < ID_WORDS; word += 1) {
      if (ids[at * ID_WORDS + word] !== wanted[word]) return false
    }
    return (numbers[at * NUMBER_WORDS] ?? 0) >= TREE_BIT === (type === 'tree')
  }

  #lies(blob: PackedBlob, packId: PackId): boolean {
    return this.findAll(blob.type, blob.id).some((place) => place.packId === packId && place.offset === blob.offset)
  }

  #locationOf(entry: number): BlobLocation {
    const pack = this.#packs[this.#number(entry, 0) & ~TREE_BIT]
    assert(pack !== undefined)
    const length = this.#number(entry, 2)
    const plainLength = this.#number(entry, 3)
    return {
      packId: pack.id,
      offset: this.#number(entry, 1),
      length,
      plainLength: plainLength === 0 ? length - ENVELOPE_BYTES : plainLength,
      compressed: plainLength !== 0,
    }
  }

  #blobOf(entry: number): PackedBlob {
    const { ids } = this.#page(entry)
    const at = (entry & (PAGE_ENTRIES - 1)) * ID_WORDS
    let id = ''
    for (let word = 0; word < ID_WORDS; word += 1) id += ((ids[at + word] ?? 0) >>> 0).toString(16).padStart(8, '0')
    const { offset, length, plainLength, compressed } = this.#locationOf(entry)
    const type = this.#number(entry, 0) >= TREE_BIT ? 'tree' : 'data'
    return { type, id: id as BlobId, offset, length, plainLength, compressed }
  }
}
