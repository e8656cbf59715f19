/** Checks must find every kind of damage, name what it costs, and cost nothing where there is none. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { after, test, type TestContext } from 'node:test'
import {
  checkRepository, initRepository, kdfForRandomPassword, openRepository, restoreTree, verifySnapshot,
  type CheckFinding, type CheckResult, type PackId, type Repository, type SnapshotId,
} from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { directoryNode, fileNode, saveHandmadeSnapshot, type HandmadeNode } from './support/handmade-snapshot.ts'
import { makeNastyTree, pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries, resticVersion } from './support/restic.ts'

const PASSWORD = 'only for tests'
const FILES = 120

interface Scene {
  readonly top: string
  /** Where the repository's files are. */
  readonly folder: string
  open(): Promise<Repository>
}

async function makeScene(t: TestContext): Promise<Scene> {
  const top = fs.mkdtempSync(join(os.tmpdir(), 'opencbr-check-'))
  t.after(() => fs.rmSync(top, { recursive: true, force: true }))
  const folder = join(top, 'repository')
  return {
    top, folder,
    async open() {
      const repository = await openRepository(localStorage(folder), { password: PASSWORD })
      t.after(() => repository[Symbol.asyncDispose]())
      await repository.loadIndex()
      return repository
    },
  }
}

interface ManyPacks extends Scene {
  readonly snapshotId: SnapshotId
  /** Where each file's only piece lies; the names are `folder N/file N`. */
  readonly packOf: ReadonlyMap<string, PackId>
}

let template: Promise<Omit<ManyPacks, 'open'>> | undefined
after(async () => {
  if (template !== undefined) fs.rmSync((await template).top, { recursive: true })
})

/** A repository in which every file has a pack of its own; made once and copied for every test. */
async function makeManyPacks(t: TestContext): Promise<ManyPacks> {
  template ??= makeTemplate()
  const { folder, snapshotId, packOf } = await template
  const scene = await makeScene(t)
  fs.cpSync(folder, scene.folder, { recursive: true })
  return { ...scene, snapshotId, packOf }
}

async function makeTemplate(): Promise<Omit<ManyPacks, 'open'>> {
  const top = fs.mkdtempSync(join(os.tmpdir(), 'opencbr-check-template-'))
  const storage = localStorage(join(top, 'repository'))
  await initRepository(storage, { password: PASSWORD, kdf: kdfForRandomPassword })
  await using repository = await openRepository(storage, { password: PASSWORD })
  await repository.loadIndex()
  const packOf = new Map<string, PackId>()
  const nodes: HandmadeNode[] = []
  for (let folder = 0; folder < 10; folder += 1) {
    const inFolder: HandmadeNode[] = []
    for (let number = 0; number < FILES / 10; number += 1) {
      const node = await fileNode(repository, `file ${number}`, pseudoRandomBytes(2000 + 100 * number, folder * 100 + number))
      await repository.flush()
      const [id] = node['content'] as Parameters<Repository['locate']>[1][]
      const location = id === undefined ? undefined : repository.locate('data', id)
      assert.ok(location !== undefined)
      packOf.set(`folder ${folder}/file ${number}`, location.packId)
      inFolder.push(node)
    }
    nodes.push(await directoryNode(repository, `folder ${folder}`, inFolder.toSorted((a, b) => (a.name < b.name ? -1 : 1))))
  }
  return { top, folder: join(top, 'repository'), snapshotId: await saveHandmadeSnapshot(repository, nodes), packOf }
}

function packPath(folder: string, id: PackId): string {
  return join(folder, 'data', id.slice(0, 2), id)
}

/** Changes a stored file, which is read-only. */
function tamper(path: string, change: (bytes: Buffer) => Buffer): void {
  const bytes = change(fs.readFileSync(path))
  fs.chmodSync(path, 0o600)
  fs.writeFileSync(path, bytes)
}

function flipBit(path: string, bit: number): void {
  tamper(path, (bytes) => {
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    return bytes
  })
}

function codesOf(findings: readonly CheckFinding[]): string[] {
  return [...new Set(findings.map(({ code }) => code))].sort()
}

function packIdsOf(repository: Repository): Set<PackId> {
  return new Set([...repository.indexedPacks()].map(({ id }) => id))
}

function pathsOf(findings: readonly CheckFinding[]): string[] {
  return findings.flatMap(({ path }) => (path === undefined ? [] : [path])).sort()
}

async function checkAll(repository: Repository): Promise<CheckResult> {
  return await checkRepository(repository, { level: 'data' })
}

