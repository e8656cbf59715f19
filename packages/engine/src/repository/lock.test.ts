import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryStorage, withFaults } from '@opencbr/storage'
import type { Fault, StorageCall } from '@opencbr/storage'
import { createSealer } from '../crypto/envelope.ts'
import { Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'
import { decodeLock, encodeLock } from '../format/lock-file.ts'
import { guardStorage } from './guarded-storage.ts'
import { acquireLock, listLocks } from './lock.ts'
import type { LockOptions } from './lock.ts'
import { createSealedFiles } from './sealed-files.ts'

const MINUTE = 60_000
const failure = (code: FailureCode) => (error: unknown) => error instanceof Failure && error.code === code

/** A repository's locks on a storage in memory, whose clock and whose clients' clocks are turned by hand. */
function openLocks() {
  let storageTime = Date.UTC(2026, 0, 1)
  let clientSkew = 0
  let fault: ((call: StorageCall) => Fault | undefined) | undefined
  const storage = withFaults(memoryStorage({ now: () => storageTime }), (call) => fault?.(call))
  const key = { encrypt: new Uint8Array(32), macK: new Uint8Array(16), macR: new Uint8Array(16).fill(9) }
  const files = createSealedFiles(guardStorage(storage), createSealer(key), 2)
  return {
    storage,
    files,
    pass: (ms: number) => void (storageTime += ms),
    skewClients: (ms: number) => void (clientSkew = ms),
    breakWith: (decide: (call: StorageCall) => Fault | undefined) => void (fault = decide),
    acquire: (options: Partial<LockOptions> = {}) =>
      acquireLock(files, { exclusive: false, settleMs: 0, now: () => new Date(storageTime + clientSkew), ...options }),
    count: async () => (await Array.fromAsync(storage.list('locks/'))).length,
  }
}

test('shared locks share; an exclusive lock keeps everybody out, and says who holds it since when', async () => {
  const locks = openLocks()
  await using first = await locks.acquire({ hostname: 'first' })
  await using _second = await locks.acquire()
  await assert.rejects(locks.acquire({ exclusive: true }), (error) => {
    assert(failure('repository.locked')(error) && error instanceof Failure)
    assert.equal(error.facts['pid'], process.pid)
    assert.equal(error.facts['since'], '2026-01-01T00:00:00.000Z')
    return true
  })
  assert.equal(await locks.count(), 2)
  assert.equal(first.exclusive, false)
  await first.assertHeld()
})

test('an exclusive lock waits for nobody and lets nobody in', async () => {
  const locks = openLocks()
  {
    await using exclusive = await locks.acquire({ exclusive: true })
    await assert.rejects(locks.acquire(), failure('repository.locked'))
    await assert.rejects(locks.acquire({ exclusive: true }), failure('repository.locked'))
    await exclusive.assertHeld()
  }
  assert.equal(await locks.count(), 0)
  await using _shared = await locks.acquire()
})

test('of two that want an exclusive lock at once at most one gets it, and none leaves a file behind', async () => {
  const locks = openLocks()
  const outcomes = await Promise.allSettled([locks.acquire({ exclusive: true }), locks.acquire({ exclusive: true })])
  const held = outcomes.filter((outcome) => outcome.status === 'fulfilled')
  assert(held.length <= 1)
  assert.equal(await locks.count(), held.length)
})

test('host names are unique to each holder, so that nobody probes our process id', async () => {
  const locks = openLocks()
  await using _first = await locks.acquire({ hostname: 'box' })
  await using _second = await locks.acquire({ hostname: 'box' })
  const [a, b] = await listLocks(locks.files)
  assert(a !== undefined && b !== undefined && a.hostname !== b.hostname && a.hostname.startsWith('box-'))
})

test('a refreshed lock is a new file with the current time, and only one', async () => {
  const locks = openLocks()
  await using lock = await locks.acquire()
  locks.pass(20 * MINUTE)
  await lock.refresh()
  assert.equal(await locks.count(), 1)
  assert.equal((await listLocks(locks.files))[0]?.time, '2026-01-01T00:20:00.000Z')
  locks.pass(25 * MINUTE)
  await assert.rejects(locks.acquire({ exclusive: true }), failure('repository.locked'))
})

test('a lock that somebody removed is lost: it says so at once, for good, and by its signal', async () => {
  const locks = openLocks()
  await using lock = await locks.acquire()
  for await (const { key } of locks.storage.list('locks/')) await locks.storage.delete(key)
  await assert.rejects(lock.assertHeld(), failure('repository.lock_lost'))
  assert(lock.lost.aborted)
  assert(failure('repository.lock_lost')(lock.lost.reason))
  await assert.rejects(lock.refresh(), failure('repository.lock_lost'))
  assert.equal(await locks.count(), 0)
})

test('a released lock is not held any more', async () => {
  const locks = openLocks()
  const lock = await locks.acquire()
  await lock[Symbol.asyncDispose]()
  await lock[Symbol.asyncDispose]()
  await assert.rejects(lock.assertHeld(), failure('repository.lock_lost'))
})

test('after a long sleep the lock is refreshed before it is trusted, and lost when it was removed meanwhile', async () => {
  const locks = openLocks()
  await using lock = await locks.acquire()
  locks.pass(23 * MINUTE)
  await lock.assertHeld()
  assert.equal((await listLocks(locks.files))[0]?.time, '2026-01-01T00:23:00.000Z')

  locks.pass(40 * MINUTE)
  // Removed in the very moment in which the sleeper wakes: its old file goes once the new one is there.
  let oldKey = ''
  for await (const { key } of locks.storage.list('locks/')) oldKey = key
  locks.breakWith(({ operation }) => {
    if (operation === 'put') void locks.storage.delete(oldKey)
    return undefined
  })
  await assert.rejects(lock.assertHeld(), failure('repository.lock_lost'))
  assert.equal(await locks.count(), 0)
})

test('a stale lock is in nobody\'s way once both clocks say so', async () => {
  const locks = openLocks()
  await locks.acquire({ exclusive: true })
  locks.pass(31 * MINUTE)
  await using _next = await locks.acquire({ exclusive: true })
  assert.equal(await locks.count(), 1)
})

test('a clock that runs ahead does not make the locks of others stale', async () => {
  const locks = openLocks()
  await using held = await locks.acquire({ exclusive: true })
  locks.pass(5 * MINUTE)
  locks.skewClients(60 * MINUTE)
  await assert.rejects(locks.acquire(), failure('repository.locked'))
  await held.assertHeld()
})

test('a lock whose owner is known to be dead is removed at once', async () => {
  const locks = openLocks()
  await locks.acquire({ exclusive: true, hostname: 'dead-agent' })
  await assert.rejects(locks.acquire(), failure('repository.locked'))
  await using _next = await locks.acquire({ ownerIsDead: ({ hostname }) => hostname.startsWith('dead-agent-') })
  assert.equal(await locks.count(), 1)
})

test('a lock that is in nobody\'s way is removed too when its owner is known to be dead, and only then', async () => {
  const locks = openLocks()
  await locks.acquire({ hostname: 'dead-agent' })
  await using _alive = await locks.acquire({ hostname: 'alive' })
  await using _next = await locks.acquire({ hostname: 'next', ownerIsDead: ({ hostname }) => hostname.startsWith('dead-agent-') })
  const names = (await listLocks(locks.files)).map(({ hostname }) => hostname.split('-')[0])
  assert.deepEqual(names.toSorted(), ['alive', 'next'])
})

test('an empty lock file counts for nothing, an unreadable one as exclusive', async () => {
  const locks = openLocks()
  await locks.storage.put(`locks/${'a'.repeat(64)}`, [])
  await (await locks.acquire({ exclusive: true }))[Symbol.asyncDispose]()
  await locks.storage.put(`locks/${'b'.repeat(64)}`, [Buffer.from('garbage')])
  await assert.rejects(locks.acquire(), failure('repository.locked'))
})

test('locks of other programs are honoured', async () => {
  const locks = openLocks()
  const foreign = encodeLock({ time: '2026-01-01T01:00:00.5+01:00', exclusive: true, hostname: 'laptop', username: 'me', pid: 42 })
  assert(decodeLock(foreign) !== undefined)
  await locks.files.save('locks', foreign)
  await assert.rejects(locks.acquire(), (error) => {
    assert(failure('repository.locked')(error) && error instanceof Failure)
    assert.equal(error.facts['hostname'], 'laptop')
    return true
  })
})

test('an attempt that fails or is aborted midway takes its file away', async () => {
  const locks = openLocks()
  const controller = new AbortController()
  locks.breakWith(({ operation }) => {
    if (operation === 'stat') controller.abort()
    return undefined
  })
  await assert.rejects(locks.acquire({ signal: controller.signal }), failure('cancelled'))
  assert.equal(await locks.count(), 0)
  locks.breakWith(({ operation }) => (operation === 'stat' ? { kind: 'fail', code: 'storage.unavailable' } : undefined))
  await assert.rejects(locks.acquire(), failure('storage.unavailable'))
  assert.equal(await locks.count(), 0)
})
