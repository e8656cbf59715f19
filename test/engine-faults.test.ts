/**
 * Storages that misbehave while a tree is backed up, forgotten and pruned: errors, lost answers, halved
 * answers, a disk that is full from some write on, answers in any order, listings that lack a file or
 * come in another order, and clocks that jump. Whatever happens, the repository stays whole, what was
 * acknowledged can be restored, and what ends early ends with a failure that says why.
 */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import {
  archiveTree, checkRepository, Failure, initRepository, kdfForRandomPassword, openRepository, planPrune, runPrune, verifySnapshot,
  type FailureCode, type SnapshotId,
} from '@opencbr/engine'
import { memoryStorage, withFaults, type Fault, type Storage, type StorageCall } from '@opencbr/storage'
import { gatedStorage } from './support/gated-storage.ts'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { HOSTNAME, PASSWORD, scratchDirectory } from './support/scratch-repository.ts'
import { seededRandom } from './support/seeded-random.ts'
import { copyToMemory } from './support/stored-copies.ts'

const TIME = new Date('2026-01-02T03:04:05.678Z')
const HOUR_MS = 3_600_000

interface Scene {
  readonly source: string
  /** Holds a snapshot of the source as it was, and data that only forgotten snapshots needed. */
  readonly base: Storage
  readonly kept: SnapshotId
}

function fill(source: string, version: number): void {
  for (const folder of ['a', 'b/c']) {
    fs.mkdirSync(join(source, folder), { recursive: true })
    for (let file = 0; file < 4; file += 1) {
      const place = join(source, folder, `file ${file}`)
      fs.writeFileSync(place, pseudoRandomBytes(9000 + file, file % 2 === 0 ? file : 100 * version + file))
    }
  }
}

async function backUp(storage: Storage, source: string, now = () => TIME): Promise<SnapshotId> {
  await using repository = await openRepository(storage, { password: PASSWORD, now })
  await using lock = await repository.lock({ exclusive: false, settleMs: 0, ownerIsDead: () => true })
  const [parent] = (await repository.listSnapshots({ paths: [source] })).toReversed()
  const result = await archiveTree(repository, lock, { path: source, hostname: HOSTNAME, tags: [], time: TIME, parent: parent?.id, now })
  assert.ok(result.whole)
  return result.snapshotId
}

async function prune(storage: Storage, forgotten: readonly SnapshotId[] = []): Promise<void> {
  await using repository = await openRepository(storage, { password: PASSWORD })
  const takeLock = (exclusive: boolean) => repository.lock({ exclusive, settleMs: 0, ownerIsDead: () => true })
  if (forgotten.length > 0) {
    await using lock = await takeLock(true)
    await repository.forgetSnapshots(forgotten, lock)
  }
  await runPrune(repository, takeLock, await planPrune(repository, { maxUnusedPercent: 0 }))
}

async function makeScene(t: TestContext): Promise<Scene> {
  const source = join(scratchDirectory(t), 'source')
  const base = memoryStorage()
  await initRepository(base, { password: PASSWORD, kdf: kdfForRandomPassword })
  const ids: SnapshotId[] = []
  for (const version of [1, 2, 3]) {
    fill(source, version)
    ids.push(await backUp(base, source))
  }
  const [first, second, kept] = ids
  assert.ok(first !== undefined && second !== undefined && kept !== undefined)
  await using repository = await openRepository(base, { password: PASSWORD })
  await using lock = await repository.lock({ exclusive: true, settleMs: 0 })
  await repository.forgetSnapshots([first, second], lock)
  fill(source, 4)
  return { source, base, kept }
}

/** Every byte of the repository is what it should be, and the snapshots are there. */
async function assertWhole(storage: Storage, snapshots: readonly SnapshotId[], where: string): Promise<void> {
  await using repository = await openRepository(storage, { password: PASSWORD })
  const { findings } = await checkRepository(repository, { level: 'data' })
  assert.deepEqual(findings.filter(({ severity }) => severity === 'error'), [], where)
  for (const id of snapshots) assert.ok((await verifySnapshot(repository, id, { readData: true })).whole, where)
}

type Work = (storage: Storage, scene: Scene) => Promise<readonly SnapshotId[]>

const works: Readonly<Record<string, Work>> = {
  'a backup': async (storage, { source }) => [await backUp(storage, source)],
  async pruning(storage) {
    await prune(storage)
    return []
  },
}

const changesOnly = ({ operation }: StorageCall) => operation === 'put' || operation === 'delete'

