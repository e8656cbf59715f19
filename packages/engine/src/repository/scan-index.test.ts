import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { decodeIndex, encodeIndex } from '../format/index-file.ts'
import { tableOf } from './index-table.ts'
import { readIndexTable } from './scan-index.ts'
import type { BlobId, BlobType, PackId } from './types.ts'

const ids = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((raw) => Buffer.from(raw).toString('hex'))
const uint32 = fc.oneof(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.constantFrom(0, 2 ** 31, 2 ** 32 - 1))
const blobs = fc.array(fc.tuple(ids, fc.constantFrom<BlobType>('data', 'tree'), uint32, uint32), { maxLength: 20 })

function expected(json: Buffer) {
  const packs = decodeIndex(json)
  return packs === undefined ? undefined : tableOf(packs)
}

test('an index file is read as its objects say, in whatever order and form it comes, and refused as they are', () => {
  fc.assert(fc.property(fc.array(fc.tuple(ids, blobs), { maxLength: 8 }), fc.nat(), fc.nat(255), fc.constantFrom('', '\n', ' ', 'x'), (packs, place, byte, end) => {
    const json = Buffer.concat([encodeIndex(packs.map(([id, list]) => ({
      id: id as PackId,
      blobs: list.map(([blobId, type, offset, length]) => ({
        id: blobId as BlobId, type, offset, length: Math.max(32, length), plainLength: length % 3 === 0 ? 0 : length, compressed: length % 3 !== 0,
      })),
    }))), Buffer.from(end)])
    assert.deepEqual(readIndexTable(json), expected(json))
    json[place % json.length] = byte
    assert.deepEqual(readIndexTable(json), expected(json))
    const cut = json.subarray(0, place % json.length)
    assert.deepEqual(readIndexTable(cut), expected(cut))
  }), { numRuns: 300 })
})

test('other forms of an index file are read as well', () => {
  const [a, b] = ['ab'.repeat(32), 'cd'.repeat(32)]
  for (const text of [
    '{"packs":[]}', '{"packs":null}', `{"supersedes":["${a}"],"packs":[]}`,
    `{ "packs" : [ { "id": "${a}", "blobs": [ { "id": "${b}", "type": "data", "offset": 0, "length": 40 } ] } ] }`,
    `{"packs":[{"id":"${a}","blobs":[{"id":"${b}","type":"data","offset":0,"length":40,"uncompressed_length":0}]}]}`,
    `{"packs":[{"id":"${a}","blobs":[{"id":"${b}","type":"data","offset":00,"length":40}]}]}`,
    `{"packs":[{"id":"${a}","blobs":[{"id":"${b}","type":"data","offset":4294967296,"length":40}]}]}`,
    `{"packs":[{"id":"${a}","blobs":[{"id":"${b}","type":"data","offset":0,"length":40}]}]}{}`,
    `{"packs":[{"id":"${a}","blobs":[{"id":"${b}","type":"data","offset":0,"length":40}]}]}         `,
  ]) assert.deepEqual(readIndexTable(Buffer.from(text)), expected(Buffer.from(text)), text)
})
