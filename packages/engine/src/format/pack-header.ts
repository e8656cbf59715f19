/**
 * The end of a pack: `envelope(entries) ‖ uint32 length of that envelope`. An entry is a type byte,
 * the stored length, for compressed blobs the plaintext length, and the plaintext's hash; numbers
 * are 32-bit little-endian. Offsets are not stored: blobs lie one after the other from byte 0.
 */
import { ENVELOPE_BYTES } from '../crypto/envelope.ts'
import type { BlobId, BlobType } from '../repository/types.ts'

export interface PackedBlob {
  readonly type: BlobType
  readonly id: BlobId
  /** Bytes from the start of the pack. */
  readonly offset: number
  /** Stored bytes, envelope included. */
  readonly length: number
  /** Plaintext bytes. */
  readonly plainLength: number
  readonly compressed: boolean
}

export const HEADER_LENGTH_BYTES = 4
export const HEADER_BYTES_MAX = 16 * 1024 * 1024
const ENTRY_BYTES = 37
const COMPRESSED_ENTRY_BYTES = 41

export function headerEntryBytes(compressed: boolean): number {
  return compressed ? COMPRESSED_ENTRY_BYTES : ENTRY_BYTES
}

/** The size of a pack with these blobs, in bytes. */
export function packBytes(blobs: Iterable<{ readonly length: number; readonly compressed: boolean }>): number {
  let bytes = ENVELOPE_BYTES + HEADER_LENGTH_BYTES
  for (const { length, compressed } of blobs) bytes += length + headerEntryBytes(compressed)
  return bytes
}

/** The header's plaintext for blobs that lie in this order. */
export function encodePackHeader(blobs: readonly PackedBlob[]): Uint8Array {
  const header = Buffer.alloc(blobs.reduce((bytes, blob) => bytes + headerEntryBytes(blob.compressed), 0))
  let at = 0
  for (const { type, id, length, plainLength, compressed } of blobs) {
    header[at] = (type === 'tree' ? 1 : 0) + (compressed ? 2 : 0)
    at = header.writeUInt32LE(length, at + 1)
    if (compressed) at = header.writeUInt32LE(plainLength, at)
    at += header.write(id, at, 'hex')
  }
  return header
}

/** The blobs of a pack, or undefined when the bytes are not a header. */
export function decodePackHeader(plaintext: Uint8Array): PackedBlob[] | undefined {
  const header = Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.length)
  const blobs: PackedBlob[] = []
  let at = 0
  let offset = 0
  while (at < header.length) {
    const kind = header.readUInt8(at)
    const compressed = kind >= 2
    const end = at + headerEntryBytes(compressed)
    if (kind > 3 || end > header.length) return undefined
    const length = header.readUInt32LE(at + 1)
    if (length < ENVELOPE_BYTES) return undefined
    blobs.push({
      type: (kind & 1) === 1 ? 'tree' : 'data',
      id: header.toString('hex', end - 32, end) as BlobId,
      offset,
      length,
      plainLength: compressed ? header.readUInt32LE(at + 5) : length - ENVELOPE_BYTES,
      compressed,
    })
    offset += length
    at = end
  }
  return blobs
}
