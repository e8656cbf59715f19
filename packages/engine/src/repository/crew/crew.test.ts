import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { memoryStorage } from '@opencbr/storage'
import { idOf } from '../../crypto/ids.ts'
import { kdfForRandomPassword } from '../../crypto/kdf.ts'
import { Failure } from '../../failure.ts'
import { initRepository } from '../init-repository.ts'
import { openRepository } from '../unlock-repository.ts'
import type { BlobId, BlobType } from '../types.ts'
import { BlobCrew } from './blob-crew.ts'
import { Gatherer } from './gatherer.ts'
import { SlabPool } from './slab-pool.ts'
import { workerPool } from './worker-pool.ts'

const key = { encrypt: new Uint8Array(32).fill(1), macK: new Uint8Array(16).fill(2), macR: new Uint8Array(16).fill(3) }
const rules = { version: 2, level: 1 } as const

/** Text and noise of many lengths, reproducible. */
function sample(n: number): Buffer {
  const length = [0, 1, 50, 1000, 4096, 60_000, 130_000, 600_000, 1_048_576, 3_000_000][n % 10] ?? 0
  const bytes = Buffer.alloc(length, `sample ${n} `)
  if (n % 3 === 0) for (let i = 0; i < length; i += 1) bytes[i] = Math.imul(i ^ n, 0x9e3779b1) >>> 24
  return bytes
}

async function sealAndOpen(crew: BlobCrew, plaintext: Buffer): Promise<void> {
  const held = await crew.hold(plaintext)
  const id = await crew.hash(held)
  assert.equal(id, idOf(plaintext))
  const sealed = await crew.seal(held, 'data')
  const stored = sealed.stored.slice()
  held.release()
  const opened = await crew.open(id, sealed, stored)
  assert('plaintext' in opened)
  assert.equal(Buffer.compare(opened.plaintext, plaintext), 0)
  stored[17] = (stored[17] ?? 0) ^ 1
  assert('damage' in (await crew.open(id, sealed, stored)))
  assert('damage' in (await crew.open(id, sealed, stored.subarray(1))))
  assert('damage' in (await crew.open('0'.repeat(64) as BlobId, sealed, sealed.stored)))
}

test('many blobs of all lengths at once come back as they were, damage is told, and the last one takes the threads along', async () => {
  const crew = new BlobCrew(key, rules)
  await Promise.all(Array.from({ length: 120 }, (_, n) => sealAndOpen(crew, sample(n))))
  assert(workerPool.isStarted)
  await crew.disband()
  assert(!workerPool.isStarted)
})

test('a little work starts no thread', async () => {
  const crew = new BlobCrew(key, rules)
  for (let n = 0; n < 5; n += 1) await sealAndOpen(crew, sample(n))
  assert(!workerPool.isStarted)
  await crew.disband()
})

test('crews with different keys share the threads and not the keys', async () => {
  const other = { ...key, encrypt: new Uint8Array(32).fill(9), macK: new Uint8Array(16).fill(8) }
  const crews = [new BlobCrew(key, rules), new BlobCrew(other, rules)] as const
  await Promise.all(crews.flatMap((crew) => [7, 8, 9].map((n) => sealAndOpen(crew, sample(n)))))
  const held = await crews[0].hold(sample(8))
  const id = await crews[0].hash(held)
  const sealed = await crews[0].seal(held, 'data')
  assert.deepEqual(await crews[1].open(id, sealed, sealed.stored.slice()), { damage: 'not authentic' })
  held.release()
  await crews[0].disband()
  await sealAndOpen(crews[1], sample(9))
  await crews[1].disband()
})

async function isCompressed(version: 1 | 2, type: BlobType, plaintext: Uint8Array): Promise<boolean> {
  const crew = new BlobCrew(key, { version, level: 1 })
  const held = await crew.hold(plaintext)
  await crew.hash(held)
  const sealed = await crew.seal(held, type)
  held.release()
  await crew.disband()
  return sealed.compressed
}

test('data that does not become shorter is stored as it is, in trees never, and in version 1 always', async () => {
  const noise = crypto.getRandomValues(new Uint8Array(60_000))
  const text = Buffer.alloc(200_000, 'text ')
  assert.deepEqual(
    [
      await isCompressed(2, 'data', noise), await isCompressed(2, 'tree', noise), await isCompressed(1, 'tree', noise),
      await isCompressed(2, 'data', text), await isCompressed(1, 'data', text), await isCompressed(2, 'data', new Uint8Array(0)),
    ],
    [false, true, false, true, false, false],
  )
})

