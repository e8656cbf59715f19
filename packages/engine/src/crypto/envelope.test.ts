import assert from 'node:assert/strict'
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { createSealer, ENVELOPE_BYTES } from './envelope.ts'
import { createPoly1305 } from './poly1305.ts'

const bytes16 = fc.uint8Array({ minLength: 16, maxLength: 16 })
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const keys = fc.record({ encrypt: bytes32, macK: bytes16, macR: bytes16 })
const lengths = fc.oneof(fc.nat(300), fc.integer({ min: 30_000, max: 140_000 }))
const plaintexts = lengths.map((length) => Uint8Array.from({ length }, (_, i) => (i * 31 + length) >>> 3))

test('an envelope opens with its key, and is what AES-256-CTR and Poly1305-AES say it is', () => {
  fc.assert(
    fc.property(keys, plaintexts, (key, plaintext) => {
      const sealer = createSealer(key)
      const envelope = sealer.seal(plaintext)
      assert.equal(envelope.length, plaintext.length + ENVELOPE_BYTES)
      assert.deepEqual(Buffer.from(sealer.open(envelope) ?? []), Buffer.from(plaintext))

      const iv = envelope.subarray(0, 16)
      const ciphertext = envelope.subarray(16, -16)
      const decipher = createDecipheriv('aes-256-ctr', key.encrypt, iv)
      assert.deepEqual(Buffer.concat([decipher.update(ciphertext), decipher.final()]), Buffer.from(plaintext))
      const cipher = createCipheriv('aes-128-ecb', key.macK, null)
      const s = cipher.update(iv).subarray(0, 16)
      const tag = new Uint8Array(16)
      createPoly1305(key.macR).writeTag(s, ciphertext, tag)
      assert.deepEqual(Buffer.from(tag), Buffer.from(envelope.subarray(-16)))
    }),
    { numRuns: 60 },
  )
})

test('an envelope with any bit changed, cut short, lengthened or of another key does not open', () => {
  fc.assert(
    fc.property(keys, keys, fc.uint8Array({ maxLength: 200 }), fc.nat(), (key, other, plaintext, position) => {
      const sealer = createSealer(key)
      const envelope = sealer.seal(plaintext)
      const bit = position % (envelope.length * 8)
      const flipped = envelope.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      assert.equal(sealer.open(flipped), undefined)
      assert.equal(sealer.open(envelope.subarray(0, position % envelope.length)), undefined)
      assert.equal(sealer.open(Buffer.concat([envelope, Buffer.of(0)])), undefined)
      fc.pre(Buffer.compare(key.macK, other.macK) !== 0)
      assert.equal(createSealer(other).open(envelope), undefined)
    }),
    { numRuns: 200 },
  )
})

test('two envelopes of one plaintext have nothing in common', () => {
  const sealer = createSealer({ encrypt: new Uint8Array(32), macK: new Uint8Array(16), macR: new Uint8Array(16).fill(7) })
  assert.notDeepEqual(sealer.seal(new Uint8Array(64)), sealer.seal(new Uint8Array(64)))
})
