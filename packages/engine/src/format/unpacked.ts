/**
 * The plaintext form of files that hold one JSON document: indexes, locks, snapshots. In version 2
 * they are the byte 2 and a zstd frame; a first byte that opens a JSON array or object means bare
 * JSON, which is all that version 1 knows and stays legal. Key files and the config never take
 * this form.
 */
import { compress, decompress } from '../crypto/zstd.ts'

const COMPRESSED = 2
/** Far above any real file, and below what would exhaust a process. */
const JSON_BYTES_MAX = 512 * 1024 * 1024

export function encodeUnpacked(version: 1 | 2, json: Uint8Array): Uint8Array {
  if (version === 1) return json
  return Buffer.concat([Uint8Array.of(COMPRESSED), compress(json, 3)])
}

/** The JSON text, or undefined when the plaintext has neither form. */
export function decodeUnpacked(plaintext: Uint8Array): Uint8Array | undefined {
  const first = plaintext[0]
  if (first === COMPRESSED) return decompress(plaintext.subarray(1), JSON_BYTES_MAX)
  return first === 0x5b || first === 0x7b ? plaintext : undefined
}
