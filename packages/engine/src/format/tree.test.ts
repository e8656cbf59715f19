import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { BlobId } from '../repository/types.ts'
import { compareNames, decodeTree, encodeTree, treeNode, type NodeType, type TreeNode } from './tree.ts'
import { isPrintable } from './tree-printable.ts'
import { chmodBitsFrom, formatTreeTime, goModeFrom, isSameTime, parseTreeTime } from './tree-values.ts'

const TIMES = '"mtime":"2024-02-29T12:00:00.5Z","atime":"2024-02-29T12:00:00.5Z","ctime":"1999-12-31T23:59:59.000000001+05:30"'

function encodedName(name: string | Uint8Array): string {
  const text = encodeTree([treeNode({ name: Buffer.from(name), type: 'fifo' })]).toString()
  return /"name":"(.*)","type"/.exec(text)?.[1] ?? ''
}

test('names are quoted as Go quotes them, and JSON-escaped after that', () => {
  const expected: readonly (readonly [string | Uint8Array, string])[] = [
    ['plain name.txt', 'plain name.txt'],
    [Uint8Array.of(0xff), '\\\\xff'],
    [Uint8Array.of(0xed, 0xa0, 0x80), '\\\\xed\\\\xa0\\\\x80'],
    [Uint8Array.of(0x61, 0xe2, 0x82), 'a\\\\xe2\\\\x82'],
    ['"', '\\\\\\"'],
    ['\\', '\\\\\\\\'],
    ['\t\u0007\b\f\n\r\u000b', '\\\\t\\\\a\\\\b\\\\f\\\\n\\\\r\\\\v'],
    ['\u0001\u007f', '\\\\x01\\\\x7f'],
    ['\u0085\u00a0\u00ad', '\\\\u0085\\\\u00a0\\\\u00ad'],
    ['\u2028', '\\\\u2028'],
    ['\u{10ffff}', '\\\\U0010ffff'],
    ['<&>', '\\u003c\\u0026\\u003e'],
    ["caf\u00e9 \u65e5\u672c \u{1f600} \ufffd '", "caf\u00e9 \u65e5\u672c \u{1f600} \ufffd '"],
  ]
  for (const [name, text] of expected) assert.equal(encodedName(name), text)
})

