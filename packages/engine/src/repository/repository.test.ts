import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryStorage, withFaults } from '@opencbr/storage'
import type { Fault, Storage, StorageCall } from '@opencbr/storage'
import { kdfForRandomPassword } from '../crypto/kdf.ts'
import { Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'
import { initRepository } from './init-repository.ts'
import { openRepository } from './unlock-repository.ts'
import type { Repository } from './repository.ts'
import type { BlobId } from './types.ts'

const password = 'test'
const failure = (code: FailureCode) => (error: unknown) => error instanceof Failure && error.code === code
const bytes = (text: string) => new TextEncoder().encode(text)
const keysOf = async (storage: Storage, prefix: string) => (await Array.fromAsync(storage.list(prefix))).map(({ key }) => key)

function noise(length: number): Uint8Array {
  const made = new Uint8Array(length)
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(made.subarray(at, at + 65_536))
  return made
}

async function newStorage(): Promise<Storage> {
  const storage = memoryStorage()
  await initRepository(storage, { password, kdf: kdfForRandomPassword })
  return storage
}

async function openIndexed(storage: Storage): Promise<Repository> {
  const repository = await openRepository(storage, { password })
  await repository.loadIndex()
  return repository
}

/** Saves a small snapshot whose tree is not a real one; this file is about what lies below trees. */
async function saveOne(repository: Repository, text: string) {
  await using lock = await repository.lock({ exclusive: false, settleMs: 0 })
  const { id: tree } = await repository.saveBlob('tree', bytes(text))
  return await repository.saveSnapshot({ time: '2026-01-01T00:00:00Z', tree, paths: ['/x'], tags: [text] }, lock)
}

test('what was saved can be loaded, also after opening anew', async () => {
  const storage = await newStorage()
  const compressible = bytes('again and '.repeat(10_000))
  const incompressible = crypto.getRandomValues(new Uint8Array(50_000))
  {
    await using repository = await openIndexed(storage)
    const saved = await repository.saveBlob('data', compressible)
    assert.equal(saved.known, false)
    assert(saved.packedBytes < 1000)
    assert.equal((await repository.saveBlob('data', incompressible)).packedBytes, 50_000 + 32)
    await repository.saveBlob('tree', bytes('{"nodes":[]}\n'))
    await repository.saveBlob('data', new Uint8Array(0))
    await repository.flush()
    const { packCount, blobCount, packBytes } = await repository.stats()
    assert.deepEqual([packCount, blobCount], [2, 4])
    const stored = (await Array.fromAsync(storage.list('data/'))).reduce((sum, { size }) => sum + size, 0)
    assert.equal(packBytes, stored)
  }
  await using repository = await openIndexed(storage)
  for (const plaintext of [compressible, incompressible, new Uint8Array(0)]) {
    const { id, known, packedBytes } = await repository.saveBlob('data', plaintext)
    assert(known)
    assert.equal(packedBytes, 0)
    assert.equal(Buffer.compare(await repository.loadBlob('data', id), plaintext), 0)
    assert.equal(repository.locate('data', id)?.plainLength, plaintext.length)
    assert.equal(repository.locate('tree', id), undefined)
  }
})

test('a blob is stored once, however often and however fast it is saved', async () => {
  await using repository = await openIndexed(await newStorage())
  const saved = await Promise.all(Array.from({ length: 20 }, () => repository.saveBlob('data', bytes('same'))))
  assert.equal(saved.filter(({ known }) => !known).length, 1)
  await repository.flush()
  assert.equal((await repository.stats()).blobCount, 1)
})

test('data and trees lie in separate packs, packs close at their size, and each stands in one index file', async () => {
  const storage = await newStorage()
  await using repository = await openIndexed(storage)
  for (let i = 0; i < 40; i += 1) {
    await repository.saveBlob('data', noise(2 ** 20))
    await repository.saveBlob('tree', noise(100))
  }
  await repository.flush()
  const packs = [...repository.indexedPacks()]
  assert.deepEqual(packs.map(({ blobs }) => new Set(blobs.map(({ type }) => type)).size), packs.map(() => 1))
  assert.equal(packs.length, 4)
  for (const { id, size, blobs } of packs) {
    assert.equal(await repository.statPack(id), size)
    assert.deepEqual(await repository.readPackHeader(id, size), blobs)
  }
  assert.equal((await keysOf(storage, 'index/')).length, 1)
})

test('opening says what is wrong', async () => {
  await assert.rejects(openRepository(memoryStorage(), { password }), failure('repository.not_found'))
  const storage = await newStorage()
  await assert.rejects(openRepository(storage, { password: 'wrong' }), failure('repository.wrong_password'))
  const [keyFile] = await keysOf(storage, 'keys/')
  assert(keyFile !== undefined)
  await storage.delete(keyFile)
  await assert.rejects(openRepository(storage, { password }), failure('repository.damaged'))
})

test('a repository is never initialised twice, also not by two at once', async () => {
  const storage = await newStorage()
  const config = await storage.get('config')
  await assert.rejects(initRepository(storage, { password: 'other', kdf: kdfForRandomPassword }), failure('repository.exists'))
  assert.deepEqual(await storage.get('config'), config)

  const shared = memoryStorage()
  const outcomes = await Promise.allSettled([1, 2, 3].map((n) => initRepository(shared, { password: `${n}`, kdf: kdfForRandomPassword })))
  const winner = outcomes.findIndex(({ status }) => status === 'fulfilled')
  assert.equal(outcomes.filter(({ status }) => status === 'rejected').length, 2)
  assert.equal((await keysOf(shared, 'keys/')).length, 1)
  await openRepository(shared, { password: `${winner + 1}` })
})

test('snapshots are listed by time, filtered, found, and forgotten under an exclusive lock', async () => {
  const storage = await newStorage()
  await using repository = await openIndexed(storage)
  const first = await saveOne(repository, 'one')
  const second = await saveOne(repository, 'two')
  assert.deepEqual((await repository.listSnapshots()).map(({ id }) => id).toSorted(), [first, second].toSorted())
  assert.deepEqual((await repository.listSnapshots({ tags: ['two'] })).map(({ id }) => id), [second])
  assert.deepEqual(await repository.listSnapshots({ paths: ['/y'] }), [])
  assert.deepEqual((await repository.findSnapshot(first))?.tags, ['one'])
  await using lock = await repository.lock({ exclusive: true, settleMs: 0 })
  await repository.forgetSnapshots([first], lock)
  assert.equal(await repository.findSnapshot(first), undefined)
  assert.deepEqual((await repository.listSnapshots()).map(({ id }) => id), [second])
})

test('a damaged snapshot file is named, and hides no other when asked so', async () => {
  const storage = await newStorage()
  await using repository = await openIndexed(storage)
  const good = await saveOne(repository, 'one')
  const bad = 'f'.repeat(64)
  await storage.put(`snapshots/${bad}`, [bytes('garbage')])
  await assert.rejects(repository.listSnapshots(), failure('repository.damaged'))
  const damaged: string[] = []
  const listed = await repository.listSnapshots({ onDamaged: (id) => damaged.push(id) })
  assert.deepEqual([listed.map(({ id }) => id), damaged], [[good], [bad]])
})

test('index files that are replaced while they are read are read anew', async () => {
  const below = await newStorage()
  {
    await using writer = await openIndexed(below)
    await saveOne(writer, 'one')
  }
  const [oldKey] = await keysOf(below, 'index/')
  assert(oldKey !== undefined)
  await using editor = await openIndexed(below)
  const packs = [...editor.indexedPacks()]
  let replaced: Promise<void> | undefined
  const storage = withFaults(below, ({ operation, key }) => {
    if (operation !== 'get' || key !== oldKey) return undefined
    replaced ??= editor.storedFiles.saveIndexFile(packs).then(() => below.delete(oldKey))
    return { kind: 'fail', code: 'storage.not_found' }
  })
  await using repository = await openRepository(storage, { password })
  await repository.loadIndex()
  await replaced
  assert.equal((await repository.stats()).packCount, 1)
})

test('no snapshot is written once the lock is lost', async () => {
  const storage = await newStorage()
  await using repository = await openIndexed(storage)
  await using lock = await repository.lock({ exclusive: false, settleMs: 0 })
  const { id: tree } = await repository.saveBlob('tree', bytes('t'))
  for (const key of await keysOf(storage, 'locks/')) await storage.delete(key)
  await assert.rejects(
    repository.saveSnapshot({ time: '2026-01-01T00:00:00Z', tree, paths: ['/x'] }, lock),
    failure('repository.lock_lost'),
  )
  assert.deepEqual(await keysOf(storage, 'snapshots/'), [])
})

test('damage in a pack is found when the blob is loaded', async () => {
  const storage = await newStorage()
  await using repository = await openIndexed(storage)
  const { id } = await repository.saveBlob('data', bytes('precious'))
  await repository.flush()
  const [key] = await keysOf(storage, 'data/')
  assert(key !== undefined)
  const pack = await storage.get(key)
  const spoil = async (content: Uint8Array) => {
    await storage.delete(key)
    await storage.put(key, [content])
  }
  await spoil(pack.with(20, (pack[20] ?? 0) ^ 1))
  await assert.rejects(repository.loadBlob('data', id), failure('blob.damaged'))
  await spoil(pack.subarray(0, 30))
  await assert.rejects(repository.loadBlob('data', id), failure('blob.damaged'))
  await storage.delete(key)
  await assert.rejects(repository.loadBlob('data', id), failure('blob.missing'))
  await assert.rejects(repository.loadBlob('data', 'a'.repeat(64) as BlobId), failure('blob.missing'))
})

test('a full storage surfaces as such, commits nothing, and the repository can be used again after reloading', async () => {
  const below = await newStorage()
  let full = true
  const storage = withFaults(below, ({ operation, key }) =>
    full && operation === 'put' && key.startsWith('data/') ? { kind: 'fail', code: 'storage.full' } : undefined,
  )
  await using repository = await openIndexed(storage)
  await repository.saveBlob('data', bytes('x'))
  await assert.rejects(repository.flush(), failure('storage.full'))
  await assert.rejects(repository.saveBlob('data', bytes('y')), failure('storage.full'))
  await assert.rejects(saveOne(repository, 'z'), failure('storage.full'))
  for (const prefix of ['data/', 'index/', 'snapshots/', 'locks/']) assert.deepEqual(await keysOf(below, prefix), [])
  full = false
  await repository.loadIndex({ reload: true })
  const { known } = await repository.saveBlob('data', bytes('x'))
  assert.equal(known, false)
  await saveOne(repository, 'z')
})

test('an aborted signal ends everything with the failure for it', async () => {
  const storage = await newStorage()
  const controller = new AbortController()
  await using repository = await openRepository(storage, { password, signal: controller.signal })
  await repository.loadIndex()
  controller.abort()
  await assert.rejects(repository.saveBlob('data', bytes('x')), failure('cancelled'))
  await assert.rejects(repository.listSnapshots(), failure('cancelled'))
})

/** Every storage call of a small backup is once the last one; and once fails, and once loses its answer. */
for (const kind of ['crash-before', 'crash-after', 'fail', 'lose-answer'] as const) {
  test(`cut at every call (${kind}): what is there is whole, and running again completes`, async () => {
    let calls = Infinity
    for (let cut = 1; cut <= calls; cut += 1) {
      const below = await newStorage()
      const fault = (call: StorageCall): Fault | undefined => {
        if (call.number !== cut) return undefined
        return kind === 'fail' ? { kind, code: 'storage.unavailable' } : { kind }
      }
      const storage = withFaults(below, fault)
      const run = async (on: Storage) => {
        await using repository = await openIndexed(on)
        for (let i = 0; i < 3; i += 1) await repository.saveBlob('data', bytes(`blob ${i}`))
        return await saveOne(repository, 'tree')
      }
      await run(storage).catch((error: unknown) => {
        assert(failure('storage.unavailable')(error), String(error))
      })
      calls = Math.min(calls, cut > storage.calls.length ? cut : Infinity)
      await assertWhole(below)
      for (const key of await keysOf(below, 'locks/')) await below.delete(key)
      await run(below)
      await assertWhole(below)
    }
    assert(calls > 8)
  })
}

/** Every indexed pack is there with its size and header, and every snapshot's tree can be loaded. */
async function assertWhole(storage: Storage): Promise<void> {
  await using repository = await openRepository(storage, { password })
  const snapshots = await repository.listSnapshots()
  await repository.loadIndex()
  for (const { id, size, blobs } of repository.indexedPacks()) {
    assert.equal(await repository.statPack(id), size)
    assert.deepEqual(await repository.readPackHeader(id, size), blobs)
    for (const blob of blobs) await repository.loadBlob(blob.type, blob.id)
  }
  for (const { snapshot } of snapshots) await repository.loadBlob('tree', snapshot.tree)
}
