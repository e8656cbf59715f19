/**
 * What every storage promises, as tests: each kind of storage and each decorator goes through them, the
 * ones that need a server from `test/`.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StorageFailure } from './storage.ts'
import type { Storage, StorageFailureCode } from './storage.ts'

export const bytes = (text: string) => new TextEncoder().encode(text)
export const failure = (code: StorageFailureCode) => (error: unknown) => error instanceof StorageFailure && error.code === code
export const keysOf = async (storage: Storage, prefix: string) =>
  (await Array.fromAsync(storage.list(prefix))).map((file) => file.key).toSorted()

export interface Opened extends AsyncDisposable {
  readonly storage: Storage
}

/** Declares the tests; each opens a storage of its own, which is empty. */
export function testStorage(kind: string, open: () => Promise<Opened>): void {
  test(`${kind} storage: what was put can be read, whole, in ranges and into given memory`, async () => {
    await using opened = await open()
    const { storage } = opened
    await storage.put('data/ab/abc', [bytes('hello '), bytes(''), bytes('world')])
    assert.deepEqual(await storage.get('data/ab/abc'), bytes('hello world'))
    assert.deepEqual(await storage.get('data/ab/abc', { range: { offset: 3, length: 5 } }), bytes('lo wo'))
    assert.deepEqual(await storage.get('data/ab/abc', { range: { offset: 11, length: 0 } }), bytes(''))
    const shared = new Uint8Array(new SharedArrayBuffer(11))
    assert.equal(await storage.get('data/ab/abc', { allocate: () => shared }), shared)
    assert.equal(Buffer.from(shared).toString(), 'hello world')
    const stat = await storage.stat('data/ab/abc')
    assert.equal(stat.size, 11)
    assert(Number.isFinite(stat.modifiedAt))
  })

  test(`${kind} storage: more parts than one system call takes`, async () => {
    await using opened = await open()
    const parts = Array.from({ length: 3000 }, (_, i) => bytes(`${i},`))
    await opened.storage.put('many', parts)
    assert.equal(Buffer.compare(await opened.storage.get('many'), Buffer.concat(parts)), 0)
  })

  test(`${kind} storage: an empty file is a file`, async () => {
    await using opened = await open()
    await opened.storage.put('empty', [])
    assert.equal((await opened.storage.stat('empty')).size, 0)
    assert.equal((await opened.storage.get('empty')).length, 0)
  })

  test(`${kind} storage: a file is never replaced`, async () => {
    await using opened = await open()
    const { storage } = opened
    await storage.put('config', [bytes('first')])
    await assert.rejects(storage.put('config', [bytes('second')]), failure('storage.exists'))
    assert.deepEqual(await storage.get('config'), bytes('first'))
    assert.deepEqual(await keysOf(storage, ''), ['config'])
  })

  test(`${kind} storage: of several puts of one key at once exactly one succeeds`, async () => {
    await using opened = await open()
    const outcomes = await Promise.allSettled(['a', 'b', 'c', 'd'].map((text) => opened.storage.put('race', [bytes(text)])))
    assert.equal(outcomes.filter((outcome) => outcome.status === 'fulfilled').length, 1)
    assert.deepEqual(await keysOf(opened.storage, ''), ['race'])
  })

  test(`${kind} storage: missing files and ranges beyond the end are told apart`, async () => {
    await using opened = await open()
    const { storage } = opened
    await assert.rejects(storage.get('none'), failure('storage.not_found'))
    await assert.rejects(storage.stat('none/deeper'), failure('storage.not_found'))
    await storage.put('short', [bytes('abc')])
    await assert.rejects(storage.get('short', { range: { offset: 1, length: 3 } }), failure('storage.out_of_range'))
    await assert.rejects(storage.get('short', { range: { offset: 9, length: 1 } }), failure('storage.out_of_range'))
  })

  test(`${kind} storage: listings take a prefix`, async () => {
    await using opened = await open()
    const { storage } = opened
    for (const key of ['config', 'data/00/x', 'data/01/y', 'data2/z', 'index/i']) await storage.put(key, [bytes(key)])
    assert.deepEqual(await keysOf(storage, 'data/'), ['data/00/x', 'data/01/y'])
    assert.deepEqual(await keysOf(storage, 'absent/'), [])
    assert.deepEqual(await keysOf(storage, ''), ['config', 'data/00/x', 'data/01/y', 'data2/z', 'index/i'])
    const sizes = (await Array.fromAsync(storage.list('index/'))).map((file) => file.size)
    assert.deepEqual(sizes, [7])
  })

  test(`${kind} storage: deleting removes, also what is not there, and makes room for the name`, async () => {
    await using opened = await open()
    const { storage } = opened
    await storage.put('locks/l', [bytes('1')])
    await storage.delete('locks/l')
    await storage.delete('locks/l')
    await storage.delete('never/was')
    await assert.rejects(storage.get('locks/l'), failure('storage.not_found'))
    await storage.put('locks/l', [bytes('2')])
    assert.deepEqual(await storage.get('locks/l'), bytes('2'))
  })

  test(`${kind} storage: an aborted call rejects with the reason and does nothing`, async () => {
    await using opened = await open()
    const { storage } = opened
    const signal = AbortSignal.abort(new Error('enough'))
    await assert.rejects(storage.put('a', [bytes('1')], { signal }), /enough/)
    await assert.rejects(storage.get('a', { signal }), /enough/)
    await assert.rejects(storage.delete('a', { signal }), /enough/)
    assert.deepEqual(await keysOf(storage, ''), [])
  })
}
