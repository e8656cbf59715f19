/**
 * Content-defined chunks exactly as restic cuts them, so that what either program stored is found
 * again by the other: Rabin fingerprint over 64 bytes, chunks of 512 KiB to 8 MiB, a cut where the
 * low 20 bits of the fingerprint are zero. At the start of a chunk the window is empty but for one
 * byte 1, and fingerprinting starts 64 bytes before the minimum: earlier cuts are not allowed anyway.
 */
import { degree, remainder } from './polynomial.ts'
import { DATA_AT, instantiateRabin, MOD_TABLE_AT, OUT_TABLE_AT, type RabinModule } from './rabin-module.ts'

export const WINDOW_BYTES = 64
export const CHUNK_BYTES_MIN = 512 * 1024
export const CHUNK_BYTES_MAX = 8 * 1024 * 1024
const SPLIT_MASK = (1n << 20n) - 1n

/** Where fingerprinting starts in a chunk. */
const SCAN_FROM = CHUNK_BYTES_MIN - WINDOW_BYTES

/**
 * Cuts one stream. `push` yields the chunks that the bytes complete, `finish` gives the rest; after
 * `finish` the chunker takes a new stream. A chunk lies in the chunker's memory, until it is asked for anything else.
 */
export class RabinChunker {
  readonly #module: RabinModule
  readonly #memory: Uint8Array
  readonly #seed: bigint
  /** Bytes of the current chunk that lie in memory, and how far they were scanned. */
  #filled = 0
  #scanned = 0

  constructor(polynomial: bigint) {
    this.#module = instantiateRabin(degree(polynomial), SPLIT_MASK, CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
    this.#memory = new Uint8Array(this.#module.memory.buffer)
    fillTables(new BigUint64Array(this.#module.memory.buffer), polynomial)
    // The byte 1 that starts the window, slid into an empty fingerprint.
    this.#seed = 1n
    this.#startChunk()
  }

  *push(data: Uint8Array): Generator<Uint8Array, void, undefined> {
    let rest = data
    while (rest.length > 0) {
      const taken = rest.subarray(0, CHUNK_BYTES_MAX - this.#filled)
      this.#memory.set(taken, DATA_AT + this.#filled)
      const filledBefore = this.#filled
      this.#filled += taken.length
      const end = this.#findCut()
      if (end === undefined) {
        rest = rest.subarray(taken.length)
        continue
      }
      yield this.#memory.subarray(DATA_AT, DATA_AT + end)
      rest = rest.subarray(end - filledBefore)
      this.#startChunk()
    }
  }

  finish(): Uint8Array | undefined {
    const last = this.#filled === 0 ? undefined : this.#memory.subarray(DATA_AT, DATA_AT + this.#filled)
    this.#startChunk()
    return last
  }

  #startChunk(): void {
    this.#filled = 0
    this.#scanned = SCAN_FROM
    this.#module.digest.value = this.#seed
  }

  /** Bytes of the chunk that ends within what lies in memory. */
  #findCut(): number | undefined {
    if (this.#filled <= this.#scanned) return undefined
    const prologueEnd = SCAN_FROM + WINDOW_BYTES
    if (this.#scanned < prologueEnd) {
      // The first 64 bytes push out the window's start, zeros and last the 1, not earlier data.
      const to = Math.min(this.#filled, prologueEnd)
      const cut = this.#scanWithWindowStart(this.#scanned, to)
      this.#scanned = to
      if (cut !== undefined) return cut
    }
    if (this.#scanned < this.#filled) {
      const cut = this.#module.scan(DATA_AT + this.#scanned, DATA_AT + this.#filled)
      this.#scanned = this.#filled
      if (cut !== 0) return cut - DATA_AT
    }
    return this.#filled === CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX : undefined
  }

  /** Scans with the bytes that lie a window back replaced by 63 zeros and a 1, and puts them back. */
  #scanWithWindowStart(from: number, to: number): number | undefined {
    const start = DATA_AT + SCAN_FROM - WINDOW_BYTES
    const kept = this.#memory.slice(start, start + WINDOW_BYTES)
    this.#memory.fill(0, start, start + WINDOW_BYTES)
    this.#memory[start + WINDOW_BYTES - 1] = 1
    const cut = this.#module.scan(DATA_AT + from, DATA_AT + to)
    this.#memory.set(kept, start)
    return cut === 0 ? undefined : cut - DATA_AT
  }
}

/** Writes the tables of a polynomial to where the module expects them. */
export function fillTables(words: BigUint64Array, polynomial: bigint): void {
  const shift = BigInt(degree(polynomial))
  for (let byte = 0; byte < 256; byte += 1) {
    // What a byte contributes when it has travelled through the whole window.
    let out = remainder(BigInt(byte), polynomial)
    for (let i = 1; i < WINDOW_BYTES; i += 1) out = remainder(out << 8n, polynomial)
    words[OUT_TABLE_AT / 8 + byte] = out
    // Clears the top byte and adds what it is worth below the degree.
    const top = BigInt(byte) << shift
    words[MOD_TABLE_AT / 8 + byte] = remainder(top, polynomial) | top
  }
}