for (const binary of resticBinaries()) {
  for (const version of ['1', '2']) {
    test(`a version ${version} repository by restic ${resticVersion(binary)} is found clean`, async (t) => {
      const scene = await makeScene(t)
      const source = join(scene.top, 'source')
      fs.mkdirSync(source)
      await makeNastyTree(Buffer.from(source))
      const stock = restic(binary, scene.folder, PASSWORD)
      stock.run('init', '--repository-version', version)
      stock.run('backup', source)
      fs.writeFileSync(join(source, 'another'), 'file')
      stock.run('backup', source)
      const repository = await scene.open()
      const result = await checkAll(repository)
      assert.deepEqual(result.findings, [])
      assert.ok(result.whole)
      assert.equal(result.snapshots, 2)
      assert.equal(result.packsRead, result.packs)
      const [newest] = (await repository.listSnapshots()).toReversed()
      assert.ok(newest !== undefined)
      const verified = await verifySnapshot(repository, newest.id, { readData: true })
      assert.ok(verified.whole && verified.blobs > 100 && verified.bytesRead > 10_000_000)
    })
  }
}

test('a hundred random bit flips are all found, and name exactly the files they cost; the others are restored', async (t) => {
  const scene = await makeManyPacks(t)
  const repository = await scene.open()
  const flipped = new Set<string>()
  const lost = new Set<string>()
  const random = pseudoRandomBytes(4 * 200, 4711)
  const paths = [...scene.packOf.keys()]
  for (let flip = 0; flip < 100; flip += 1) {
    // Every pack but the last twenty is chosen now and then; two flips never meet in one bit.
    const path = paths[random.readUInt16LE(4 * flip) % (FILES - 20)]
    const packId = path === undefined ? undefined : scene.packOf.get(path)
    assert.ok(path !== undefined && packId !== undefined)
    const file = packPath(scene.folder, packId)
    const bits = fs.statSync(file).size * 8
    const bit = Math.floor((random.readUInt16LE(4 * flip + 2) * bits) / 65_536)
    assert.ok(!flipped.has(`${packId} ${bit}`), 'the seed makes every flip another one')
    flipped.add(`${packId} ${bit}`)
    flipBit(file, bit)
    const [blob] = [...repository.indexedPacks()].filter(({ id }) => id === packId).map(({ blobs }) => blobs[0])
    assert.ok(blob !== undefined)
    if (bit < blob.length * 8) lost.add(path)
  }
  const flippedPacks = [...new Set([...flipped].map((flip) => flip.split(' ')[0] ?? ''))].sort()
  assert.ok(flippedPacks.length > 40 && lost.size < FILES)

  const result = await checkAll(repository)
  assert.ok(!result.whole)
  const damagedPacks = result.findings.flatMap(({ code, packId }) => (code === 'pack.damaged' && packId !== undefined ? [packId] : []))
  assert.deepEqual(damagedPacks.sort(), flippedPacks)
  const expectedPaths = [...lost].map((path) => `/source/${path}`).sort()
  assert.deepEqual(pathsOf(result.findings), expectedPaths)
  assert.ok(result.findings.every(({ snapshotId, path }) => path === undefined || snapshotId === scene.snapshotId))

  const verified = await verifySnapshot(repository, scene.snapshotId, { readData: true })
  assert.deepEqual(pathsOf(verified.findings), expectedPaths)
  assert.deepEqual(codesOf(verified.findings), ['blob.damaged', 'file.damaged_content'])
  assert.ok(verified.findings.every(({ packId }) => packId === undefined || flippedPacks.includes(packId)))
  assert.ok((await verifySnapshot(repository, scene.snapshotId, { readData: false })).whole, 'only reading finds flipped bits')

  const destination = join(scene.top, 'destination')
  const restored = await restoreTree(repository, { snapshotId: scene.snapshotId, sourcePath: '/source', destination, allowedRoots: [scene.top] })
  assert.deepEqual(restored.warnings.map(({ path, code }) => `${code} ${path}`).sort(), [...lost].map((path) => `content.damaged ${path}`).sort())
  assert.ok(!restored.whole)
  for (const [index, path] of paths.entries()) {
    const folder = Math.floor(index / (FILES / 10))
    const number = index % (FILES / 10)
    if (lost.has(path)) assert.ok(!fs.existsSync(join(destination, path)), `${path} is lost and must not be made up`)
    else assert.ok(fs.readFileSync(join(destination, path)).equals(pseudoRandomBytes(2000 + 100 * number, folder * 100 + number)), path)
  }
})

