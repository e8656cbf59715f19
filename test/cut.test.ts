/**
 * Every call to the storage is once the last one, as when the machine dies there: in a backup of a
 * tree and of an image, in forgetting and in pruning. What is left must be whole, for us at every cut
 * and for stock restic at every cut that a change makes; everything acknowledged must be restorable;
 * and the same work, done again by whoever comes next, must complete.
 */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import {
  archiveImage, archiveTree, checkRepository, Failure, initRepository, kdfForRandomPassword, openRepository, planPrune, restoreImage,
  restoreTree, runPrune, verifySnapshot, type Repository, type RepositoryLock, type SnapshotId,
} from '@opencbr/engine'
import { memoryStorage, withFaults, type Storage, type StorageCall } from '@opencbr/storage'
import { compareTrees, firstDifference } from './support/compare-trees.ts'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { HOSTNAME, PASSWORD, scratchDirectory } from './support/scratch-repository.ts'
import { copyToDirectory, copyToMemory } from './support/stored-copies.ts'

const MEBIBYTE = 1 << 20
const TIME = new Date('2026-01-02T03:04:05.678Z')

interface Scene {
  readonly directory: string
  /** Two versions of a small tree, and an image that fills more than one pack. */
  readonly trees: readonly [string, string]
  readonly image: string
}

function makeScene(t: TestContext): Scene {
  const directory = scratchDirectory(t)
  const trees = [join(directory, 'trees/1'), join(directory, 'trees/2')] as const
  for (const [version, tree] of trees.entries()) {
    for (const folder of ['a', 'b/c']) {
      fs.mkdirSync(join(tree, folder), { recursive: true })
      for (let file = 0; file < 4; file += 1) {
        const seed = file % 2 === 0 ? file : 100 * (version + 1) + file
        fs.writeFileSync(join(tree, folder, `file ${file}`), pseudoRandomBytes(30_000 + file, seed))
      }
    }
    fs.symlinkSync('a/file 0', join(tree, 'link'))
  }
  const image = join(directory, 'disk.raw')
  fs.writeFileSync(image, Buffer.concat([pseudoRandomBytes(16 * MEBIBYTE, 7), Buffer.alloc(MEBIBYTE), pseudoRandomBytes(12_345, 8)]))
  return { directory, trees, image }
}

interface Use extends AsyncDisposable {
  readonly repository: Repository
  readonly lock: RepositoryLock
}

