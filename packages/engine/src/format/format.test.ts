import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { kdfForRandomPassword } from '../crypto/kdf.ts'
import type { BlobId, BlobType, PackId, SnapshotId } from '../repository/types.ts'
import { decodeConfig, encodeConfig } from './config.ts'
import { decodeIndex, encodeIndex } from './index-file.ts'
import { encodeKeyFile, openKeyFile } from './key-file.ts'
import { decodeLock, encodeLock } from './lock-file.ts'
import { decodePackHeader, encodePackHeader, packBytes } from './pack-header.ts'
import type { PackedBlob } from './pack-header.ts'
import { decodeSnapshot, encodeSnapshot } from './snapshot.ts'
import type { Snapshot } from './snapshot.ts'
import { decodeUnpacked, encodeUnpacked } from './unpacked.ts'

const ids = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'))
const text = (json: string) => Buffer.from(json)

/** Blobs that lie one behind the other, as in a pack. */
const packed: fc.Arbitrary<PackedBlob[]> = fc
  .array(fc.tuple(ids, fc.constantFrom<BlobType>('data', 'tree'), fc.integer({ min: 32, max: 2 ** 20 }), fc.option(fc.integer({ min: 1, max: 2 ** 32 - 1 }))))
  .map((blobs) => {
    let offset = 0
    return blobs.map(([id, type, length, plain]) => {
      const blob = { id: id as BlobId, type, offset, length, plainLength: plain ?? length - 32, compressed: plain !== null }
      offset += length
      return blob
    })
  })

test('a pack header decodes to the blobs that were encoded, and has the size that is computed for it', () => {
  fc.assert(
    fc.property(packed, (blobs) => {
      const header = encodePackHeader(blobs)
      assert.deepEqual(decodePackHeader(header), blobs)
      const stored = blobs.reduce((bytes, blob) => bytes + blob.length, 0)
      assert.equal(packBytes(blobs), stored + header.length + 32 + 4)
    }),
  )
})

test('the bytes of a pack header entry are those of the format', () => {
  const id = 'ab'.repeat(32) as BlobId
  const blob = { id, offset: 0, length: 0x01020304, plainLength: 0x05060708 }
  const hex = (type: BlobType, compressed: boolean) => Buffer.from(encodePackHeader([{ ...blob, type, compressed }])).toString('hex')
  assert.equal(hex('data', false), `0004030201${id}`)
  assert.equal(hex('tree', false), `0104030201${id}`)
  assert.equal(hex('data', true), `020403020108070605${id}`)
  assert.equal(hex('tree', true), `030403020108070605${id}`)
})

test('what is not a pack header is refused', () => {
  const good = encodePackHeader([
    { id: 'cd'.repeat(32) as BlobId, type: 'data', offset: 0, length: 50, plainLength: 18, compressed: false },
  ])
  assert.equal(decodePackHeader(good.subarray(0, -1)), undefined)
  assert.equal(decodePackHeader(Buffer.concat([good, Buffer.of(0)])), undefined)
  const unknownType = Buffer.from(good)
  unknownType[0] = 4
  assert.equal(decodePackHeader(unknownType), undefined)
  const shorterThanEnvelope = Buffer.from(good)
  shorterThanEnvelope.writeUInt32LE(31, 1)
  assert.equal(decodePackHeader(shorterThanEnvelope), undefined)
})

test('an index decodes to the packs that were encoded', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(ids, packed)), (packs) => {
      const index = packs.map(([id, blobs]) => ({ id: id as PackId, blobs }))
      assert.deepEqual(decodeIndex(encodeIndex(index)), index)
    }),
    { numRuns: 50 },
  )
})

test('an index says the uncompressed length of compressed blobs only, and is refused when malformed', () => {
  const id = 'ef'.repeat(32)
  const encoded = Buffer.from(
    encodeIndex([
      {
        id: id as PackId,
        blobs: [
          { id: id as BlobId, type: 'data', offset: 0, length: 40, plainLength: 8, compressed: false },
          { id: id as BlobId, type: 'tree', offset: 40, length: 41, plainLength: 99, compressed: true },
        ],
      },
    ]),
  ).toString()
  assert.equal(
    encoded,
    `{"packs":[{"id":"${id}","blobs":[{"id":"${id}","type":"data","offset":0,"length":40},` +
      `{"id":"${id}","type":"tree","offset":40,"length":41,"uncompressed_length":99}]}]}`,
  )
  assert.deepEqual(decodeIndex(text('{"packs":null}')), [])
  assert.deepEqual(decodeIndex(text(`{"supersedes":["${id}"],"packs":[]}`)), [])
  for (const wrong of [
    '', 'null', '[]', '{}', '{"packs":[null]}', '{"packs":[{"id":"x","blobs":[]}]}',
    encoded.replace('"tree"', '"twig"'), encoded.replace('"offset":40', '"offset":-1'), encoded.replace('"length":40', '"length":31'),
    encoded.replace('"length":40', '"length":4294967296'), encoded.replace(':99', ':1.5'),
  ]) {
    assert.equal(decodeIndex(text(wrong)), undefined, wrong)
  }
})

