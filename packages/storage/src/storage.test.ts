import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { isStorageKey, localStorage, memoryStorage, StorageFailure, withFaults, withRateLimit, withRetry } from './index.ts'
import type { Storage } from './index.ts'
import { bytes, failure, keysOf, testStorage } from './storage-conformance.ts'
import type { Opened } from './storage-conformance.ts'

const openInMemory = (decorate: (storage: Storage) => Storage) => async (): Promise<Opened> =>
  ({ storage: decorate(memoryStorage()), async [Symbol.asyncDispose]() {} })

const openMemory = openInMemory((storage) => storage)

async function openLocal(): Promise<Opened & { directory: string }> {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'opencbr-storage-'))
  return {
    directory,
    storage: localStorage(path.join(directory, 'below', 'it')),
    [Symbol.asyncDispose]: () => fs.rm(directory, { recursive: true }),
  }
}

/** What every storage promises; a new kind of storage joins the list. */
const kinds: readonly (readonly [string, () => Promise<Opened>])[] = [
  ['memory', openMemory],
  ['local', openLocal],
  ['without faults', openInMemory((storage) => withFaults(storage, () => undefined))],
  ['retried', openInMemory((storage) => withRetry(storage))],
  ['rate limited', openInMemory((storage) => withRateLimit(storage, { uploadBytesPerSecond: 1e9, downloadBytesPerSecond: 1e9 }))],
]

for (const [kind, open] of kinds) testStorage(kind, open)

test('keys cannot leave the storage', () => {
  for (const key of ['config', 'data/ab/abcd', 'a.b-c_d', '..x', 'x/..y']) assert(isStorageKey(key), key)
  for (const key of ['', '/a', 'a/', 'a//b', '..', '../a', 'a/..', 'a/../b', '.', './a', 'a\0b', 'a b']) assert(!isStorageKey(key), key)
})

test('local storage leaves no temporary file behind a failing put, and says what failed', async () => {
  await using opened = await openLocal()
  const directory = path.join(opened.directory, 'below', 'it')
  await opened.storage.put('index/one', [bytes('1')])
  await assert.rejects(opened.storage.put('index/one', [bytes('2')]), failure('storage.exists'))
  assert.deepEqual(await fs.readdir(path.join(directory, 'index')), ['one'])
  await assert.rejects(opened.storage.put('index/one/below', [bytes('2')]), StorageFailure)
})

test('local storage makes files read-only and hides temporary files of others', async () => {
  await using opened = await openLocal()
  const directory = path.join(opened.directory, 'below', 'it')
  await opened.storage.put('data/ab/abc', [bytes('x')])
  assert.equal((await fs.stat(path.join(directory, 'data/ab/abc'))).mode & 0o777, 0o400)
  await fs.writeFile(path.join(directory, 'data/ab/abd-tmp-123'), 'half')
  assert.deepEqual(await keysOf(opened.storage, 'data/'), ['data/ab/abc'])
})

test('local storage reports a disk that takes no more bytes, and cleans up', async () => {
  await using opened = await openLocal()
  const directory = path.join(opened.directory, 'below', 'it')
  const script = `
    import { localStorage } from ${JSON.stringify(path.join(import.meta.dirname, 'index.ts'))}
    const storage = localStorage(process.argv[1])
    await storage.put('small', [new Uint8Array(10)])
    await storage.put('data/big', [new Uint8Array(8192), new Uint8Array(1 << 20)]).catch((error) => console.log(error.code))`
  // A limit on the size of files stands in for a full disk: the kernel refuses the write in the same place.
  const limited = spawnSync('sh', ['-c', 'ulimit -f 64; exec "$0" "$@"', process.execPath, '--input-type=module', '-e', script, directory], {
    encoding: 'utf8',
  })
  assert.equal(limited.stdout, 'storage.full\n', limited.stderr)
  assert.deepEqual(await fs.readdir(path.join(directory, 'data')), [])
  assert.deepEqual(await keysOf(opened.storage, ''), ['small'])
})

test('memory storage is full when told so', async () => {
  const storage = memoryStorage({ bytesMax: 5 })
  await storage.put('a', [bytes('123')])
  await assert.rejects(storage.put('b', [bytes('123')]), failure('storage.full'))
  await storage.delete('a')
  await storage.put('b', [bytes('12345')])
})

test('faults: a failing call has no effect, a lost answer has its effect', async () => {
  const below = memoryStorage()
  const storage = withFaults(below, ({ number }) => {
    if (number === 1) return { kind: 'fail', code: 'storage.full' }
    if (number === 2) return { kind: 'lose-answer' }
    return undefined
  })
  await assert.rejects(storage.put('a', [bytes('1')]), failure('storage.full'))
  await assert.rejects(storage.put('b', [bytes('2')]), failure('storage.unavailable'))
  assert.deepEqual(await keysOf(storage, ''), ['b'])
  assert.deepEqual(
    storage.calls.map(({ operation, key }) => `${operation} ${key}`),
    ['put a', 'put b', 'list '],
  )
})

test('faults: after a crash every call fails, and truncation halves', async () => {
  const below = memoryStorage()
  await below.put('a', [bytes('1234')])
  await below.put('b', [bytes('5678')])
  const storage = withFaults(below, ({ number, operation }) => {
    if (operation === 'get' || operation === 'list') return { kind: 'truncate' }
    return number === 3 ? { kind: 'crash-after' } : undefined
  })
  assert.deepEqual(await storage.get('a'), bytes('12'))
  assert.equal((await keysOf(storage, '')).length, 1)
  await assert.rejects(storage.put('c', [bytes('x')]), failure('storage.unavailable'))
  assert(storage.crashed)
  await assert.rejects(storage.get('a'), failure('storage.unavailable'))
  assert.deepEqual(await keysOf(below, ''), ['a', 'b', 'c'])
})
