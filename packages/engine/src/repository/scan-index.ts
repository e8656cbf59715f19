/**
 * Reads an index file in the form in which restic and this program write them, byte by byte into a table: an object for each
 * blob, which `decodeIndex` makes, takes five times as long.
 */
import { ENVELOPE_BYTES } from '../crypto/envelope.ts'
import { decodeIndex } from '../format/index-file.ts'
import { ID_WORDS, NUMBER_WORDS, tableOf, type IndexTable } from './index-table.ts'
import type { PackId } from './types.ts'

const BEGIN = '{"packs":['
const PACK = '{"id":"'
const BLOBS = '","blobs":['
const BLOB = '{"id":"'
const TYPE = '","type":"'
const DATA = 'data","offset":'
const TREE = 'tree","offset":'
const LENGTH = ',"length":'
const PLAIN_LENGTH = ',"uncompressed_length":'

const COMMA = 0x2c
const CLOSE_LIST = 0x5d
const CLOSE_OBJECT = 0x7d
const UINT32_MAX = 2 ** 32 - 1
/** No entry of a blob is shorter. */
const ENTRY_BYTES_MIN = 110

/** The values of hexadecimal digits, and -1 for all other bytes. */
const DIGIT_VALUES = Int8Array.from({ length: 256 }, (_, byte) => '0123456789abcdef'.indexOf(String.fromCharCode(byte)))

/** The table of an index file, or undefined when it is damaged. */
export function readIndexTable(json: Uint8Array): IndexTable | undefined {
  const table = new Scanner(json).read()
  if (table !== undefined) return table
  const packs = decodeIndex(json)
  return packs === undefined ? undefined : tableOf(packs)
}

class Scanner {
  readonly #bytes: Uint8Array
  readonly #ids: Int32Array<ArrayBuffer>
  readonly #numbers: Uint32Array<ArrayBuffer>
  #at = 0
  #row = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    const rowsMax = Math.ceil(bytes.length / ENTRY_BYTES_MIN)
    this.#ids = new Int32Array(rowsMax * ID_WORDS)
    this.#numbers = new Uint32Array(rowsMax * NUMBER_WORDS)
  }

  /** Undefined for every other form, be it right or wrong. */
  read(): IndexTable | undefined {
    const packIds: PackId[] = []
    const blobCounts: number[] = []
    if (!this.#take(BEGIN)) return undefined
    do {
      const idAt = this.#at + PACK.length
      if (!this.#take(PACK) || !this.#takeId(this.#row) || !this.#take(BLOBS)) return undefined
      const first = this.#row
      do if (!this.#takeBlob()) return undefined
      while (this.#takeComma())
      if (this.#bytes[this.#at] !== CLOSE_LIST || this.#bytes[this.#at + 1] !== CLOSE_OBJECT) return undefined
      this.#orderRows(first)
      packIds.push(Buffer.from(this.#bytes.subarray(idAt, idAt + 8 * ID_WORDS)).toString('latin1') as PackId)
      blobCounts.push(this.#row - first)
      this.#at += 2
    } while (this.#takeComma())
    if (!/^\]\}\s*$/.test(Buffer.from(this.#bytes.subarray(this.#at, this.#at + 8)).toString('latin1')) || this.#at + 8 < this.#bytes.length) return undefined
    return {
      packIds, blobCounts: Uint32Array.from(blobCounts),
      ids: this.#ids.slice(0, this.#row * ID_WORDS), numbers: this.#numbers.slice(0, this.#row * NUMBER_WORDS),
    }
  }

  /** Puts the blobs of a pack into the order of their offsets, in which some writers do not list them. */
  #orderRows(first: number): void {
    const offsetOf = (row: number): number => this.#numbers[row * NUMBER_WORDS + 1] ?? 0
    let isOrdered = true
    for (let row = first + 1; row < this.#row; row += 1) isOrdered &&= offsetOf(row - 1) <= offsetOf(row)
    if (isOrdered) return
    const rows = Uint32Array.from({ length: this.#row - first }, (_, i) => first + i).sort((a, b) => offsetOf(a) - offsetOf(b))
    const ids = this.#ids.slice(first * ID_WORDS, this.#row * ID_WORDS)
    const numbers = this.#numbers.slice(first * NUMBER_WORDS, this.#row * NUMBER_WORDS)
    for (const [i, row] of rows.entries()) {
      const from = row - first
      this.#ids.set(ids.subarray(from * ID_WORDS, (from + 1) * ID_WORDS), (first + i) * ID_WORDS)
      this.#numbers.set(numbers.subarray(from * NUMBER_WORDS, (from + 1) * NUMBER_WORDS), (first + i) * NUMBER_WORDS)
    }
  }

  #takeBlob(): boolean {
    const row = this.#row
    if (!this.#take(BLOB) || !this.#takeId(row) || !this.#take(TYPE)) return false
    const isTree = this.#bytes[this.#at] === TREE.charCodeAt(0)
    if (!this.#take(isTree ? TREE : DATA)) return false
    const offset = this.#takeNumber()
    if (!this.#take(LENGTH)) return false
    const length = this.#takeNumber()
    let plainLength = 0
    if (this.#bytes[this.#at] === COMMA) {
      if (!this.#take(PLAIN_LENGTH)) return false
      plainLength = this.#takeNumber()
    }
    if (this.#bytes[this.#at] !== CLOSE_OBJECT || offset < 0 || length < ENVELOPE_BYTES || plainLength < 0) return false
    this.#at += 1
    this.#row += 1
    const numbers = this.#numbers
    numbers[row * NUMBER_WORDS] = isTree ? 1 : 0
    numbers[row * NUMBER_WORDS + 1] = offset
    numbers[row * NUMBER_WORDS + 2] = length
    numbers[row * NUMBER_WORDS + 3] = plainLength
    return true
  }

  #take(text: string): boolean {
    for (let i = 0; i < text.length; i += 1) if (this.#bytes[this.#at + i] !== text.charCodeAt(i)) return false
    this.#at += text.length
    return true
  }

  #takeComma(): boolean {
    if (this.#bytes[this.#at] !== COMMA) return false
    this.#at += 1
    return true
  }

  /** Writes the words of an id into a row. */
  #takeId(row: number): boolean {
    let at = this.#at
    let all = 0
    for (let word = 0; word < ID_WORDS; word += 1) {
      let value = 0
      for (let digit = 0; digit < 8; digit += 1) {
        const bits = DIGIT_VALUES[this.#bytes[at] ?? 0] ?? -1
        value = (value << 4) | bits
        all |= bits
        at += 1
      }
      this.#ids[row * ID_WORDS + word] = value
    }
    this.#at = at
    return all >= 0
  }

  /** -1 for what is no whole number of 32 bits in its shortest form. */
  #takeNumber(): number {
    const start = this.#at
    let value = 0
    for (;;) {
      const digit = (this.#bytes[this.#at] ?? 0) - 0x30
      if (!(digit >= 0 && digit <= 9)) break
      value = value * 10 + digit
      this.#at += 1
    }
    const length = this.#at - start
    const isShortest = length === 1 || (length > 1 && length <= 10 && this.#bytes[start] !== 0x30)
    return isShortest && value <= UINT32_MAX ? value : -1
  }
}
