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
import { headerEntryBytes, packBytes } from '../format/pack-header.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import { ID_WORDS, NUMBER_WORDS, tableOf, writeIdWords } from './index-table.ts'
import type { IndexTable } from './index-table.ts'
import type { BlobId, BlobLocation, BlobType, PackId } from './types.ts'

const PAGE_BITS = 13
const PAGE_ENTRIES = 1 << PAGE_BITS
const ID_BYTES = 4 * ID_WORDS
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
    this.addTable(tableOf([pack]))
  }

  addTable(table: IndexTable): void {
    let row = 0
    for (const [i, id] of table.packIds.entries()) {
      const end = row + (table.blobCounts[i] ?? 0)
      if (this.#packNumbers.has(id)) this.#addMore(id, table, row, end)
      else {
        this.#packNumbers.set(id, this.#packs.length)
        this.#packBytes += this.#addRows(id, table, row, end, () => true)
      }
      row = end
    }
  }

  /** Takes those blobs of a known pack that are not known to lie in it. */
  #addMore(id: PackId, table: IndexTable, from: number, to: number): void {
    const unknown = new Set<number>()
    for (let row = from; row < to; row += 1) {
      const words = table.ids.slice(row * ID_WORDS, (row + 1) * ID_WORDS)
      const type = table.numbers[row * NUMBER_WORDS] === 1 ? 'tree' : 'data'
      const places = this.#entriesOfWords(type, words).map((entry) => this.#locationOf(entry))
      const offset = table.numbers[row * NUMBER_WORDS + 1]
      if (!places.some((place) => place.packId === id && place.offset === offset)) unknown.add(row)
    }
    if (unknown.size === 0) {
      this.#repeatedPackIds.add(id)
      return
    }
    this.#splitPackIds.add(id)
    this.#packBytes += this.#addRows(id, table, from, to, (row) => unknown.has(row)) - packBytes([])
  }

  /** Gives the bytes of a pack with just these blobs. */
  #addRows(id: PackId, { ids, numbers }: IndexTable, from: number, to: number, isWanted: (row: number) => boolean): number {
    const packNumber = this.#packs.length
    const firstEntry = this.#entryCount
    let size = packBytes([])
    for (let row = from; row < to; row += 1) {
      if (!isWanted(row)) continue
      const at = row * NUMBER_WORDS
      size += (numbers[at + 2] ?? 0) + headerEntryBytes(numbers[at + 3] !== 0)
      this.#addEntry(ids, row * ID_WORDS, numbers, at, packNumber)
    }
    this.#packs.push({ id, firstEntry, entryCount: this.#entryCount - firstEntry, size })
    return size
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
    for (const row of this.#packs) yield { id: row.id, blobs: this.#blobsOf(row), size: row.size }
  }

  /** The blobs of one pack, in the order of their offsets; none when the pack is unknown. */
  blobsOfPack(id: PackId): PackedBlob[] {
    const first = this.#packNumbers.get(id)
    if (first === undefined) return []
    // Only a split pack has more rows than its first.
    const rows = this.#splitPackIds.has(id) ? this.#packs.filter((row) => row.id === id) : this.#packs.slice(first, first + 1)
    return rows.flatMap((row) => this.#blobsOf(row)).toSorted((a, b) => a.offset - b.offset)
  }

  #blobsOf({ firstEntry, entryCount }: PackRow): PackedBlob[] {
    // One long text of digits that ids are cut from costs a fraction of a text for each.
    const bytes = Buffer.allocUnsafe(entryCount * ID_BYTES)
    for (let i = 0; i < entryCount; i += 1) {
      const { ids } = this.#page(firstEntry + i)
      const at = ((firstEntry + i) & (PAGE_ENTRIES - 1)) * ID_WORDS
      for (let word = 0; word < ID_WORDS; word += 1) bytes.writeInt32BE(ids[at + word] ?? 0, i * ID_BYTES + word * 4)
    }
    const digits = bytes.toString('hex')
    return Array.from({ length: entryCount }, (_, i) => this.#blobOf(firstEntry + i, digits.slice(i * 2 * ID_BYTES, (i + 1) * 2 * ID_BYTES) as BlobId))
  }

  #page(entry: number): Page {
    const page = this.#pages[entry >> PAGE_BITS]
    assert(page !== undefined)
    return page
  }

  #number(entry: number, which: number): number {
    return this.#page(entry).numbers[(entry & (PAGE_ENTRIES - 1)) * NUMBER_WORDS + which] ?? 0
  }

  #addEntry(ids: Int32Array, idAt: number, numbers: Uint32Array, numbersAt: number, packNumber: number): void {
    const entry = this.#entryCount
    if (entry >> PAGE_BITS === this.#pages.length) {
      this.#pages.push({
        ids: new Int32Array(PAGE_ENTRIES * ID_WORDS),
        numbers: new Uint32Array(PAGE_ENTRIES * NUMBER_WORDS),
      })
    }
    const page = this.#page(entry)
    const at = entry & (PAGE_ENTRIES - 1)
    for (let word = 0; word < ID_WORDS; word += 1) page.ids[at * ID_WORDS + word] = ids[idAt + word] ?? 0
    page.numbers[at * NUMBER_WORDS] = packNumber + (numbers[numbersAt] === 1 ? TREE_BIT : 0)
    for (let word = 1; word < NUMBER_WORDS; word += 1) page.numbers[at * NUMBER_WORDS + word] = numbers[numbersAt + word] ?? 0
    this.#entryCount += 1
    if (this.#entryCount * 3 > this.#slots.length * 2) this.#growSlots()
    else this.#claimSlot(entry, ids[idAt] ?? 0)
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
    writeIdWords(id, this.#wanted, 0)
  }

  #entriesOf(type: BlobType, id: BlobId): Generator<number> {
    const words = new Int32Array(ID_WORDS)
    writeIdWords(id, words, 0)
    return this.#entriesOfWords(type, words)
  }

  *#entriesOfWords(type: BlobType, words: Int32Array): Generator<number> {
    const mask = this.#slots.length - 1
    for (let slot = (words[0] ?? 0) & mask; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const entry = (this.#slots[slot] ?? 0) - 1
      if (this.#matches(entry, type, words)) yield entry
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

  #blobOf(entry: number, id: BlobId): PackedBlob {
    const { offset, length, plainLength, compressed } = this.#locationOf(entry)
    const type = this.#number(entry, 0) >= TREE_BIT ? 'tree' : 'data'
    return { type, id, offset, length, plainLength, compressed }
  }
}
