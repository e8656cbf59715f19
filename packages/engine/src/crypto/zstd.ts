import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'

export type ZstdLevel = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9

/** One frame that states its content size and carries no checksum: the envelope authenticates it. */
export function compress(plaintext: Uint8Array, level: ZstdLevel): Uint8Array {
  return zstdCompressSync(plaintext, { params: { [constants.ZSTD_c_compressionLevel]: level } })
}

/** The content of a zstd frame, or undefined when it is not one or holds more bytes than allowed. */
export function decompress(frame: Uint8Array, bytesMax: number): Uint8Array | undefined {
  try {
    return zstdDecompressSync(frame, { maxOutputLength: Math.max(1, bytesMax) })
  } catch {
    return undefined
  }
}