test('a character newer than the table is escaped, whatever version Node brings', () => {
  assert.ok(isPrintable(0x1fae8), 'in Unicode 15.0')
  assert.ok(!isPrintable(0x1fae9), 'new in Unicode 16.0')
  assert.ok(!isPrintable(0xd800) && !isPrintable(0xe000) && !isPrintable(0x10ffff))
  const printable = /[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u
  for (let point = 0; point < 0x110000; point += 1) {
    if (isPrintable(point)) assert.ok(printable.test(String.fromCodePoint(point)), point.toString(16))
  }
})

test('fields come in the order of restic, and the empty ones only where it writes them', () => {
  const text = `{"nodes":[`
    + `{"name":"a","type":"file","mode":420,${TIMES},"uid":0,"gid":0,"inode":1,"links":1,"content":[]},`
    + `{"name":"b","type":"file","mode":8389101,${TIMES},"uid":1,"gid":2,"user":"x","group":"y","inode":18446744073709551615,`
    + `"device_id":9007199254740993,"size":4294967296,"links":2,"extended_attributes":[{"name":"user.a","value":"AP8="},`
    + `{"name":"user.empty","value":""}],"content":["${'ab'.repeat(32)}","${'01'.repeat(32)}"]},`
    + `{"name":"c","type":"dir","mode":2147484141,${TIMES},"uid":0,"gid":0,"content":null,"subtree":"${'cd'.repeat(32)}"},`
    + `{"name":"d","type":"symlink","mode":134218239,${TIMES},"uid":0,"gid":0,"links":1,"linktarget":"\\u003c\\b\\f\\u0001\\u2028",`
    + `"content":null},`
    + `{"name":"e","type":"symlink","mode":134218239,${TIMES},"uid":0,"gid":0,"linktarget":"/\\ufffd\\ufffda","linktarget_raw":"L//+YQ==",`
    + `"content":null},`
    + `{"name":"f","type":"file","mode":438,${TIMES},"uid":0,"gid":0,`
    + `"generic_attributes":{"windows.creation_time":"MDEyMw==","windows.file_attributes":32},"content":[]},`
    + `{"name":"g","type":"chardev","mode":69206416,${TIMES},"uid":0,"gid":0,"device":259,"content":null,"error":"a \\"reason\\""}`
    + `]}\n`
  const nodes = decodeTree(Buffer.from(text))
  assert.equal(nodes[1]?.inode, 2n ** 64n - 1n)
  assert.equal(nodes[1]?.deviceId, 2n ** 53n + 1n)
  assert.deepEqual(nodes[1]?.extendedAttributes[0], { name: 'user.a', value: Buffer.of(0, 255) })
  assert.deepEqual(nodes[4]?.linkTarget, Buffer.from('/\xff\xfea', 'latin1'))
  assert.equal(nodes[5]?.genericAttributes.get('windows.file_attributes'), '32')
  assert.equal(encodeTree(nodes).toString(), text)
})

test('an empty tree is a list of nothing', () => {
  assert.equal(encodeTree([]).toString(), '{"nodes":[]}\n')
  assert.deepEqual(decodeTree(Buffer.from('{"nodes":null}')), [])
})

test('what other writers may write is read: white space, null, unknown fields, other escapes', () => {
  const text = ` { "extra" : [ {"x": -1.5e3}, true, "\\u00e9" ] , "nodes" : [ { "type" : "file", "name" : "\\\\u00e9\\\\377\\\\U0001f600\\/",`
    + ` "unknown": {"deep": [null]}, "user": null, "size": 0, "links": null, "group": "\\ud83d\\ude00\\ud800", "content": null } ] } `
  const [node] = decodeTree(Buffer.from(text))
  assert.deepEqual(node?.name, Buffer.concat([Buffer.from('\u00e9'), Buffer.of(0xff), Buffer.from('\u{1f600}/')]))
  assert.equal(node?.group, '\u{1f600}\ufffd')
  assert.deepEqual([node?.user, node?.size, node?.links, node?.content], ['', 0n, 0n, null])
})

test('what is no tree is refused as damage', () => {
  const refused = [
    '', '[]', '{"nodes":[{]}', '{"nodes":[]} x', '{"nodes":[{"name":"\\\\q"}]}', '{"nodes":[{"name":"\\\\ud800"}]}', '{"nodes":[{"name":"\\""}]}',
    '{"nodes":[{"name":"\\\\xf"}]}', '{"nodes":[{"size":-1}]}', '{"nodes":[{"size":1.5}]}', '{"nodes":[{"size":1e3}]}',
    '{"nodes":[{"size":18446744073709551616}]}', '{"nodes":[{"uid":4294967296}]}', '{"nodes":[{"content":["abc"]}]}',
    `{"nodes":[{"subtree":"${'AB'.repeat(32)}"}]}`, '{"nodes":[{"mtime":"\\",\\"uid\\":0"}]}', '{"nodes":[{"name":"line\nbreak"}]}',
    '{"nodes":[{"name":"cut', `{"x":${'['.repeat(100_000)}`, '{"nodes":[{"user":"\\u12"}]}',
  ]
  for (const text of refused) assert.throws(() => decodeTree(Buffer.from(text)), { code: 'repository.damaged' }, text.slice(0, 60))
})

test('nodes out of order are not encoded: names are ordered by their bytes, not by JavaScript', () => {
  const names = ['\u{10000}', '\uffee', 'a', 'B'].map((name) => Buffer.from(name)).sort(compareNames)
  assert.deepEqual(names.map(String), ['B', 'a', '\uffee', '\u{10000}'])
  const nodes = names.map((name) => treeNode({ name, type: 'fifo' }))
  assert.equal(decodeTree(encodeTree(nodes)).length, 4)
  assert.throws(() => encodeTree(nodes.toReversed()), /out of order/)
  assert.throws(() => encodeTree([...nodes, ...nodes.slice(-1)]), /out of order/)
})

test('times keep nanoseconds and their own offset; impossible years become possible ones', () => {
  const expected: readonly (readonly [bigint, string])[] = [
    [0n, '1970-01-01T00:00:00Z'],
    [-1n, '1969-12-31T23:59:59.999999999Z'],
    [1_700_000_000_120_000_000n, '2023-11-14T22:13:20.12Z'],
    [-62_167_219_200n * 1_000_000_000n, '0000-01-01T00:00:00Z'],
    [253_402_300_799_999_999_999n, '9999-12-31T23:59:59.999999999Z'],
  ]
  for (const [nanoseconds, text] of expected) {
    assert.equal(formatTreeTime(nanoseconds), text)
    assert.equal(parseTreeTime(text), nanoseconds)
  }
  assert.equal(parseTreeTime('2024-02-29T12:00:00.000000001+05:30'), parseTreeTime('2024-02-29T06:30:00.000000001Z'))
  assert.equal(parseTreeTime('2024-02-29T12:00:00-01:00'), parseTreeTime('2024-02-29T13:00:00Z'))
  assert.equal(formatTreeTime(253_402_300_800n * 1_000_000_000n), '9999-01-01T00:00:00Z')
  assert.equal(formatTreeTime((2n ** 63n - 1n) * 1_000_000_000n), '9999-12-04T15:30:07Z')
  assert.equal(formatTreeTime(-(2n ** 63n) * 1_000_000_000n), '0000-01-27T08:29:52Z')
  for (const text of ['', 'yesterday', '2024-13-01T00:00:00Z', '2024-01-01T00:00:00', '2024-01-01 00:00:00Z']) {
    assert.equal(parseTreeTime(text), undefined)
  }
  assert.ok(isSameTime('2024-02-29T12:00:00.10+01:00', '2024-02-29T11:00:00.1Z'))
  assert.ok(!isSameTime('2024-02-29T12:00:00Z', '2024-02-29T12:00:00.000000001Z'))
  assert.ok(!isSameTime('never', 'at no time'))
})

test('modes follow Go, and come back for chmod', () => {
  const expected: readonly (readonly [number, number])[] = [
    [0o040755, 2_147_484_141], [0o120777, 134_218_239], [0o010644, 33_554_852], [0o104755, 8_389_101],
    [0o100644, 420], [0o041777, 2 ** 31 + 2 ** 20 + 0o777], [0o060660, 2 ** 26 + 0o660], [0o020620, 2 ** 26 + 2 ** 21 + 0o620],
    [0o140755, 2 ** 24 + 0o755], [0o102750, 2 ** 22 + 0o750],
  ]
  for (const [stat, go] of expected) {
    assert.equal(goModeFrom(stat), go)
    assert.equal(chmodBitsFrom(go), stat & 0o7777)
  }
})

const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const text = fc.string({ unit: 'binary', maxLength: 20 })
const bytes = (maxLength: number, minLength = 0) => fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array))
const name = fc.oneof(bytes(20, 1), text.filter((value) => value !== '').map((value) => Buffer.from(value)))
const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((hash) => Buffer.from(hash).toString('hex') as BlobId)
const time = fc.bigInt({ min: -62_167_219_200n * 10n ** 9n, max: 253_402_300_799n * 10n ** 9n }).map(formatTreeTime)
const types: readonly NodeType[] = ['file', 'dir', 'symlink', 'dev', 'chardev', 'fifo', 'socket', 'irregular']

