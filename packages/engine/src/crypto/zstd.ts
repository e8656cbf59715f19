import { zstdDecompressSync } from 'node:zlib'
import { frameBytesMax, primitives } from './primitives.ts'

export type ZstdLevel = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9

/** One frame that states its content size and carries no checksum: the envelope authenticates it. */
export function compress(plaintext: Uint8Array, level: ZstdLevel): Uint8Array {
  const frame = new Uint8Array(frameBytesMax(plaintext.length))
  return frame.subarray(0, primitives.compress(plaintext, level, frame))
}

/** The pieces in which an unknown length comes. */
const PIECE_BYTES_MIN = 4096
const PIECE_BYTES_MAX = 1024 * 1024

/** The content of a zstd frame of unknown length, or undefined when it is not one or holds more bytes than allowed. */
export function decompress(frame: Uint8Array, bytesMax: number): Uint8Array | undefined {
  try {
    return zstdDecompressSync(frame, { maxOutputLength: Math.max(1, bytesMax), chunkSize: Math.min(PIECE_BYTES_MAX, Math.max(PIECE_BYTES_MIN, frame.length * 4)) })
  } catch {
    return undefined
  }
}

const PROBED_BYTES_MIN = 64 * 1024
const SAMPLE_COUNT = 4
const SAMPLE_BYTES = 4096
const PROBE_RATIO_MIN = 0.98
const samples = new Uint8Array(SAMPLE_COUNT * SAMPLE_BYTES)
const sampleFrame = new Uint8Array(frameBytesMax(samples.length))

/**
 * Whether a few samples of a large piece of data hardly become shorter, as those of media,
 * archives and ciphertext do not: compressing it all would be a waste.
 */
export function looksIncompressible(data: Uint8Array): boolean {
  if (data.length < PROBED_BYTES_MIN) return false
  const step = Math.floor((data.length - SAMPLE_BYTES) / (SAMPLE_COUNT - 1))
  for (let i = 0; i < SAMPLE_COUNT; i += 1) samples.set(data.subarray(i * step, i * step + SAMPLE_BYTES), i * SAMPLE_BYTES)
  return primitives.compress(samples, 1, sampleFrame) > samples.length * PROBE_RATIO_MIN
}
