/** The primitives by Node's documented interfaces, and Poly1305, which those lack, by WebAssembly. */
import { createCipheriv, hash } from 'node:crypto'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { createPlainHashLanes } from './hash-lanes.ts'
import { createPoly1305 } from './poly1305.ts'
import type { Primitives } from './primitives.ts'

/** OpenSSL gives every piece new memory, which costs more than the cipher when it is large or small. */
const PIECE_BYTES = 256 * 1024
/** Output is collected in pieces of a given size; one that is large enough saves copying. */
const OUTPUT_BYTES_MIN = 1024

function writeHash(data: Uint8Array, target: Uint8Array): void {
  target.set(hash('sha256', data, 'buffer'))
}

export const portablePrimitives: Primitives = {
  createCrypt(key) {
    return (iv, source, target) => {
      const cipher = createCipheriv('aes-256-ctr', key, iv)
      for (let at = 0; at < source.length; at += PIECE_BYTES) target.set(cipher.update(source.subarray(at, at + PIECE_BYTES)), at)
    }
  },

  createWriteTag(macK, macR) {
    // One block of ECB has no state, so that one context serves for every IV.
    const oneTimeKeys = createCipheriv('aes-128-ecb', macK, null).setAutoPadding(false)
    const poly1305 = createPoly1305(macR)
    return (iv, message, tag) => poly1305.writeTag(oneTimeKeys.update(iv), message, tag)
  },

  writeHash,
  createHashLanes: () => createPlainHashLanes(writeHash),

  compress(plaintext, level, target) {
    const frame = zstdCompressSync(plaintext, {
      params: { [constants.ZSTD_c_compressionLevel]: level },
      chunkSize: Math.max(OUTPUT_BYTES_MIN, target.length),
    })
    target.set(frame)
    return frame.length
  },

  decompress(frame, target) {
    try {
      const plaintext = zstdDecompressSync(frame, {
        maxOutputLength: Math.max(1, target.length),
        // One byte more than there is: a piece that is filled to the brim asks for another.
        chunkSize: Math.max(OUTPUT_BYTES_MIN, target.length + 1),
      })
      if (plaintext.length !== target.length) return false
      target.set(plaintext)
      return true
    } catch {
      return false
    }
  },
}
