/**
 * The envelope around every encrypted piece of a repository: `IV (16) ‖ ciphertext ‖ tag (16)`,
 * AES-256-CTR with Poly1305-AES over the ciphertext. The IV is not part of the message that is
 * authenticated; it is bound through the one-time key, which is `r ‖ AES-128(k, IV)`.
 *
 * Nothing binds an envelope to its place or kind: whoever opens one must compare the plaintext's
 * hash with the id that was asked for.
 */
import assert from 'node:assert/strict'
import { createCipheriv, randomFillSync, timingSafeEqual } from 'node:crypto'
import { createPoly1305 } from './poly1305.ts'

export const IV_BYTES = 16
export const TAG_BYTES = 16
/** What an envelope adds to its plaintext. */
export const ENVELOPE_BYTES = IV_BYTES + TAG_BYTES

/** The keys under which a repository, or one of its key files, is sealed. */
export interface SealingKey {
  /** 32 bytes for AES-256. */
  readonly encrypt: Uint8Array
  /** 16 bytes, the AES-128 key that makes one-time keys from IVs. */
  readonly macK: Uint8Array
  /** 16 bytes, the multiplier of Poly1305, stored unclamped. */
  readonly macR: Uint8Array
}

export interface Sealer {
  seal(plaintext: Uint8Array): Uint8Array
  /** Turns 16 unused bytes, a plaintext and 16 unused bytes into an envelope where they lie. */
  sealInPlace(area: Uint8Array): void
  /**
   * The plaintext, or undefined when the envelope was not made with this key or has changed since.
   * It lies in the memory that `allocate` gives, new memory by default.
   */
  open(envelope: Uint8Array, allocate?: (length: number) => Uint8Array): Uint8Array | undefined
}

/** OpenSSL gives every piece new memory, which costs more than the cipher when it is large or small. */
const PIECE_BYTES = 256 * 1024

export function createSealer(key: SealingKey): Sealer {
  assert(key.encrypt.length === 32 && key.macK.length === 16 && key.macR.length === 16)
  // One block of ECB has no state, so that one context serves for every IV.
  const oneTimeKeys = createCipheriv('aes-128-ecb', key.macK, null).setAutoPadding(false)
  const poly1305 = createPoly1305(key.macR)
  const expectedTag = new Uint8Array(TAG_BYTES)

  /** Encryption and decryption are the same in counter mode; source and target may be one. */
  function crypt(iv: Uint8Array, source: Uint8Array, target: Uint8Array): void {
    const cipher = createCipheriv('aes-256-ctr', key.encrypt, iv)
    for (let at = 0; at < source.length; at += PIECE_BYTES) target.set(cipher.update(source.subarray(at, at + PIECE_BYTES)), at)
  }

  function sealInPlace(area: Uint8Array): void {
    const iv = randomFillSync(area.subarray(0, IV_BYTES))
    const text = area.subarray(IV_BYTES, -TAG_BYTES)
    crypt(iv, text, text)
    poly1305.writeTag(oneTimeKeys.update(iv), text, area.subarray(-TAG_BYTES))
  }

  return {
    sealInPlace,

    seal(plaintext) {
      const envelope = new Uint8Array(plaintext.length + ENVELOPE_BYTES)
      envelope.set(plaintext, IV_BYTES)
      sealInPlace(envelope)
      return envelope
    },

    open(envelope, allocate = (length) => new Uint8Array(length)) {
      if (envelope.length < ENVELOPE_BYTES) return undefined
      const iv = envelope.subarray(0, IV_BYTES)
      const ciphertext = envelope.subarray(IV_BYTES, -TAG_BYTES)
      poly1305.writeTag(oneTimeKeys.update(iv), ciphertext, expectedTag)
      if (!timingSafeEqual(expectedTag, envelope.subarray(-TAG_BYTES))) return undefined
      const plaintext = allocate(ciphertext.length)
      crypt(iv, ciphertext, plaintext)
      return plaintext
    },
  }
}
