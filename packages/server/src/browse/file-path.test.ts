import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Failure } from '../failures.ts'
import { decodeName, decodePath, encodeName, encodePath } from './file-path.ts'

const name = fc.uint8Array({ minLength: 1, maxLength: 40 }).filter((bytes) => !bytes.includes(0) && !bytes.includes(0x2f))

test('every name has a text of its own, and comes back from it', () => {
  fc.assert(fc.property(name, (bytes) => {
    const text = encodeName(bytes)
    assert.deepEqual(decodeName('path', text), Buffer.from(bytes))
    assert.equal(Buffer.from(text).toString(), text, 'it is text')
  }))
  fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (text) => {
    const isPlain = !text.includes('\\')
    if (isPlain) assert.equal(encodeName(Buffer.from(text)), text)
  }))
  assert.equal(encodeName(Buffer.from([0x61, 0xff, 0x5c, 0xc3, 0xa4])), String.raw`a\xff\\ä`)
})

test('paths are absolute and lead nowhere but down', () => {
  assert.deepEqual(decodePath('path', '/'), [])
  assert.deepEqual(decodePath('path', '//a//b/'), [Buffer.from('a'), Buffer.from('b')])
  assert.equal(encodePath([Buffer.from('a'), Buffer.from([0xfe])]), String.raw`/a/\xfe`)
  for (const text of ['a', '', '/a/../b', '/.', String.raw`/\x4`, String.raw`/\n`, '/a\\']) {
    assert.throws(() => decodePath('path', text), (error) => error instanceof Failure && error.code === 'parameter.invalid', text)
  }
})
