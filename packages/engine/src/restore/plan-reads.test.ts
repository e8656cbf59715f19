import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { BlobId, PackId } from '../repository/types.ts'
import { planReads, type LocatedBlob } from './plan-reads.ts'

const limits = { gapBytesMax: 10, rangeBytesMax: 200, plainBytesMax: 400 }

function blob(pack: string, offset: number, length: number, plainLength = length): LocatedBlob {
  const location = { packId: pack as PackId, offset, length, plainLength, compressed: plainLength !== length }
  return { id: `${pack}-${offset}` as BlobId, location }
}

function shape(blobs: readonly LocatedBlob[]): [string, number, number, number][] {
  return planReads(blobs, limits).map(({ packId, offset, length, blobs: inRange }) => [packId, offset, length, inRange.length])
}

test('neighbours in a pack are read at once, whatever order they are asked for in', () => {
  assert.deepEqual(shape([blob('a', 60, 20), blob('a', 0, 30), blob('a', 30, 30)]), [['a', 0, 80, 3]])
})

test('a small gap is read along and a big one is not', () => {
  assert.deepEqual(shape([blob('a', 0, 30), blob('a', 40, 30)]), [['a', 0, 70, 2]])
  assert.deepEqual(shape([blob('a', 0, 30), blob('a', 41, 30)]), [['a', 0, 30, 1], ['a', 41, 30, 1]])
})

test('packs are read in the order in which they are first named', () => {
  assert.deepEqual(shape([blob('b', 0, 5), blob('a', 0, 5), blob('b', 5, 5)]), [['b', 0, 10, 2], ['a', 0, 5, 1]])
})

test('a range ends at its limits, compressed and not, and a single blob may be bigger', () => {
  assert.deepEqual(shape([blob('a', 0, 150), blob('a', 150, 51)]), [['a', 0, 150, 1], ['a', 150, 51, 1]])
  assert.deepEqual(shape([blob('a', 0, 50, 300), blob('a', 50, 50, 101)]), [['a', 0, 50, 1], ['a', 50, 50, 1]])
  assert.deepEqual(shape([blob('a', 0, 1000, 9000)]), [['a', 0, 1000, 1]])
})

test('every blob lies in exactly one range, and whole', () => {
  const places = fc.array(fc.record({ pack: fc.constantFrom('a', 'b', 'c'), gap: fc.nat(30), length: fc.integer({ min: 1, max: 120 }) }))
  fc.assert(
    fc.property(places, fc.infiniteStream(fc.nat()), (chosen, order) => {
      const ends = new Map<string, number>()
      const blobs = chosen.map(({ pack, gap, length }) => {
        const offset = (ends.get(pack) ?? 0) + gap
        ends.set(pack, offset + length)
        return blob(pack, offset, length)
      })
      const shuffled = blobs.map((one) => ({ one, key: order.next().value ?? 0 })).sort((a, b) => a.key - b.key).map(({ one }) => one)
      const seen = planReads(shuffled, limits).flatMap((read) =>
        read.blobs.map(({ id, location }) => {
          assert.equal(location.packId, read.packId)
          assert.ok(location.offset >= read.offset && location.offset + location.length <= read.offset + read.length)
          return id
        }),
      )
      assert.deepEqual(seen.sort(), blobs.map(({ id }) => id).sort())
    }),
    { numRuns: 200 },
  )
})
