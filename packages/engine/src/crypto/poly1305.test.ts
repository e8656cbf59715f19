import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { createPoly1305 } from './poly1305.ts'

function tagOf(r: Uint8Array, s: Uint8Array, message: Uint8Array): string {
  const tag = new Uint8Array(16)
  createPoly1305(r).writeTag(s, message, tag)
  return Buffer.from(tag).toString('hex')
}

const number = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes.toReversed()).toString('hex') || '0'}`)

/** The definition, in arbitrary precision. */
function definedTag(r: Uint8Array, s: Uint8Array, message: Uint8Array): string {
  const multiplier = number(r) & 0x0ffffffc0ffffffc0ffffffc0fffffffn
  let sum = 0n
  for (let at = 0; at < message.length; at += 16) {
    const block = message.subarray(at, at + 16)
    sum = ((sum + number(block) + (1n << BigInt(8 * block.length))) * multiplier) % ((1n << 130n) - 5n)
  }
  const tag = BigInt.asUintN(128, sum + number(s)).toString(16).padStart(32, '0')
  return Buffer.from(Buffer.from(tag, 'hex').toReversed()).toString('hex')
}

const hex = (text: string) => Buffer.from(text, 'hex')

test('Poly1305 gives the tag that RFC 8439 gives in section 2.5.2', () => {
  const r = hex('85d6be7857556d337f4452fe42d506a8')
  const s = hex('0103808afb0db2fd4abff6af4149f51b')
  assert.equal(tagOf(r, s, Buffer.from('Cryptographic Forum Research Group')), 'a8061dc1305136c6c22b8baf0c0127a9')
})

test('Poly1305 reduces where RFC 8439 (appendix A.3) says implementations go wrong', () => {
  const zero = '00'.repeat(16)
  const ones = 'ff'.repeat(16)
  const two = `02${'00'.repeat(15)}`
  const one = `01${'00'.repeat(15)}`
  const cases = [
    [two, zero, ones, `03${'00'.repeat(15)}`],
    [two, ones, two, `03${'00'.repeat(15)}`],
    [one, zero, `${ones}f0${'ff'.repeat(15)}11${'00'.repeat(15)}`, `05${'00'.repeat(15)}`],
    [one, zero, `${ones}fb${'fe'.repeat(15)}${'01'.repeat(16)}`, zero],
    [two, zero, `fd${'ff'.repeat(15)}`, `fa${'ff'.repeat(15)}`],
    ['01000000000000000400000000000000', zero,
      `e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000${zero}${one}`, '14000000000000005500000000000000'],
    ['01000000000000000400000000000000', zero,
      `e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000${zero}`, `13${'00'.repeat(15)}`],
  ] as const
  for (const [r, s, message, tag] of cases) assert.equal(tagOf(hex(r), hex(s), hex(message)), tag)
})

/** Bytes that are often all zeros or all ones, where carries happen. */
const bytes = (length: fc.Arbitrary<number>) =>
  length.chain((n) =>
    fc.oneof(
      fc.uint8Array({ minLength: n, maxLength: n }),
      fc.constantFrom(0, 255).map((byte) => new Uint8Array(n).fill(byte)),
    ),
  )
const key = bytes(fc.constant(16))

test('Poly1305 agrees with its definition for messages of any length', () => {
  fc.assert(
    fc.property(key, key, bytes(fc.oneof(fc.nat(200), fc.integer({ min: 64_300, max: 64_700 }))), (r, s, message) => {
      assert.equal(tagOf(r, s, message), definedTag(r, s, message))
    }),
    { numRuns: 100 },
  )
})

test('one instance serves message after message', () => {
  const r = new Uint8Array(16).fill(0x5a)
  const poly1305 = createPoly1305(r)
  for (const length of [100_000, 0, 1, 15, 16, 17, 63, 64, 65, 128, 200_001, 3]) {
    const message = Uint8Array.from({ length }, (_, i) => i * 7 + length)
    const s = new Uint8Array(16).fill(length)
    const tag = new Uint8Array(16)
    poly1305.writeTag(s, message, tag)
    assert.equal(Buffer.from(tag).toString('hex'), definedTag(r, s, message), `length ${length}`)
  }
})
