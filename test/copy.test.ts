/**
 * Copies between repositories, judged by stock restic: what we copied it must find whole, restore, and
 * not copy again; what it copied we must not copy again.
 */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import {
  copySnapshots, Failure, initRepository, kdfForRandomPassword, openRepository, type CopyResult, type CopySnapshotsOptions, type SnapshotId,
} from '@opencbr/engine'
import { localStorage, withFaults, type Storage } from '@opencbr/storage'
import { compareTrees } from './support/compare-trees.ts'
import { makeNastyTree, pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries, resticVersion, type Restic } from './support/restic.ts'
import { openScratchRepository, PASSWORD, scratchDirectory } from './support/scratch-repository.ts'

const TARGET_PASSWORD = 'another password altogether'
const binaries = resticBinaries().map((binary) => ({ binary, version: resticVersion(binary) }))

async function copy(source: Storage, target: Storage, options: CopySnapshotsOptions = {}): Promise<CopyResult> {
  await using from = await openRepository(source, { password: PASSWORD })
  await using to = await openRepository(target, { password: TARGET_PASSWORD })
  await using lock = await to.lock({ exclusive: false, settleMs: 0 })
  return await copySnapshots(from, to, lock, await from.listSnapshots(), options)
}

async function makeTarget(path: string): Promise<void> {
  await initRepository(localStorage(path), { password: TARGET_PASSWORD, kdf: kdfForRandomPassword })
}

interface ListedSnapshot {
  readonly id: SnapshotId
  readonly original?: SnapshotId
  readonly parent?: SnapshotId
  readonly tags?: readonly string[]
}

function listed(stock: Restic): ListedSnapshot[] {
  return JSON.parse(stock.run('snapshots', '--json').stdout.toString()) as ListedSnapshot[]
}

/** Two versions of a folder, of which most is the same. */
function makeFolder(folder: string, version: number): void {
  fs.mkdirSync(join(folder, 'texts'), { recursive: true })
  for (let file = 0; file < 12; file += 1) fs.writeFileSync(join(folder, `file ${file}`), pseudoRandomBytes(300_000, file < 8 ? file : 100 * version + file))
  for (let text = 0; text < 40; text += 1) fs.writeFileSync(join(folder, 'texts', `${text}`), `line ${text} of ${text < 30 ? 0 : version}\n`.repeat(9))
}

for (const { binary, version } of binaries) {
  test(`restic ${version} finds what we copied whole, restores it, and copies nothing of it again`, async (t: TestContext) => {
    const directory = scratchDirectory(t)
    const [sourcePath, targetPath, folder, nasty] = ['source', 'target', 'folder', 'nasty'].map((name) => join(directory, name)) as [string, string, string, string]
    await using ours = await openScratchRepository(sourcePath)
    makeFolder(folder, 1)
    const first = await ours.archiveTree(folder)
    makeFolder(folder, 2)
    const second = await ours.archiveTree(folder, { parent: first.snapshotId, time: new Date('2026-01-03T00:00:00Z') })
    fs.mkdirSync(nasty)
    await makeNastyTree(Buffer.from(nasty))
    const third = await ours.archiveTree(nasty, { time: new Date('2026-01-04T00:00:00Z') })
    await makeTarget(targetPath)

    const result = await copy(localStorage(sourcePath), localStorage(targetPath))
    assert.deepEqual(result.snapshots.map(({ sourceId, copied }) => ({ sourceId, copied })), [first, second, third].map(({ snapshotId }) => ({ sourceId: snapshotId, copied: true })))
    const target = restic(binary, targetPath, TARGET_PASSWORD)
    target.run('check', '--read-data')
    assert.deepEqual(listed(target).map(({ original }) => original).toSorted(), [first, second, third].map(({ snapshotId }) => snapshotId).toSorted())
    assert.ok(listed(target).every(({ parent }) => parent === undefined))
    const restored = join(directory, 'restored')
    target.run('restore', result.snapshots[1]?.targetId ?? '', '--target', restored)
    assert.deepEqual(compareTrees(folder, join(restored, folder)), [])

    const again = await copy(localStorage(sourcePath), localStorage(targetPath))
    assert.deepEqual(again.snapshots.map(({ targetId, copied }) => ({ targetId, copied })), result.snapshots.map(({ targetId }) => ({ targetId, copied: false })))
    assert.equal(again.blobsCopied, 0)

    const passwordFile = join(directory, 'source password')
    fs.writeFileSync(passwordFile, PASSWORD)
    target.run('copy', '--from-repo', sourcePath, '--from-password-file', passwordFile)
    assert.equal(listed(target).length, 3)
  })

  test(`what restic ${version} copied is not copied again, and a changed tag is`, async (t: TestContext) => {
    const directory = scratchDirectory(t)
    const [sourcePath, targetPath, folder] = ['source', 'target', 'folder'].map((name) => join(directory, name)) as [string, string, string]
    makeFolder(folder, 1)
    await initRepository(localStorage(sourcePath), { password: PASSWORD, kdf: kdfForRandomPassword })
    const source = restic(binary, sourcePath, PASSWORD)
    source.run('backup', folder, '--tag', 'kept')
    await makeTarget(targetPath)
    const passwordFile = join(directory, 'source password')
    fs.writeFileSync(passwordFile, PASSWORD)
    const target = restic(binary, targetPath, TARGET_PASSWORD)
    target.run('copy', '--from-repo', sourcePath, '--from-password-file', passwordFile)
    assert.deepEqual((await copy(localStorage(sourcePath), localStorage(targetPath))).snapshots.map(({ copied }) => copied), [false])

    source.run('tag', '--add', 'new')
    const result = await copy(localStorage(sourcePath), localStorage(targetPath))
    assert.deepEqual([result.snapshots.map(({ copied }) => copied), result.blobsCopied], [[true], 0])
    assert.deepEqual(listed(target).map(({ tags }) => tags?.join(' ')).toSorted(), ['kept', 'kept new'])
    target.run('check', '--read-data')
  })
}

