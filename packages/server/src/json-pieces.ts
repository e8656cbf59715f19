/** JSON in bytes, that lies in several pieces of memory: long pages are sent as the database gave them, and not copied together. */
export class JsonPieces {
  readonly pieces: readonly Uint8Array[]
  readonly byteLength: number

  constructor(pieces: readonly Uint8Array[]) {
    this.pieces = pieces
    this.byteLength = pieces.reduce((sum, each) => sum + each.byteLength, 0)
  }

  /** All of it, in one piece. */
  join(): Uint8Array {
    return Buffer.concat(this.pieces)
  }

  toString(): string {
    return Buffer.from(this.join()).toString()
  }
}