const anyNode: fc.Arbitrary<TreeNode> = fc.record({
  name, type: fc.constantFrom(...types), mode: uint32, mtime: time, atime: time, ctime: time, uid: uint32, gid: uint32, user: text, group: text,
  inode: uint64, deviceId: uint64, size: uint64, links: uint64, linkTarget: fc.oneof(bytes(30), text.map((value) => Buffer.from(value))),
  extendedAttributes: fc.array(fc.record({ name: text, value: bytes(40) }, { noNullPrototype: true }), { maxLength: 3 }),
  genericAttributes: fc.constantFrom(new Map(), new Map([['windows.file_attributes', '32']])),
  device: uint64, content: fc.option(fc.array(id, { maxLength: 3 })), subtree: fc.option(id, { nil: undefined }), error: text,
}, { noNullPrototype: true })

test('every tree reads back as it was written', () => {
  const trees = fc.uniqueArray(anyNode, { maxLength: 6, selector: (node) => node.name.toString('latin1') })
  fc.assert(fc.property(trees, (unordered) => {
    const nodes = unordered.toSorted((a, b) => compareNames(a.name, b.name))
    const encoded = encodeTree(nodes)
    const decoded = decodeTree(encoded)
    assert.deepEqual(decoded, nodes)
    assert.deepEqual(encodeTree(decoded), encoded)
  }), { numRuns: 500 })
})