test('blobs larger than all shared memory are worked on too', async () => {
  const crew = new BlobCrew(key, rules)
  const huge = Buffer.alloc(20 * 1024 * 1024 * Math.max(2, Math.min(8, os.availableParallelism())), 'huge ')
  await Promise.all([sealAndOpen(crew, huge), sealAndOpen(crew, sample(9))])
  await crew.disband()
})

test('a mistake in a worker reaches who waits for it, and the worker goes on', async () => {
  const keyId = workerPool.addKey({ key, rules })
  const beyond = { kind: 'name', memory: new SharedArrayBuffer(10), bytes: 20 } as const
  await assert.rejects(workerPool.submit(keyId, beyond, 1), /Invalid typed array length/)
  assert.equal(await workerPool.submit(keyId, { ...beyond, bytes: 0 }, 1), idOf(new Uint8Array(0)))
  await workerPool.removeKey(keyId)
})

test('idle workers do not keep the process alive, and working ones do', () => {
  const engine = path.join(import.meta.dirname, '..', '..', 'index.ts')
  const script = `
    import { initRepository, openRepository, kdfForRandomPassword } from ${JSON.stringify(engine)}
    import { memoryStorage } from '@opencbr/storage'
    const storage = memoryStorage()
    await initRepository(storage, { password: 'x', kdf: kdfForRandomPassword })
    const repository = await openRepository(storage, { password: 'x' })
    await repository.loadIndex()
    const saved = await Promise.all([1, 2, 3].map((n) => repository.saveBlob('data', Buffer.alloc(3000000, 'n' + n))))
    await repository.flush()
    console.log(saved.every(({ known }) => !known))`
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8', cwd: import.meta.dirname, timeout: 60_000 })
  assert.deepEqual([child.status, child.stdout, child.stderr], [0, 'true\n', ''])
})

test('closing a repository in the middle of work ends that work, and all threads', async () => {
  const storage = memoryStorage()
  await initRepository(storage, { password: 'x', kdf: kdfForRandomPassword })
  const repository = await openRepository(storage, { password: 'x' })
  await repository.loadIndex()
  const saves = Promise.allSettled(Array.from({ length: 40 }, (_, n) => repository.saveBlob('data', sample(n))))
  await repository[Symbol.asyncDispose]()
  for (const outcome of await saves) {
    if (outcome.status === 'rejected') assert(outcome.reason instanceof Failure && outcome.reason.code === 'cancelled')
  }
  assert(!workerPool.isStarted)
})

test('slabs are granted in turn, within their limit, and used again', async () => {
  const MIB = 1024 * 1024
  const pool = new SlabPool(4.5 * MIB)
  const first = await pool.take(MIB)
  const second = await pool.take(MIB)
  const third = await pool.take(MIB)
  const order: string[] = []
  const waiting = [
    pool.take(MIB).then((slab) => (order.push('large'), slab)),
    pool.take(1000).then((slab) => (order.push('small'), slab)),
  ]
  await Promise.resolve()
  assert.deepEqual(order, [])
  pool.give(second)
  const [fourth] = await Promise.all(waiting)
  assert.deepEqual(order, ['large', 'small'])
  assert.equal(fourth?.memory, second.memory)
  pool.give(first)
  pool.give(third)
  const outsize = await pool.take(10 * MIB)
  assert(outsize.bytes.length >= 10 * MIB)
})

test('what is gathered goes on when it is enough, or when the turn ends; answers and errors reach their own', async () => {
  const sent: number[][] = []
  const gatherer = new Gatherer<number, string>(100, async (items) => {
    sent.push([...items])
    if (items.includes(13)) throw new Error('unlucky')
    return items.map((item) => `answer ${item}`)
  })
  const answers = [gatherer.add(1, 60), gatherer.add(2, 60), gatherer.add(3, 10), gatherer.add(4, 10)]
  assert.deepEqual(await Promise.all(answers), ['answer 1', 'answer 2', 'answer 3', 'answer 4'])
  assert.deepEqual(sent, [[1, 2], [3, 4]])
  await assert.rejects(Promise.all([gatherer.add(12, 1), gatherer.add(13, 1)]), /unlucky/)
  assert.equal(await gatherer.add(14, 1), 'answer 14')
})
