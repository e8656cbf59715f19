/**
 * JSON in bytes, that lies in several pieces of memory: long pages are sent as the database gave them, and not copied together.
 *
 * Who is handed one that others may have too holds it until it lets go. When all have, the memory of long pieces is given back
 * at once: to the collector a page of a megabyte looks like a small object, and it would let hundreds of them pile up. Whoever
 * forgets to let go leaves them to the collector.
 */
export class JsonPieces {
  readonly pieces: readonly Uint8Array[]
  readonly byteLength: number
  #holders = 1

  /** Whoever makes it holds it. */
  constructor(pieces: readonly Uint8Array[]) {
    this.pieces = pieces
    this.byteLength = pieces.reduce((sum, each) => sum + each.byteLength, 0)
  }

  hold(): this {
    this.#holders += 1
    return this
  }

  /** Takes effect when the code that runs now has come to its end, so that who is handed it meanwhile can hold it. */
  letGo(): void {
    setImmediate(() => {
      this.#holders -= 1
      if (this.#holders > 0) return
      this.pieces.forEach(giveBack)
    })
  }

  /** All of it, in one piece of its own. */
  join(): Uint8Array {
    return Buffer.concat(this.pieces)
  }

  toString(): string {
    return Buffer.from(this.join()).toString()
  }
}

const LONG_BYTES_MIN = 2048

/** Gives the memory of bytes back that nobody looks at any more. What shares its memory with others is short, and left to the collector. */
export function giveBack({ buffer, byteLength }: Uint8Array): void {
  if (byteLength >= LONG_BYTES_MIN && buffer.byteLength === byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0)
}
