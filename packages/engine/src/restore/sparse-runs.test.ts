import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { HOLE_BYTES, isZero, sparseRuns } from './sparse-runs.ts'

/** Bytes made of pieces of zeros and of data, as files have them, and an offset that need not be even. */
const pieces = fc.tuple(
  fc.nat(3 * HOLE_BYTES),
  fc.array(fc.tuple(fc.boolean(), fc.nat(3 * HOLE_BYTES)), { maxLength: 8 }),
)

test('runs cover the bytes without gaps, and what is called zero is zero', () => {
  fc.assert(
    fc.property(pieces, ([offset, parts]) => {
      const bytes = Buffer.concat(parts.map(([zero, length]) => Buffer.alloc(length, zero ? 0 : 7)))
      let at = 0
      for (const { start, end, zero } of sparseRuns(bytes, offset)) {
        assert.equal(start, at)
        assert.ok(end > start)
        if (zero) assert.ok(bytes.subarray(start, end).every((byte) => byte === 0))
        at = end
      }
      assert.equal(at, bytes.length)
    }),
    { numRuns: 300 },
  )
})

test('every whole block of zeros in the file is in a run of zeros', () => {
  fc.assert(
    fc.property(pieces, ([offset, parts]) => {
      const bytes = Buffer.concat(parts.map(([zero, length]) => Buffer.alloc(length, zero ? 0 : 7)))
      const runs = sparseRuns(bytes, offset)
      const firstBlock = Math.ceil(offset / HOLE_BYTES) * HOLE_BYTES - offset
      for (let at = firstBlock; at + HOLE_BYTES <= bytes.length; at += HOLE_BYTES) {
        const run = runs.find(({ start, end }) => start <= at && at < end)
        assert.equal(run?.zero, isZero(bytes.subarray(at, at + HOLE_BYTES)))
      }
    }),
    { numRuns: 300 },
  )
})

test('one byte that is not zero is seen wherever it is', () => {
  for (const length of [1, HOLE_BYTES - 1, HOLE_BYTES, HOLE_BYTES + 1, 2 * HOLE_BYTES + 5]) {
    assert.ok(isZero(Buffer.alloc(length)))
    for (const at of [0, Math.floor(length / 2), length - 1]) {
      const bytes = Buffer.alloc(length)
      bytes[at] = 1
      assert.ok(!isZero(bytes), `a byte at ${at} of ${length}`)
    }
  }
})