test('a flipped bit in a directory is named, and costs only that directory', async (t) => {
  const scene = await makeManyPacks(t)
  const repository = await scene.open()
  const directory = { name: '', packId: '' as PackId, offset: 0 }
  for (const pack of repository.indexedPacks()) {
    for (const blob of pack.blobs) {
      if (blob.type !== 'tree') continue
      const text = Buffer.from(await repository.loadBlob('tree', blob.id)).toString()
      // The second of the ten folders: the size of a file in it tells nothing, its content does.
      if (text.includes('"file 1"') && directory.name === '') Object.assign(directory, { name: 'found', packId: pack.id, offset: blob.offset + 40 })
    }
  }
  flipBit(packPath(scene.folder, directory.packId), directory.offset * 8)
  const result = await checkAll(repository)
  const [finding, ...others] = result.findings.filter(({ path }) => path !== undefined)
  assert.deepEqual(others, [])
  assert.equal(finding?.code, 'directory.damaged')
  assert.match(finding.path ?? '', /^\/source\/folder \d$/)

  const destination = join(scene.top, 'destination')
  const restored = await restoreTree(repository, { snapshotId: scene.snapshotId, sourcePath: '/source', destination, allowedRoots: [scene.top] })
  assert.deepEqual(restored.warnings.map(({ path, code }) => `${code} /source/${path}`), [`directory.damaged ${finding.path}`])
  assert.equal(restored.files, FILES - FILES / 10)
})

test('missing, short and foreign packs are told apart, on every level', async (t) => {
  const scene = await makeManyPacks(t)
  const repository = await scene.open()
  const [missing, short, long] = ['folder 1/file 1', 'folder 2/file 2', 'folder 3/file 3'].map((path) => {
    const id = scene.packOf.get(path)
    assert.ok(id !== undefined)
    return { id, file: packPath(scene.folder, id) }
  })
  assert.ok(missing !== undefined && short !== undefined && long !== undefined)
  fs.unlinkSync(missing.file)
  tamper(short.file, (bytes) => bytes.subarray(0, 1000))
  tamper(long.file, (bytes) => Buffer.concat([bytes, Buffer.from('more')]))
  const foreign = 'ab'.repeat(32)
  fs.mkdirSync(join(scene.folder, 'data/ab'), { recursive: true })
  fs.writeFileSync(join(scene.folder, 'data/ab', foreign), 'nobody knows')
  fs.writeFileSync(join(scene.folder, 'data/ab/notes.txt'), 'no pack at all')

  const shallow = await checkRepository(repository, { level: 'index' })
  assert.deepEqual(shallow.findings.map(({ code, packId, severity }) => `${severity} ${code} ${packId}`).sort(), [
    `error pack.missing ${missing.id}`, `error pack.wrong_size ${short.id}`, `error pack.wrong_size ${long.id}`, `warning pack.unindexed ${foreign}`,
  ].sort())
  const structure = await checkRepository(repository, { level: 'structure' })
  assert.deepEqual(pathsOf(structure.findings), ['/source/folder 1/file 1', '/source/folder 2/file 2'])
  const data = await checkAll(repository)
  assert.deepEqual(pathsOf(data.findings), ['/source/folder 1/file 1', '/source/folder 2/file 2'])
  assert.ok(data.findings.some(({ code, packId }) => code === 'pack.damaged' && packId === long.id))
  const verified = await verifySnapshot(repository, scene.snapshotId, { readData: false })
  assert.deepEqual(verified.findings.map(({ code, path }) => `${code} ${path}`), [
    'file.missing_content /source/folder 1/file 1', 'file.missing_content /source/folder 2/file 2',
  ])
})

test('an index that has lost a file is not whole, and neither is a snapshot of it', async (t) => {
  const scene = await makeManyPacks(t)
  const indexes = fs.readdirSync(join(scene.folder, 'index')).map((name) => join(scene.folder, 'index', name))
  assert.ok(indexes.length > FILES)
  // The index of the directories names several blobs, that of a file one.
  const [smallest = ''] = indexes.toSorted((a, b) => fs.statSync(a).size - fs.statSync(b).size)
  const packs = packIdsOf(await scene.open())
  fs.unlinkSync(smallest)
  const repository = await scene.open()
  const left = packIdsOf(repository)
  const [forgotten] = packs.difference(left)
  const path = [...scene.packOf].find(([, id]) => id === forgotten)?.[0]
  assert.ok(path !== undefined)
  const result = await checkRepository(repository, { level: 'structure' })
  assert.deepEqual(result.findings.map(({ code, packId, path: place }) => [code, packId ?? place]), [
    ['pack.unindexed', forgotten], ['file.missing_content', `/source/${path}`],
  ])
})

test('damaged snapshot and index files are findings', async (t) => {
  const scene = await makeManyPacks(t)
  const repository = await scene.open()
  const snapshotFile = join(scene.folder, 'snapshots', scene.snapshotId)
  flipBit(snapshotFile, 1000)
  assert.deepEqual(codesOf((await checkRepository(repository, { level: 'structure' })).findings), ['snapshot.damaged'])
  assert.deepEqual(codesOf((await verifySnapshot(repository, scene.snapshotId, { readData: false })).findings), ['snapshot.damaged'])
  fs.unlinkSync(snapshotFile)
  await assert.rejects(verifySnapshot(repository, scene.snapshotId, { readData: false }), { code: 'snapshot.not_found' })
  flipBit(join(scene.folder, 'index', fs.readdirSync(join(scene.folder, 'index'))[3] ?? ''), 99)
  const result = await checkRepository(repository, { level: 'index' })
  assert.deepEqual(codesOf(result.findings), ['index.damaged'])
  assert.ok(!result.whole)
})