/** Whoever comes after a crash knows that the lock it finds is a dead one's. */
async function use(storage: Storage, exclusive: boolean): Promise<Use> {
  const repository = await openRepository(storage, { password: PASSWORD })
  try {
    const lock = await repository.lock({ exclusive, settleMs: 0, ownerIsDead: () => true })
    return {
      repository,
      lock,
      async [Symbol.asyncDispose]() {
        await lock[Symbol.asyncDispose]()
        await repository[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await repository[Symbol.asyncDispose]()
    throw error
  }
}

type Archive = typeof archiveTree

async function backUp(storage: Storage, archive: Archive, path: string): Promise<SnapshotId> {
  await using ours = await use(storage, false)
  const { repository, lock } = ours
  const [parent] = (await repository.listSnapshots({ paths: [path] })).toReversed()
  await repository.loadIndex()
  const result = await archive(repository, lock, { path, hostname: HOSTNAME, tags: [], time: TIME, parent: parent?.id })
  assert.ok(result.whole)
  return result.snapshotId
}

async function forget(storage: Storage, ids: readonly SnapshotId[]): Promise<void> {
  await using ours = await use(storage, true)
  await ours.repository.forgetSnapshots(ids, ours.lock)
}

async function prune(storage: Storage): Promise<void> {
  await using repository = await openRepository(storage, { password: PASSWORD })
  const takeLock = (exclusive: boolean) => repository.lock({ exclusive, settleMs: 0, ownerIsDead: () => true })
  const plan = await planPrune(repository, { maxUnusedPercent: 0 })
  await runPrune(repository, takeLock, plan, { batchBytes: 50_000, roundBytes: 100_000 })
}

async function assertStructure(storage: Storage): Promise<void> {
  await using repository = await openRepository(storage, { password: PASSWORD })
  const { findings } = await checkRepository(repository, { level: 'structure' })
  // What a dead process stored and nobody names is no damage; everything else would be.
  assert.deepEqual(findings.filter(({ code }) => code !== 'pack.unindexed' && code !== 'index.repeated_pack'), [])
}

/**
 * Restores snapshots by the path of their source, which they must equal. An image is only read, every
 * chunk of it, unless it is asked for on disk: forcing so much to the disk at every cut takes minutes.
 */
async function assertRestorable(
  scene: Scene, storage: Storage, expected: ReadonlyMap<SnapshotId, string>, withImages: boolean,
): Promise<void> {
  await using repository = await openRepository(storage, { password: PASSWORD })
  await repository.loadIndex()
  for (const [snapshotId, sourcePath] of expected) {
    const destination = join(fs.mkdtempSync(join(scene.directory, 'restored-')), 'target')
    const allowedRoots = [scene.directory]
    if (sourcePath === scene.image && !withImages) {
      assert.ok((await verifySnapshot(repository, snapshotId, { readData: true })).whole)
    } else if (sourcePath === scene.image) {
      await restoreImage(repository, { snapshotId, sourcePath, targetPath: destination, allowedRoots })
      assert.equal(firstDifference(sourcePath, destination), undefined)
      assert.equal(fs.statSync(destination).size, fs.statSync(sourcePath).size)
    } else {
      assert.ok((await restoreTree(repository, { snapshotId, sourcePath, destination, allowedRoots })).whole)
      assert.deepEqual(compareTrees(sourcePath, destination), [])
    }
    fs.rmSync(join(destination, '..'), { recursive: true })
  }
}

async function snapshotIds(storage: Storage): Promise<Set<SnapshotId>> {
  await using repository = await openRepository(storage, { password: PASSWORD })
  return new Set((await repository.listSnapshots()).map(({ id }) => id))
}

interface Work {
  /** What was acknowledged before the work and must outlive it. */
  readonly kept: ReadonlyMap<SnapshotId, string>
  /** Does the work; done again it completes what was begun. Returns what it acknowledges. */
  run(storage: Storage): Promise<ReadonlyMap<SnapshotId, string>>
  /** Fails unless the work has been done, and its leavings are gone where it is its task to clear them. */
  assertDone(storage: Storage): Promise<void>
}

const changes = (call: StorageCall) => (call.operation === 'put' || call.operation === 'delete') && !call.key.startsWith('locks/')

/** Cuts work at every call, before and after its effect. */
async function cutEverywhere(t: TestContext, scene: Scene, base: Storage, work: Work): Promise<void> {
  const binaries = resticBinaries()
  const counts = { cuts: 0, judged: 0 }
  for (const kind of ['crash-before', 'crash-after'] as const) {
    for (let number = 1; ; number += 1) {
      const storage = await copyToMemory(base)
      let last: StorageCall | undefined
      const faulty = withFaults(storage, (call) => {
        if (call.number !== number) return undefined
        last = call
        return { kind }
      })
      let acknowledged: ReadonlyMap<SnapshotId, string> = new Map()
      try {
        acknowledged = await work.run(faulty)
      } catch (error) {
        assert.ok(error instanceof Failure && error.code === 'storage.unavailable', `cut ${kind} at ${JSON.stringify(last)} ended with ${String(error)}`)
      }
      // The work has fewer calls than that: it is through.
      if (last === undefined) break
      counts.cuts += 1
      await assertStructure(storage)
      await assertRestorable(scene, storage, new Map([...work.kept, ...acknowledged]), changes(last))
      if (changes(last)) {
        const binary = binaries[counts.judged % binaries.length]
        assert.ok(binary !== undefined)
        counts.judged += 1
        const path = fs.mkdtempSync(join(scene.directory, 'judged-'))
        await copyToDirectory(storage, path)
        restic(binary, path, PASSWORD).run('check', '--no-lock')
        fs.rmSync(path, { recursive: true })
      }
      const again = await work.run(storage)
      await assertStructure(storage)
      await assertRestorable(scene, storage, new Map([...work.kept, ...acknowledged, ...again]), changes(last))
      await work.assertDone(storage)
    }
  }
  t.diagnostic(`${counts.cuts} cuts, ${counts.judged} of them judged by restic as well`)
  assert.ok(counts.cuts > 10 && counts.judged > 0)
}

async function newStorage(): Promise<Storage> {
  const storage = memoryStorage()
  await initRepository(storage, { password: PASSWORD, kdf: kdfForRandomPassword })
  return storage
}

test('a backup of a tree, cut at every call', async (t) => {
  const scene = makeScene(t)
  const base = await newStorage()
  // The same path twice, so that the second run has a parent and shares data with it.
  const path = join(scene.directory, 'source')
  fs.cpSync(scene.trees[0], path, { recursive: true })
  const kept = new Map([[await backUp(base, archiveTree, scene.trees[0]), scene.trees[0]]])
  const parent = await backUp(base, archiveTree, path)
  fs.rmSync(path, { recursive: true })
  fs.cpSync(scene.trees[1], path, { recursive: true })
  await cutEverywhere(t, scene, base, {
    kept,
    run: async (storage) => new Map([[await backUp(storage, archiveTree, path), path]]),
    async assertDone(storage) {
      assert.ok((await snapshotIds(storage)).has(parent))
    },
  })
})

test('a backup of an image of several packs, cut at every call', async (t) => {
  const scene = makeScene(t)
  const base = await newStorage()
  const kept = new Map([[await backUp(base, archiveTree, scene.trees[0]), scene.trees[0]]])
  await cutEverywhere(t, scene, base, {
    kept,
    run: async (storage) => new Map([[await backUp(storage, archiveImage, scene.image), scene.image]]),
    async assertDone(storage) {
      assert.ok((await snapshotIds(storage)).size >= 2)
    },
  })
})

test('forgetting and pruning, cut at every call', async (t) => {
  const scene = makeScene(t)
  const base = await newStorage()
  const gone = [await backUp(base, archiveTree, scene.trees[0])]
  const kept = new Map([[await backUp(base, archiveTree, scene.trees[1]), scene.trees[1]]])
  const text = join(scene.directory, 'text')
  fs.mkdirSync(text)
  fs.writeFileSync(join(text, 'text'), 'only here\n'.repeat(1000))
  gone.push(await backUp(base, archiveTree, text))
  await cutEverywhere(t, scene, base, {
    kept,
    async run(storage) {
      await forget(storage, gone)
      await prune(storage)
      return new Map()
    },
    async assertDone(storage) {
      assert.deepEqual([...await snapshotIds(storage)], [...kept.keys()])
      await using repository = await openRepository(storage, { password: PASSWORD })
      const plan = await planPrune(repository, { maxUnusedPercent: 0 })
      assert.deepEqual([plan.freedBytes, plan.unindexedPacks, plan.removedPacks, plan.repackedPacks], [0, [], [], []])
    },
  })
})
