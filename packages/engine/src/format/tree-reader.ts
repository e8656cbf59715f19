/**
 * Reads JSON from bytes, strictly and without loss: numbers up to 2^64-1, strings as their UTF-8
 * bytes, and any value as it stands. `JSON.parse` rounds numbers above 2^53. What is not JSON, or
 * nested deeper than any tree, throws a SyntaxError with the place.
 */
const DEPTH_MAX = 64
const UINT64_MAX = 2n ** 64n - 1n
const HASH_DIGITS = 64

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_LIST = 0x5b
const BACKSLASH = 0x5c
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const LETTER_U = 0x75

const SHORT_ESCAPES: Readonly<Record<number, string>> = {
  0x22: '"', 0x5c: '\\', 0x2f: '/', 0x62: '\b', 0x66: '\f', 0x6e: '\n', 0x72: '\r', 0x74: '\t',
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y

export class JsonReader {
  private readonly bytes: Buffer
  private at = 0
  private depth = 0

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  private fail(expected: string): never {
    throw new SyntaxError(`Expected ${expected} at byte ${this.at}.`)
  }

  private skipSpace(): void {
    for (;;) {
      const byte = this.bytes[this.at]
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return
      this.at += 1
    }
  }

  /** Where the next value begins. */
  place(): number {
    this.skipSpace()
    return this.at
  }

  private take(byte: number, expected: string): void {
    if (this.bytes[this.at] !== byte) this.fail(expected)
    this.at += 1
  }

  /** Calls back once per field, which must read the field's value. A `null` object has no fields. */
  readObject(readField: (name: string) => void): void {
    this.skipSpace()
    if (this.takeNull()) return
    this.take(OPEN_OBJECT, 'an object')
    this.enter()
    this.skipSpace()
    if (this.bytes[this.at] === CLOSE_OBJECT) this.at += 1
    else {
      for (;;) {
        this.skipSpace()
        const name = this.readString()
        this.skipSpace()
        this.take(COLON, 'a colon')
        readField(name)
        if (!this.takeSeparator(CLOSE_OBJECT)) break
      }
    }
    this.depth -= 1
  }

  /** Calls back once per item, which must read it. False for `null`, which has no items. */
  readList(readItem: () => void): boolean {
    this.skipSpace()
    if (this.takeNull()) return false
    this.take(OPEN_LIST, 'a list')
    this.enter()
    this.skipSpace()
    if (this.bytes[this.at] === CLOSE_LIST) this.at += 1
    else {
      do readItem()
      while (this.takeSeparator(CLOSE_LIST))
    }
    this.depth -= 1
    return true
  }

  private enter(): void {
    this.depth += 1
    if (this.depth > DEPTH_MAX) this.fail(`no more than ${DEPTH_MAX} levels`)
  }

  /** Whether another element follows. */
  private takeSeparator(close: number): boolean {
    this.skipSpace()
    const byte = this.bytes[this.at]
    if (byte !== COMMA && byte !== close) this.fail('a comma or the end')
    this.at += 1
    return byte === COMMA
  }

  private takeNull(): boolean {
    if (this.bytes[this.at] !== 0x6e || this.bytes.toString('latin1', this.at, this.at + 4) !== 'null') return false
    this.at += 4
    return true
  }

  /** True when the next value was `null`, which is then behind. */
  skipNull(): boolean {
    this.skipSpace()
    return this.takeNull()
  }

  readString(): string {
    const bytes = this.readStringBytes()
    return bytes.toString()
  }

  /** The UTF-8 bytes that a string stands for; a view of the input where nothing is escaped. */
  readStringBytes(): Buffer {
    this.skipSpace()
    this.take(QUOTE, 'a string')
    const start = this.at
    for (;;) {
      const byte = this.bytes[this.at]
      if (byte === QUOTE) {
        this.at += 1
        return this.bytes.subarray(start, this.at - 1)
      }
      if (byte === BACKSLASH) return this.readEscapedRest(start)
      if (byte === undefined || byte < 0x20) this.fail('the end of a string')
      this.at += 1
    }
  }

  private readEscapedRest(start: number): Buffer {
    const pieces: Buffer[] = []
    let plainFrom = start
    for (;;) {
      const byte = this.bytes[this.at]
      if (byte === QUOTE) {
        pieces.push(this.bytes.subarray(plainFrom, this.at))
        this.at += 1
        return Buffer.concat(pieces)
      }
      if (byte === undefined || byte < 0x20) this.fail('the end of a string')
      if (byte !== BACKSLASH) {
        this.at += 1
        continue
      }
      pieces.push(this.bytes.subarray(plainFrom, this.at), Buffer.from(this.readEscape()))
      plainFrom = this.at
    }
  }

  private readEscape(): string {
    const letter = this.bytes[this.at + 1] ?? 0
    if (letter !== LETTER_U) {
      const short = SHORT_ESCAPES[letter] ?? this.fail('an escape')
      this.at += 2
      return short
    }
    const first = this.readCodeUnit()
    if (first < 0xd800 || first >= 0xe000) return String.fromCharCode(first)
    const hasSecond = this.bytes[this.at] === BACKSLASH && this.bytes[this.at + 1] === LETTER_U
    if (first >= 0xdc00 || !hasSecond) return '\ufffd'
    const before = this.at
    const second = this.readCodeUnit()
    if (second >= 0xdc00 && second < 0xe000) return String.fromCharCode(first, second)
    // Half a pair stands for nothing, and the escape behind it for itself.
    this.at = before
    return '\ufffd'
  }

  private readCodeUnit(): number {
    const digits = this.bytes.toString('latin1', this.at + 2, this.at + 6)
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.fail('four hexadecimal digits')
    this.at += 6
    return Number.parseInt(digits, 16)
  }

  /** 64 hexadecimal digits, as ids are written. */
  readHash(): string {
    this.skipSpace()
    this.take(QUOTE, 'an id')
    const { bytes, at } = this
    for (let index = at; index < at + HASH_DIGITS; index += 1) {
      const byte = bytes[index] ?? 0
      const isDigit = byte >= 0x30 && byte <= 0x39
      const isLetter = byte >= 0x61 && byte <= 0x66
      if (!isDigit && !isLetter) this.fail('64 lower-case hexadecimal digits')
    }
    this.at += HASH_DIGITS
    this.take(QUOTE, 'the end of an id')
    return bytes.toString('latin1', at, at + HASH_DIGITS)
  }

  readUint64(): bigint {
    const digits = this.readDigits()
    // Almost all numbers are small, and going through a number is faster then.
    if (digits.length < 16) return BigInt(Number(digits))
    const value = BigInt(digits)
    return value <= UINT64_MAX ? value : this.fail('a number of 64 bits')
  }

  readUint32(): number {
    const value = Number(this.readDigits())
    return value < 2 ** 32 ? value : this.fail('a number of 32 bits')
  }

  private readDigits(): string {
    this.skipSpace()
    const start = this.at
    for (;;) {
      const byte = this.bytes[this.at] ?? 0
      if (byte < 0x30 || byte > 0x39) break
      this.at += 1
    }
    const length = this.at - start
    if (length === 0 || length > 20) this.fail('a whole number')
    return this.bytes.toString('latin1', start, this.at)
  }

  /** Passes over any value, and gives its bytes as they stand. */
  readRaw(): Buffer {
    this.skipSpace()
    const start = this.at
    const byte = this.bytes[this.at]
    if (byte === OPEN_OBJECT) this.readObject(() => this.readRaw())
    else if (byte === OPEN_LIST) this.readList(() => this.readRaw())
    else if (byte === QUOTE) this.readStringBytes()
    else this.skipWordOrNumber()
    return this.bytes.subarray(start, this.at)
  }

  private skipWordOrNumber(): void {
    const text = this.bytes.toString('latin1', this.at, this.at + 64)
    const word = /^(?:null|true|false)/.exec(text)
    if (word !== null) {
      this.at += word[0].length
      return
    }
    NUMBER.lastIndex = 0
    if (!NUMBER.test(text)) this.fail('a value')
    this.at += NUMBER.lastIndex
  }

  /** Throws unless only white space is left. */
  readEnd(): void {
    this.skipSpace()
    if (this.at !== this.bytes.length) this.fail('the end')
  }
}
