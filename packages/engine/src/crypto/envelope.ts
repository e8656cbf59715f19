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
  /** The plaintext, or undefined when the envelope was not made with this key or has changed since. */
  open(envelope: Uint8Array): Uint8Array | undefined
}

export function createSealer(key: SealingKey): Sealer {
  assert(key.encrypt.length === 32 && key.macK.length === 16 && key.macR.length === 16)
  // One block of ECB has no state, so that one context serves for every IV.
  const oneTimeKeys = createCipheriv('aes-128-ecb', key.macK, null).setAutoPadding(false)
  const poly1305 = createPoly1305(key.macR)
  const tag = new Uint8Array(TAG_BYTES)

  return {
    seal(plaintext) {
      const envelope = new Uint8Array(plaintext.length + ENVELOPE_BYTES)
      const iv = randomFillSync(envelope.subarray(0, IV_BYTES))
      const ciphertext = createCipheriv('aes-256-ctr', key.encrypt, iv).update(plaintext)
      envelope.set(ciphertext, IV_BYTES)
      poly1305.writeTag(oneTimeKeys.update(iv), ciphertext, envelope.subarray(-TAG_BYTES))
      return envelope
    },

    open(envelope) {
      if (envelope.length < ENVELOPE_BYTES) return undefined
      const iv = envelope.subarray(0, IV_BYTES)
      const ciphertext = envelope.subarray(IV_BYTES, -TAG_BYTES)
      poly1305.writeTag(oneTimeKeys.update(iv), ciphertext, tag)
      if (!timingSafeEqual(tag, envelope.subarray(-TAG_BYTES))) return undefined
      return createCipheriv('aes-256-ctr', key.encrypt, iv).update(ciphertext)
    },
  }
}