async function makeSmallSource(directory: string): Promise<string> {
  const path = join(directory, 'source')
  const folder = join(directory, 'folder')
  fs.mkdirSync(join(folder, 'below'), { recursive: true })
  for (const file of [0, 1, 2]) fs.writeFileSync(join(folder, `${file}`), pseudoRandomBytes(50_000, file))
  fs.writeFileSync(join(folder, 'below', 'text'), 'text\n')
  await using ours = await openScratchRepository(path)
  await ours.archiveTree(folder)
  return path
}

test('cut at every write: the target is whole, and the next copy completes', async (t: TestContext) => {
  const directory = scratchDirectory(t)
  const source = await makeSmallSource(directory)
  const newest = binaries.at(-1)
  assert.ok(newest !== undefined)
  for (let cut = 1; ; cut += 1) {
    assert.ok(cut < 20, 'the copy never ends')
    const path = join(directory, `target ${cut}`)
    await makeTarget(path)
    let writes = 0
    const faulty = withFaults(localStorage(path), ({ operation, key }) => {
      if (operation !== 'put' || key.startsWith('locks/')) return undefined
      writes += 1
      return writes === cut ? { kind: cut % 2 === 0 ? 'crash-before' : 'crash-after' } : undefined
    })
    const isCut = await copy(localStorage(source), faulty).then(() => false, () => true)
    const stock = restic(newest.binary, path, TARGET_PASSWORD)
    stock.run('unlock', '--remove-all')
    stock.run('check', '--read-data')
    assert.ok(listed(stock).length <= 1)
    if (!isCut) {
      assert.ok(cut > 4, `only ${cut - 1} writes`)
      assert.equal(listed(stock).length, 1)
      return
    }
    await copy(localStorage(source), localStorage(path))
    assert.equal(listed(stock).length, 1)
    stock.run('check', '--read-data')
  }
})

test('a cancelled copy keeps what it has stored for the next one', async (t: TestContext) => {
  const directory = scratchDirectory(t)
  const source = await makeSmallSource(directory)
  const path = join(directory, 'target')
  await makeTarget(path)
  const stop = new AbortController()
  let copied = 0
  await assert.rejects(copy(localStorage(source), localStorage(path), {
    signal: stop.signal,
    onProgress({ bytesCopied }) {
      copied = bytesCopied
      if (bytesCopied >= 100_000) stop.abort()
    },
  }), (error) => error instanceof Failure && error.code === 'cancelled')
  assert.ok(copied >= 100_000)
  const result = await copy(localStorage(source), localStorage(path))
  assert.ok(result.bytesCopied <= 160_000 - copied + 50_000, `${result.bytesCopied} bytes were copied again`)
  assert.deepEqual(result.snapshots.map((snapshot) => snapshot.copied), [true])
})

test('what the source has lost ends the copy, and what the storage changes is noticed before the snapshot is written', async (t: TestContext) => {
  const directory = scratchDirectory(t)
  const source = await makeSmallSource(directory)
  const path = join(directory, 'target')
  await makeTarget(path)
  const storage = localStorage(path)
  const lying: Storage = {
    ...storage,
    async get(key, options) {
      const content = await storage.get(key, options)
      if (key.startsWith('data/') && content.length > 1000) content[500] = (content[500] ?? 0) ^ 1
      return content
    },
  }
  await assert.rejects(copy(localStorage(source), lying), (error) => error instanceof Failure && error.code === 'blob.damaged')
  assert.deepEqual(fs.existsSync(join(path, 'snapshots')) ? fs.readdirSync(join(path, 'snapshots')) : [], [])

  const [folder = ''] = fs.readdirSync(join(source, 'data'))
  fs.rmSync(join(source, 'data', folder), { recursive: true })
  const other = join(directory, 'other target')
  await makeTarget(other)
  await assert.rejects(copy(localStorage(source), localStorage(other)), (error) => error instanceof Failure && error.code === 'blob.missing')
})
