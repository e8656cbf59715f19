import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'

export type ZstdLevel = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9

/** Output is collected in pieces of the size given; one piece that is large enough saves copying. */
const CHUNK_BYTES_MIN = 1024

/** More bytes than any frame of so many bytes takes. */
export function frameBytesMax(plainBytes: number): number {
  return plainBytes + (plainBytes >> 7) + 256
}

/** One frame that states its content size and carries no checksum: the envelope authenticates it. */
export function compress(plaintext: Uint8Array, level: ZstdLevel): Uint8Array {
  return zstdCompressSync(plaintext, {
    params: { [constants.ZSTD_c_compressionLevel]: level },
    chunkSize: Math.max(CHUNK_BYTES_MIN, frameBytesMax(plaintext.length)),
  })
}

/**
 * The content of a zstd frame, or undefined when it is not one or holds more bytes than allowed.
 * Tell the exact length where it is known: it saves copying.
 */
export function decompress(frame: Uint8Array, bytesMax: number, exactly = false): Uint8Array | undefined {
  try {
    return zstdDecompressSync(frame, {
      maxOutputLength: Math.max(1, bytesMax),
      // One byte more than there is: a piece that is filled to the brim asks for another.
      ...(exactly ? { chunkSize: Math.max(CHUNK_BYTES_MIN, bytesMax + 1) } : {}),
    })
  } catch {
    return undefined
  }
}

const PROBED_BYTES_MIN = 64 * 1024
const SAMPLE_COUNT = 4
const SAMPLE_BYTES = 4096
const PROBE_RATIO_MIN = 0.98

/**
 * Whether a few samples of a large piece of data hardly become shorter, as those of media,
 * archives and ciphertext do not: compressing it all would be a waste.
 */
export function looksIncompressible(data: Uint8Array): boolean {
  if (data.length < PROBED_BYTES_MIN) return false
  const samples = new Uint8Array(SAMPLE_COUNT * SAMPLE_BYTES)
  const step = Math.floor((data.length - SAMPLE_BYTES) / (SAMPLE_COUNT - 1))
  for (let i = 0; i < SAMPLE_COUNT; i += 1) samples.set(data.subarray(i * step, i * step + SAMPLE_BYTES), i * SAMPLE_BYTES)
  return compress(samples, 1).length > samples.length * PROBE_RATIO_MIN
}
