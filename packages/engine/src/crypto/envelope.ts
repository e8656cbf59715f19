/**
 * The envelope around every encrypted piece of a repository: `IV (16) ‖ ciphertext ‖ tag (16)`,
 * AES-256-CTR with Poly1305-AES over the ciphertext. The IV is not part of the message that is
 * authenticated; it is bound through the one-time key, which is `r ‖ AES-128(k, IV)`.
 *
 * Nothing binds an envelope to its place or kind: whoever opens one must compare the plaintext's
 * hash with the id that was asked for.
 */
import assert from 'node:assert/strict'
import { randomFillSync, timingSafeEqual } from 'node:crypto'
import { primitives } from './primitives.ts'
import type { Primitives } from './primitives.ts'

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

/** Random bytes are fetched for many envelopes at once. */
const RANDOM_BYTES = 256 * IV_BYTES

/** @param by which primitives to use, the best ones by default */
export function createSealer(key: SealingKey, by: Primitives = primitives): Sealer {
  assert(key.encrypt.length === 32 && key.macK.length === 16 && key.macR.length === 16)
  const crypt = by.createCrypt(key.encrypt)
  const writeTag = by.createWriteTag(key.macK, key.macR)
  const expectedTag = new Uint8Array(TAG_BYTES)
  const random = new Uint8Array(RANDOM_BYTES)
  let randomUsed = RANDOM_BYTES

  function writeIv(iv: Uint8Array): void {
    if (randomUsed === RANDOM_BYTES) {
      randomFillSync(random)
      randomUsed = 0
    }
    iv.set(random.subarray(randomUsed, randomUsed + IV_BYTES))
    randomUsed += IV_BYTES
  }

  function sealInPlace(area: Uint8Array): void {
    const iv = area.subarray(0, IV_BYTES)
    const text = area.subarray(IV_BYTES, -TAG_BYTES)
    writeIv(iv)
    crypt(iv, text, text)
    writeTag(iv, text, area.subarray(-TAG_BYTES))
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
      writeTag(iv, ciphertext, expectedTag)
      if (!timingSafeEqual(expectedTag, envelope.subarray(-TAG_BYTES))) return undefined
      const plaintext = allocate(ciphertext.length)
      crypt(iv, ciphertext, plaintext)
      return plaintext
    },
  }
}