test('a blob that lies in two packs is good while one of them is', async (t) => {
  const scene = await makeScene(t)
  await initRepository(localStorage(scene.folder), { password: PASSWORD, kdf: kdfForRandomPassword })
  const [one, other] = [await scene.open(), await scene.open()]
  const content = pseudoRandomBytes(5000, 1)
  // Neither knows of what the other is about to store.
  const nodes = [await fileNode(one, 'file', content)]
  await fileNode(other, 'file', content)
  await other.flush()
  const snapshotId = await saveHandmadeSnapshot(one, nodes)
  const repository = await scene.open()
  const packs = [...repository.indexedPacks()].filter(({ blobs }) => blobs[0]?.type === 'data').map(({ id }) => packPath(scene.folder, id))
  assert.equal(packs.length, 2)
  const options = { snapshotId, sourcePath: '/source', allowedRoots: [scene.top] }
  for (const [index, pack] of packs.entries()) {
    const intact = fs.readFileSync(pack)
    flipBit(pack, 800)
    const result = await checkAll(repository)
    assert.deepEqual(codesOf(result.findings), ['blob.damaged', 'pack.damaged'])
    assert.ok((await verifySnapshot(repository, snapshotId, { readData: true })).whole)
    const destination = join(scene.top, `destination ${index}`)
    assert.ok((await restoreTree(repository, { ...options, destination })).whole)
    assert.ok(fs.readFileSync(join(destination, 'file')).equals(content))
    tamper(pack, () => intact)
  }
  for (const pack of packs) flipBit(pack, 800)
  assert.deepEqual(pathsOf((await checkAll(repository)).findings), ['/source/file'])
})

test('trees that no archiver writes are named', async (t) => {
  const scene = await makeScene(t)
  await initRepository(localStorage(scene.folder), { password: PASSWORD, kdf: kdfForRandomPassword })
  const repository = await scene.open()
  const file = await fileNode(repository, 'file', 'content')
  const snapshotId = await saveHandmadeSnapshot(repository, [
    await directoryNode(repository, 'a', [{ ...file, name: '..' }]),
    await directoryNode(repository, 'b', [file, file]),
    await directoryNode(repository, 'c', [{ ...file, name: 'z' }, file]),
    { ...file, name: 'd', size: 8 },
    { ...file, name: 'e', content: null },
    { ...file, name: 'f', content: ['0'.repeat(64)] },
    { ...file, name: 'g', type: 'irregular' },
    { name: 'h', type: 'dir' },
    { name: 'i', type: 'dir', subtree: '1'.repeat(64) },
  ])
  const result = await checkRepository(repository, { level: 'structure' })
  assert.deepEqual(result.findings.map(({ code, path }) => `${path} ${code}`).sort(), [
    '/source/a directory.malformed', '/source/b directory.malformed', '/source/c directory.unordered', '/source/d file.size_differs',
    '/source/e file.missing_content', '/source/f file.missing_content', '/source/g entry.unknown_type', '/source/h directory.missing',
    '/source/i directory.missing',
  ])
  assert.equal((await verifySnapshot(repository, snapshotId, { readData: true })).whole, false)
})

test('a sample reads the share of packs that was asked for', async (t) => {
  const scene = await makeManyPacks(t)
  const repository = await scene.open()
  let turn = 0
  const result = await checkRepository(repository, { level: 'data', samplePercent: 25, random: () => (turn++ % 4) / 4 })
  assert.equal(result.packsRead, Math.ceil(result.packs / 4))
  assert.ok(result.whole)
  assert.equal((await checkRepository(repository, { level: 'data', samplePercent: 0 })).packsRead, 0)
})

test('a check can be cancelled, and the stock program agrees that nothing was harmed', async (t) => {
  const scene = await makeManyPacks(t)
  const repository = await scene.open()
  for (const level of ['index', 'structure', 'data'] as const) {
    await assert.rejects(checkRepository(repository, { level, signal: AbortSignal.abort() }), { code: 'cancelled' })
  }
  const stop = new AbortController()
  await assert.rejects(checkRepository(repository, { level: 'data', signal: stop.signal, onProgress: () => stop.abort() }), { code: 'cancelled' })
  assert.deepEqual((await checkAll(repository)).findings, [])
  const [binary] = resticBinaries()
  assert.ok(binary !== undefined)
  restic(binary, scene.folder, PASSWORD).run('check', '--read-data')
})