interface Trouble {
  readonly name: string
  readonly fault: Fault
  /** Which calls it can befall. */
  readonly befalls: (call: StorageCall) => boolean
  /** Whether it goes on once it has begun. */
  readonly lasts: boolean
  /** What may be said of it, when the work does not get through in spite of it. */
  readonly codes: readonly FailureCode[]
}

const troubles: readonly Trouble[] = [
  { name: 'an unreachable storage', fault: { kind: 'fail', code: 'storage.unavailable' }, befalls: () => true, lasts: false, codes: ['storage.unavailable'] },
  { name: 'a refused access', fault: { kind: 'fail', code: 'storage.forbidden' }, befalls: changesOnly, lasts: true, codes: ['storage.forbidden'] },
  { name: 'a full disk', fault: { kind: 'fail', code: 'storage.full' }, befalls: ({ operation }) => operation === 'put', lasts: true, codes: ['storage.full'] },
  { name: 'a lost answer', fault: { kind: 'lose-answer' }, befalls: () => true, lasts: false, codes: ['storage.unavailable'] },
  {
    name: 'a halved answer', fault: { kind: 'truncate' }, befalls: ({ operation }) => operation === 'get' || operation === 'list', lasts: false,
    codes: ['repository.damaged', 'blob.missing', 'blob.damaged', 'repository.changed', 'storage.out_of_range', 'repository.wrong_password'],
  },
]

for (const [workName, work] of Object.entries(works)) {
  for (const { name, fault, befalls, lasts, codes } of troubles) {
    test(`${name} at any call of ${workName}`, async (t) => {
      const scene = await makeScene(t)
      const outcomes = new Map<string, number>()
      for (let turn = 1; ; turn += 1) {
        const storage = await copyToMemory(scene.base)
        let met = 0
        const faulty = withFaults(storage, (call) => {
          if (!befalls(call)) return undefined
          met += 1
          return met === turn || (lasts && met > turn) ? fault : undefined
        })
        let acknowledged: readonly SnapshotId[] = []
        let outcome = 'completed in spite of it'
        try {
          acknowledged = await work(faulty, scene)
        } catch (error) {
          assert.ok(error instanceof Failure, String(error))
          assert.ok(codes.includes(error.code), `${name}, turn ${turn}: ${error.code} ${JSON.stringify(error.facts)}`)
          outcome = error.code
        }
        if (met < turn) break
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
        await assertWhole(storage, [scene.kept, ...acknowledged], `${name}, turn ${turn}: ${outcome}`)
        const again = await work(storage, scene)
        await assertWhole(storage, [scene.kept, ...acknowledged, ...again], `${name}, turn ${turn}: again`)
      }
      t.diagnostic(JSON.stringify(Object.fromEntries(outcomes)))
      assert.ok(outcomes.size > 0 && codes.some((code) => outcomes.has(code)))
    })
  }
}

/** The same storage whose listings are shuffled, and of which one lacks one file. */
function withStrangeListings(storage: Storage, order: ReturnType<typeof seededRandom>, hides: (listing: number, key: string) => boolean): Storage {
  let listing = 0
  return {
    ...storage,
    async *list(prefix, options) {
      listing += 1
      const number = listing
      const files = await Array.fromAsync(storage.list(prefix, options))
      const shuffled = files.map((file) => ({ file, rank: order.below(1 << 30) })).toSorted((a, b) => a.rank - b.rank)
      for (const { file } of shuffled) if (!hides(number, file.key)) yield file
    },
  }
}

