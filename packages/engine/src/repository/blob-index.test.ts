import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { IndexedPack } from '../format/index-file.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import { BlobIndex } from './blob-index.ts'
import type { BlobId, BlobType, PackId } from './types.ts'

const ids = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((raw) => Buffer.from(raw).toString('hex'))

test('the index finds every blob of every pack, in each of its places, and nothing else', () => {
  const blobs = fc.array(fc.tuple(ids, fc.constantFrom<BlobType>('data', 'tree'), fc.integer({ min: 32, max: 1000 }), fc.boolean()), { maxLength: 50 })
  fc.assert(
    fc.property(fc.array(fc.tuple(ids, blobs), { maxLength: 30 }), ids, (packs, stranger) => {
      const index = new BlobIndex()
      const made: IndexedPack[] = packs.map(([id, list]) => {
        let offset = 0
        return {
          id: id as PackId,
          blobs: list.map(([blobId, type, length, compressed]) => {
            const blob = { id: blobId as BlobId, type, offset, length, plainLength: compressed ? 5000 : length - 32, compressed }
            offset += length
            return blob
          }),
        }
      })
      for (const pack of made) index.addPack(pack)
      assert.deepEqual([...index.packs()].map(({ id, blobs: found }) => ({ id, blobs: found })), made)
      assert.equal(index.blobCount, made.reduce((sum, pack) => sum + pack.blobs.length, 0))
      for (const pack of made) {
        for (const { id, type, offset, length, plainLength, compressed } of pack.blobs) {
          assert(index.has(type, id))
          assert(index.findAll(type, id).some((place) => place.packId === pack.id && place.offset === offset))
          assert.deepEqual(
            index.findAll(type, id).find((place) => place.packId === pack.id && place.offset === offset),
            { packId: pack.id, offset, length, plainLength, compressed },
          )
          assert.equal(index.has(type === 'data' ? 'tree' : 'data', id), made.some((other) => other.blobs.some((b) => b.id === id && b.type !== type)))
        }
      }
      assert.equal(index.find('data', stranger as BlobId), undefined)
    }),
    { numRuns: 50 },
  )
})

/** A raw blob of 100 stored bytes. */
function rawBlob(n: number, offset: number): PackedBlob {
  return { id: n.toString(16).padStart(64, '0') as BlobId, type: 'data', offset, length: 100, plainLength: 68, compressed: false }
}

test('the index keeps a pack that several files name once, and notes piecemeal ones', () => {
  const index = new BlobIndex()
  const packId = 'a'.repeat(64) as PackId
  index.addPack({ id: packId, blobs: [rawBlob(1, 0), rawBlob(2, 100)] })
  const whole = index.packBytes
  index.addPack({ id: packId, blobs: [rawBlob(1, 0), rawBlob(2, 100)] })
  assert.deepEqual([index.blobCount, index.packCount, index.packBytes], [2, 1, whole])
  assert.deepEqual([[...index.repeatedPackIds], [...index.splitPackIds]], [[packId], []])
  index.addPack({ id: packId, blobs: [rawBlob(3, 200)] })
  assert.deepEqual([index.blobCount, index.packCount, index.packBytes], [3, 1, whole + 137])
  assert.deepEqual([...index.splitPackIds], [packId])
})

const manyIds = (n: number) => (Math.imul(n, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0').repeat(8) as BlobId

test('the index grows far beyond its first pages', () => {
  const index = new BlobIndex()
  for (let pack = 0; pack < 60; pack += 1) {
    const blobs = Array.from({ length: 1000 }, (_, i) => ({
      id: manyIds(pack * 1000 + i), type: 'data' as const, offset: i * 50, length: 50, plainLength: 77, compressed: true,
    }))
    index.addPack({ id: manyIds(1_000_000 + pack) as string as PackId, blobs })
  }
  for (let n = 0; n < 60_000; n += 1) assert.equal(index.find('data', manyIds(n))?.offset, (n % 1000) * 50)
  assert.equal(index.has('data', manyIds(60_000)), false)
})