test('a config keeps its polynomial, and other versions and reducible polynomials are refused', () => {
  const config = { version: 2, id: '12'.repeat(32), chunkerPolynomial: 0x3da3358b4dc173n } as const
  const encoded = Buffer.from(encodeConfig(config)).toString()
  assert.equal(encoded, `{"version":2,"id":"${config.id}","chunker_polynomial":"3da3358b4dc173"}`)
  assert.deepEqual(decodeConfig(text(encoded)), config)
  assert.deepEqual(decodeConfig(text(encoded.replace('}', ',"is_hot":true}'))), config)
  for (const wrong of [
    'x', '{}', encoded.replace('"version":2', '"version":3'), encoded.replace('"version":2', '"version":"2"'),
    encoded.replace('dc173', 'dc172'), encoded.replace('3da3358b4dc173', '3'), encoded.replace(config.id, 'short'),
  ]) {
    assert('unsupported' in decodeConfig(text(wrong)), wrong)
  }
})

test('a key file opens with its password only, and unusual ones do not stop the search for another', async () => {
  const master = { encrypt: new Uint8Array(32).fill(1), macK: new Uint8Array(16).fill(2), macR: new Uint8Array(16).fill(3) }
  const origin = { created: '2026-01-01T00:00:00Z', hostname: 'host', username: 'user' }
  const file = await encodeKeyFile(master, 'correct horse', new Uint8Array(64).fill(4), kdfForRandomPassword, origin)
  const opened = await openKeyFile(file, 'correct horse')
  assert(typeof opened !== 'string')
  assert.deepEqual([...opened.encrypt, ...opened.macK, ...opened.macR], [...master.encrypt, ...master.macK, ...master.macR])
  assert.equal(await openKeyFile(file, 'battery staple'), 'wrong-password')
  const json = Buffer.from(file).toString()
  for (const wrong of [
    'x', '{}', json.replace('scrypt', 'argon2'), json.replace('"N":1024', '"N":1000'), json.replace('"N":1024', '"N":1073741824'),
    json.replace('"salt":"', '"salt":"AA'),
  ]) {
    assert.equal(await openKeyFile(text(wrong), 'correct horse'), 'unusable', wrong)
  }
})

test('a lock file omits what is zero, and foreign ones are read', () => {
  const lock = { time: '2026-01-02T03:04:05.678Z', exclusive: true, hostname: 'h', username: 'u', pid: 7, uid: 0, gid: 100 }
  const encoded = Buffer.from(encodeLock(lock)).toString()
  assert.equal(encoded, '{"time":"2026-01-02T03:04:05.678Z","exclusive":true,"hostname":"h","username":"u","pid":7,"gid":100}')
  assert.deepEqual(decodeLock(text(encoded)), lock)
  assert.equal(decodeLock(text('{"time":"2022-08-01T12:00:00.123456789+02:00","exclusive":false,"hostname":"h","pid":1}'))?.exclusive, false)
  for (const wrong of ['', '{}', '{"time":"never","exclusive":false,"pid":1}', encoded.replace('true', '"true"')]) {
    assert.equal(decodeLock(text(wrong)), undefined, wrong)
  }
})

test('a snapshot has its fields in the order of the format, and only those that say something', () => {
  const id = '34'.repeat(32)
  const snapshot: Snapshot = {
    time: '2026-01-02T03:04:05.123456789+01:00',
    parent: id as SnapshotId,
    tree: id as BlobId,
    paths: ['/a <b> & c'],
    hostname: 'h',
    username: 'u',
    uid: 0,
    gid: 5,
    excludes: [],
    tags: ['x', 'y'],
    original: id as SnapshotId,
    program_version: 'opencbr 1',
    summary: {
      backup_start: '2026-01-02T03:04:05Z', backup_end: '2026-01-02T03:04:06Z', files_new: 1, files_changed: 2, files_unmodified: 3,
      dirs_new: 4, dirs_changed: 5, dirs_unmodified: 6, data_blobs: 7, tree_blobs: 8, data_added: 9, data_added_packed: 10,
      total_files_processed: 11, total_bytes_processed: 12,
    },
  }
  const encoded = Buffer.from(encodeSnapshot(snapshot)).toString()
  assert.deepEqual(Object.keys(JSON.parse(encoded)), [
    'time', 'parent', 'tree', 'paths', 'hostname', 'username', 'gid', 'tags', 'original', 'program_version', 'summary',
  ])
  const { uid: _zero, excludes: _empty, ...rest } = snapshot
  assert.deepEqual(decodeSnapshot(text(encoded)), rest)
  for (const wrong of ['', '[]', '{}', encoded.replace(`"tree":"${id}"`, '"tree":"x"'), encoded.replace('2026-01', '26-01')]) {
    assert.equal(decodeSnapshot(text(wrong)), undefined, wrong)
  }
})

test('documents are compressed in version 2 and bare in version 1, and both are read', () => {
  const json = text(`{"packs":[${'"x",'.repeat(1000)}1]}`)
  const compressed = encodeUnpacked(2, json)
  assert.equal(compressed[0], 2)
  assert(compressed.length < 100)
  assert.deepEqual(decodeUnpacked(compressed), json)
  assert.equal(encodeUnpacked(1, json), json)
  assert.equal(decodeUnpacked(json), json)
  assert.equal(decodeUnpacked(compressed.subarray(0, -3)), undefined)
  assert.equal(decodeUnpacked(text('\x01{}')), undefined)
  assert.equal(decodeUnpacked(text('')), undefined)
})