test('a listing that lacks a file, whichever and whenever, destroys nothing', async (t) => {
  const scene = await makeScene(t)
  const keys = (await Array.fromAsync(scene.base.list(''))).map(({ key }) => key).filter((key) => /^(?:data|index|snapshots)\//.test(key))
  const outcomes = new Map<string, number>()
  for (const [workName, work] of Object.entries(works)) {
    for (const hidden of keys) {
      // Twelve are more listings than either work has; the last turns only shuffle.
      for (let listing = 1; listing <= 12; listing += 1) {
        const storage = await copyToMemory(scene.base)
        let isMet = false
        const strange = withStrangeListings(storage, seededRandom(listing), (number, key) => {
          const hides = number === listing && key === hidden
          isMet ||= hides
          return hides
        })
        let acknowledged: readonly SnapshotId[] = []
        let outcome = 'completed'
        try {
          acknowledged = await work(strange, scene)
        } catch (error) {
          assert.ok(error instanceof Failure && ['blob.missing', 'repository.changed'].includes(error.code), String(error))
          outcome = error.code
        }
        if (!isMet) continue
        const where = `${workName}: listing ${listing} lacks ${hidden}: ${outcome}`
        outcomes.set(`${workName} ${outcome}`, (outcomes.get(`${workName} ${outcome}`) ?? 0) + 1)
        await assertWhole(storage, [scene.kept, ...acknowledged], where)
        await assertWhole(storage, await work(storage, scene), `${where}, and again`)
      }
    }
  }
  t.diagnostic(JSON.stringify(Object.fromEntries(outcomes)))
  assert.ok((outcomes.get('pruning completed') ?? 0) > 0 && (outcomes.get('a backup completed') ?? 0) > 0)
})

test('a pack that no listing shows is not condemned by a check', async (t) => {
  const { base, kept } = await makeScene(t)
  const storage = withStrangeListings(base, seededRandom(1), (_listing, key) => key.startsWith('data/'))
  await assertWhole(storage, [kept], 'no pack is listed')
})

test('answers that come late and in any order change nothing', async (t) => {
  const scene = await makeScene(t)
  for (let seed = 1; seed <= 20; seed += 1) {
    const storage = await copyToMemory(scene.base)
    const random = seededRandom(seed)
    const late = gatedStorage(storage, async () => {
      for (let turns = random.below(30); turns > 0; turns -= 1) await new Promise((resolve) => setImmediate(resolve))
    })
    const saved = await backUp(late, scene.source)
    await assertWhole(storage, [scene.kept, saved], `seed ${seed}`)
    await prune(late, [scene.kept])
    await assertWhole(storage, [saved], `seed ${seed}, pruned`)
  }
})

test('whoever has a clock that jumps neither takes a living lock away nor loses its own', async (t) => {
  const scene = await makeScene(t)
  let refused = 0
  for (const jumpMs of [2 * HOUR_MS, -2 * HOUR_MS, 2000 * HOUR_MS]) {
    for (let point = 1; point <= 30; point += 3) {
      const storage = await copyToMemory(scene.base)
      // The jump happens to the one who backs up, in the middle of its work; the other's clock is off all the time.
      let hasJumped = false
      const now = () => new Date(Date.now() + (hasJumped ? jumpMs : 0))
      const gated = gatedStorage(storage, async ({ number }) => {
        if (number !== point) return
        hasJumped = true
        const holders = (await Array.fromAsync(storage.list('locks/'))).length
        if (holders === 0) return
        await using other = await openRepository(storage, { password: PASSWORD, now: () => new Date(Date.now() + Math.abs(jumpMs)) })
        await assert.rejects(other.lock({ exclusive: true, settleMs: 0 }), { code: 'repository.locked' })
        refused += 1
      })
      const saved = await backUp(gated, scene.source, now)
      await assertWhole(storage, [scene.kept, saved], `jump ${jumpMs} at call ${point}`)
      assert.deepEqual(await Array.fromAsync(storage.list('locks/')), [])
    }
  }
  assert.ok(refused > 15, `only ${refused} met a lock`)
})

test('a hundred bit flips, in files of every kind, are all found and named; what is undamaged stays readable', async (t) => {
  const { base, kept, source } = await makeScene(t)
  await backUp(base, source)
  const keys = (await Array.fromAsync(base.list(''))).map(({ key }) => key)
  const kinds = ['config', 'keys/', 'index/', 'snapshots/', 'data/']
  const random = seededRandom(4711)
  let readable = 0
  for (let flip = 0; flip < 100; flip += 1) {
    const kind = kinds[flip % kinds.length] ?? ''
    const key = random.pick(keys.filter((candidate) => candidate.startsWith(kind)))
    const storage = await copyToMemory(base)
    const bytes = Buffer.from(await storage.get(key))
    const bit = random.below(bytes.length * 8)
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    await storage.delete(key)
    await storage.put(key, [bytes])
    const where = `bit ${bit} of ${key}`
    const name = key.split('/').at(-1) ?? ''
    try {
      await using repository = await openRepository(storage, { password: PASSWORD })
      const result = await checkRepository(repository, { level: 'data' })
      assert.ok(!result.whole, `${where} was not found`)
      assert.ok(result.findings.some((finding) => JSON.stringify(finding).includes(name)), `${where} was not named`)
      if ((await verifySnapshot(repository, kept, { readData: true })).whole) readable += 1
    } catch (error) {
      assert.ok(error instanceof Failure, `${where}: ${String(error)}`)
      assert.ok(kind === 'config' || kind === 'keys/', `${where} stops everything: ${error.code}`)
      assert.ok(['repository.damaged', 'repository.wrong_password', 'repository.unsupported'].includes(error.code), `${where}: ${error.code}`)
    }
  }
  t.diagnostic(`the other snapshot was whole in spite of ${readable} flips`)
  assert.ok(readable > 10)
})
