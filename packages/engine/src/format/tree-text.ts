/**
 * How text is written in a tree, byte for byte as restic's Go encoders write it: JSON strings as
 * `encoding/json` does (Go 1.22 and newer), and names first quoted as `strconv.Quote` does, because
 * names are bytes and JSON knows only characters.
 */
import { isUtf8 } from 'node:buffer'
import { isPrintable } from './tree-printable.ts'

const BACKSLASH = 0x5c

// Most names are printable ASCII without quotes, backslashes and what matters in HTML.
const PLAIN_NAME = /^[ !#-%'-;=?-[\]-~]*$/

// Everything but control characters, quotes, backslashes, what matters in HTML and in JavaScript.
const PLAIN_JSON = /^[ !#-%'-;=?-[\]-\u2027\u202a-\uffff]*$/
const ESCAPED_IN_JSON = /[^ !#-%'-;=?-[\]-\u2027\u202a-\uffff]/g

const JSON_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"', '\\': '\\\\', '\b': '\\b', '\f': '\\f', '\n': '\\n', '\r': '\\r', '\t': '\\t',
}

const QUOTE_ESCAPES: Readonly<Record<number, string>> = {
  0x07: '\\a', 0x08: '\\b', 0x0c: '\\f', 0x0a: '\\n', 0x0d: '\\r', 0x09: '\\t', 0x0b: '\\v', 0x5c: '\\\\', 0x22: '\\"',
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, '0')
}

/** A JSON string with its quotes. */
export function encodeJsonString(text: string): string {
  if (PLAIN_JSON.test(text)) return `"${text}"`
  const escaped = text.replace(
    ESCAPED_IN_JSON,
    (character) => JSON_ESCAPES[character] ?? `\\u${hex(character.charCodeAt(0), 4)}`,
  )
  return `"${escaped}"`
}

/** A name as a JSON string with its quotes: first quoted in Go's way, then JSON-escaped. */
export function encodeName(name: Uint8Array): string {
  return encodeLatin1Name(Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1'))
}

/** The same of a name whose bytes are characters. */
export function encodeLatin1Name(latin1: string): string {
  return PLAIN_NAME.test(latin1) ? `"${latin1}"` : encodeJsonString(quote(Buffer.from(latin1, 'latin1')))
}

function quote(bytes: Buffer): string {
  let quoted = ''
  let at = 0
  while (at < bytes.length) {
    const length = characterLength(bytes, at)
    if (length === 0) {
      quoted += `\\x${hex(bytes[at] ?? 0, 2)}`
      at += 1
      continue
    }
    const character = bytes.toString('utf8', at, at + length)
    quoted += quoteCharacter(character, character.codePointAt(0) ?? 0)
    at += length
  }
  return quoted
}

function quoteCharacter(character: string, codePoint: number): string {
  const short = QUOTE_ESCAPES[codePoint]
  if (short !== undefined) return short
  if (isPrintable(codePoint)) return character
  if (codePoint < 0x20 || codePoint === 0x7f) return `\\x${hex(codePoint, 2)}`
  return codePoint < 0x1_0000 ? `\\u${hex(codePoint, 4)}` : `\\U${hex(codePoint, 8)}`
}

/** Bytes of the UTF-8 character that begins at an offset; 0 when none does. */
function characterLength(bytes: Buffer, at: number): number {
  const lead = bytes[at] ?? 0
  if (lead < 0x80) return 1
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  return at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length)) ? length : 0
}

const UNQUOTE_ESCAPES: Readonly<Record<string, number>> = {
  a: 0x07, b: 0x08, f: 0x0c, n: 0x0a, r: 0x0d, t: 0x09, v: 0x0b, '\\': 0x5c, '"': 0x22,
}

/**
 * The bytes of a name from its quoted form (without the outer quotes, JSON escapes already undone);
 * undefined when Go would refuse it.
 */
export function unquoteName(quoted: Buffer): Buffer | undefined {
  const valid = isUtf8(quoted) ? quoted : Buffer.from(quoted.toString())
  if (!/["\\\n]/.test(valid.toString('latin1'))) return valid
  const bytes = Buffer.allocUnsafe(valid.length)
  let length = 0
  let at = 0
  while (at < valid.length) {
    const byte = valid[at] ?? 0
    // Go refuses a bare quote and a bare line break.
    if (byte === 0x22 || byte === 0x0a) return undefined
    if (byte !== BACKSLASH) {
      bytes[length++] = byte
      at += 1
      continue
    }
    const escape = readEscape(valid.toString('latin1', at + 1, at + 10))
    if (escape === undefined) return undefined
    length += escape.bytes.copy(bytes, length)
    at += 1 + escape.length
  }
  return bytes.subarray(0, length)
}

/** What an escape after its backslash stands for, and how many characters it takes. */
function readEscape(text: string): { bytes: Buffer; length: number } | undefined {
  const short = UNQUOTE_ESCAPES[text.charAt(0)]
  if (short !== undefined) return { bytes: Buffer.of(short), length: 1 }
  const octal = /^[0-3][0-7]{2}/.exec(text)
  if (octal !== null) return { bytes: Buffer.of(Number.parseInt(octal[0], 8)), length: 3 }
  const byte = /^x([0-9a-fA-F]{2})/.exec(text)?.[1]
  if (byte !== undefined) return { bytes: Buffer.of(Number.parseInt(byte, 16)), length: 3 }
  const digits = /^(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/.exec(text)
  if (digits === null) return undefined
  const codePoint = Number.parseInt(digits[1] ?? digits[2] ?? '', 16)
  if (codePoint > 0x10_ffff || (codePoint >= 0xd800 && codePoint < 0xe000)) return undefined
  return { bytes: Buffer.from(String.fromCodePoint(codePoint)), length: digits[0].length }
}
