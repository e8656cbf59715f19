/**
 * File names are bytes, JSON is text. On the wire a name is its UTF-8 text; a byte that is no part of UTF-8
 * is written `\xff`, and a backslash `\\`. So every name has one text, and every text at most one name.
 */
import { isUtf8 } from 'node:buffer'
import { Failure } from '../failures.ts'

const BACKSLASH = '\\'

export function encodeName(name: Uint8Array): string {
  if (isUtf8(name)) return Buffer.from(name).toString().replaceAll(BACKSLASH, BACKSLASH + BACKSLASH)
  let text = ''
  for (let at = 0; at < name.length;) {
    const length = characterAt(name, at)
    if (length === 0) text += `${BACKSLASH}x${(name[at] ?? 0).toString(16).padStart(2, '0')}`
    else text += Buffer.from(name.subarray(at, at + length)).toString().replace(BACKSLASH, BACKSLASH + BACKSLASH)
    at += Math.max(1, length)
  }
  return text
}

/** Bytes of the character that begins here; 0 when none does. */
function characterAt(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] ?? 0
  const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  const character = bytes.subarray(at, at + length)
  return character.length === length && isUtf8(character) ? length : 0
}

/** Throws `parameter.invalid` for an escape that is none. */
export function decodeName(field: string, text: string): Buffer {
  const parts: Buffer[] = []
  for (const piece of text.split(/(\\x[0-9a-f]{2}|\\.?)/s)) {
    if (piece === '') continue
    if (!piece.startsWith(BACKSLASH)) parts.push(Buffer.from(piece))
    else if (piece === BACKSLASH + BACKSLASH) parts.push(Buffer.from(BACKSLASH))
    else if (piece.length === 4) parts.push(Buffer.from(piece.slice(2), 'hex'))
    else throw new Failure('parameter.invalid', { field, reason: String.raw`a backslash stands for itself as \\, and for a byte as in \xff` })
  }
  return Buffer.concat(parts)
}

/** The names of an absolute path; none for the root. Throws `parameter.invalid`. */
export function decodePath(field: string, text: string): Buffer[] {
  if (!text.startsWith('/')) throw new Failure('parameter.invalid', { field, reason: 'it must begin with a slash' })
  return text.split('/').filter((part) => part !== '').map((part) => {
    if (part === '.' || part === '..') throw new Failure('parameter.invalid', { field, reason: `it must not contain ${part}` })
    return decodeName(field, part)
  })
}

export function encodePath(names: readonly Uint8Array[]): string {
  return `/${names.map(encodeName).join('/')}`
}
