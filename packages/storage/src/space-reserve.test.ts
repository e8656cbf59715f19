import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { localStorage } from './local-storage.ts'
import { RESERVE_NAME, SpaceReserve } from './space-reserve.ts'
import { bytes, keysOf } from './storage-conformance.ts'

const WHOLE = 8 << 20

function makeDirectory(t: TestContext): { readonly directory: string, readonly reserve: string } {
  const directory = fs.mkdtempSync(join(tmpdir(), 'opencbr-reserve-'))
  t.after(() => fs.rmSync(directory, { recursive: true }))
  return { directory, reserve: join(directory, RESERVE_NAME) }
}

test('a reserve is made with the first file, shows in no listing, and grows back after a removal', async (t) => {
  const { directory, reserve } = makeDirectory(t)
  const storage = localStorage(directory, { keepsReserve: true })
  await storage.put('a', [bytes('a')])
  assert.equal(fs.statSync(reserve).size, WHOLE)
  assert.ok(fs.statSync(reserve).blocks * 512 >= WHOLE)
  assert.deepEqual(await keysOf(storage, ''), ['a'])
  fs.truncateSync(reserve, 100_000)
  const next = localStorage(directory)
  await next.delete('a')
  assert.equal(fs.statSync(reserve).size, WHOLE)
})

test('nobody who was not asked to makes a reserve', async (t) => {
  const { directory, reserve } = makeDirectory(t)
  const storage = localStorage(directory)
  await storage.put('a', [bytes('a')])
  await storage.delete('a')
  assert.ok(!fs.existsSync(reserve))
})

test('a reserve gives as much as is needed, until there is nothing left', async (t) => {
  const { directory, reserve } = makeDirectory(t)
  const held = new SpaceReserve(directory, true)
  assert.equal(await held.give(1, 'wholly'), false)
  await held.afterPut()
  assert.equal(await held.give(1, 'partly'), true)
  assert.equal(fs.statSync(reserve).size, WHOLE - (128 << 10))
  assert.equal(await held.give(WHOLE - (3 << 20), 'partly'), false)
  assert.equal(fs.statSync(reserve).size, WHOLE - (128 << 10))
  assert.equal(await held.give(WHOLE, 'wholly'), true)
  assert.equal(fs.statSync(reserve).size, 0)
  assert.equal(await held.give(1, 'wholly'), false)
  await held.afterPut()
  assert.equal(fs.statSync(reserve).size, 0)
  await held.afterRemoval()
  assert.equal(fs.statSync(reserve).size, WHOLE)
})
