/**
 * Trees that we archive, judged by stock restic: it must find them whole, restore them as they were, write
 * the same trees itself, and take them for its own parents.
 */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { restoreTree, type ArchiveProgress, type BlobId, type Repository } from '@opencbr/engine'
import { decodeTree, encodeTree, type TreeNode } from '../packages/engine/src/format/tree.ts'
import { parseTreeTime } from '../packages/engine/src/format/tree-values.ts'
import { compareTrees } from './support/compare-trees.ts'
import { makeNastyTree } from './support/nasty-tree.ts'
import { restic, resticBinaries, resticVersion } from './support/restic.ts'
import { HOSTNAME, openScratchRepository, PASSWORD, scratchDirectory } from './support/scratch-repository.ts'

const binaries = resticBinaries().map((binary) => ({ binary, version: resticVersion(binary) }))

/** Releases before 0.16 know no link targets but text, and have neither `rewrite` nor `repair snapshots`. */
function isOld(version: string): boolean {
  return Number(version.split('.')[0]) === 0 && Number(version.split('.')[1]) < 16
}

/** What the restore of stock restic does not bring back, though it is in the snapshot. */
const lostByRestic = [/^"times\/year 2400": mtime is /, /^not one file any more: "links\/another name of a symbolic link" = "links\/loop-0"$/]
const lostByOldRestic = [/^"links\/loop-[78]": target is /, /: attributes is (?:instead of )?trusted\.of\.link=|: attributes is  instead of trusted\.of\.link=/]

async function nastySource(directory: string): Promise<string> {
  const source = join(directory, 'source')
  fs.mkdirSync(source)
  await makeNastyTree(Buffer.from(source))
  return source
}

test('restic finds a nasty tree whole, restores it as it was, and would change nothing about it', async (t) => {
  const directory = scratchDirectory(t)
  const source = await nastySource(directory)
  {
    await using ours = await openScratchRepository(join(directory, 'repository'))
    const result = await ours.archiveTree(source)
    assert.ok(result.whole)
    assert.deepEqual(result.warnings.map(({ code, path }) => [code, path]), [['socket', join(source, 'special/abandoned socket')]])
  }
  for (const { binary, version } of binaries) {
    const program = restic(binary, join(directory, 'repository'), PASSWORD)
    program.run('check', '--read-data')
    const listing = program.run('ls', 'latest').stdout.toString()
    assert.ok(listing.includes(`${source}/contents/sparse\n`), version)
    assert.equal(program.run('dump', 'latest', `${source}/deep/level 0/level 1`).exitCode, 0)
    const target = join(directory, `restored by ${version}`)
    program.run('restore', 'latest', '--target', target)
    const lost = isOld(version) ? [...lostByRestic, ...lostByOldRestic] : lostByRestic
    const differences = compareTrees(source, join(target, source)).filter((line) => !lost.some((pattern) => pattern.test(line)))
    assert.deepEqual(differences, [], version)
    fs.rmSync(target, { recursive: true })
    if (isOld(version)) continue
    for (const command of [['rewrite', '--exclude', 'nothing matches this', '--dry-run'], ['repair', 'snapshots', '--dry-run']]) {
      assert.match(program.run(...command).stdout.toString(), /no snapshots (would be |were )?modified/, `${version} ${command[0]}`)
    }
  }
})

test('we write the very trees that restic writes, and each takes the other for its parent', async (t) => {
  const directory = scratchDirectory(t)
  const source = await nastySource(directory)
  for (const { binary, version } of binaries) {
    await using ours = await openScratchRepository(join(directory, `repository of ${version}`))
    const program = ours.restic(binary)
    const theirs = JSON.parse(lastLine(program.run('backup', '--json', '--host', HOSTNAME, source).stdout)) as { snapshot_id: string }
    await ours.repository.loadIndex({ reload: true })
    const [stored] = await ours.repository.listSnapshots()
    assert.ok(stored !== undefined && stored.id.startsWith(theirs.snapshot_id))

    const result = await ours.archiveTree(source, { parent: stored.id })
    assert.equal(result.parent, stored.id)
    assert.equal(result.dataBytesAdded, 0)
    assert.equal(result.files.new + result.files.changed, 0)
    assert.ok(result.files.unmodified > 100)
    const differences: string[] = []
    const normalise = (path: string, node: TreeNode) => comparable(node, source.startsWith(`${path}/`), isOld(version))
    await compareSnapshotTrees(ours.repository, stored.snapshot.tree, result.treeId, normalise, '', differences)
    assert.deepEqual(differences, [], version)

    // Without a parent everything is read, and cut into the same chunks.
    const reread = await ours.archiveTree(source)
    assert.equal(await subtreeAt(ours.repository, reread.treeId, source), await subtreeAt(ours.repository, result.treeId, source))
    assert.equal(reread.dataBytesAdded, 0)
    assert.equal(reread.files.new, result.files.unmodified)

    const again = JSON.parse(lastLine(program.run('backup', '--json', '--host', HOSTNAME, source).stdout)) as Record<string, number>
    assert.deepEqual([again['files_unmodified'], again['files_changed'], again['files_new'], again['data_blobs']], [result.files.unmodified, 0, 0, 0])
    await ours.lock[Symbol.asyncDispose]()
    program.run('check', '--read-data')
  }
})

function lastLine(output: Buffer): string {
  return output.toString().trim().split('\n').at(-1) ?? ''
}

/** The tree of the directory at a path of a snapshot. */
async function subtreeAt(repository: Repository, root: BlobId, path: string): Promise<BlobId> {
  let id = root
  for (const name of path.split('/').slice(1)) {
    const node = decodeTree(await repository.loadBlob('tree', id)).find((candidate) => candidate.name.toString() === name)
    assert.ok(node?.subtree !== undefined, path)
    id = node.subtree
  }
  return id
}

type Normalise = (path: string, node: TreeNode) => TreeNode

/** Collects the nodes that differ in two snapshots. */
async function compareSnapshotTrees(
  repository: Repository, expectedId: BlobId, actualId: BlobId, normalise: Normalise, directory: string, differences: string[],
): Promise<void> {
  const expected = decodeTree(await repository.loadBlob('tree', expectedId))
  const actual = decodeTree(await repository.loadBlob('tree', actualId))
  assert.deepEqual(actual.map(({ name }) => name.toString('latin1')), expected.map(({ name }) => name.toString('latin1')), directory)
  for (const [index, node] of actual.entries()) {
    const other = expected[index]
    assert.ok(other !== undefined)
    const path = `${directory}/${node.name.toString()}`
    const text = encodeTree([normalise(path, node)]).toString()
    const otherText = encodeTree([normalise(path, other)]).toString()
    if (text !== otherText) differences.push(`${path}: ${text} instead of ${otherText}`)
    if (node.subtree !== undefined && other.subtree !== undefined) {
      await compareSnapshotTrees(repository, other.subtree, node.subtree, normalise, path, differences)
    }
  }
}

/**
 * A node without what may differ: the device of files with one name, which restic writes and we do not,
 * because it changes with every start of some machines; the zone of times; times of directories
 * above the source, which others change; and what old releases do not know.
 */
function comparable(node: TreeNode, isAncestor: boolean, isFromOld: boolean): TreeNode {
  const time = (text: string) => (isAncestor ? '' : String(parseTreeTime(text)))
  const isLink = node.type === 'symlink'
  return {
    ...node,
    subtree: undefined,
    deviceId: node.links > 1n ? node.deviceId : 0n,
    mtime: time(node.mtime),
    atime: time(node.atime),
    ctime: time(node.ctime),
    linkTarget: isFromOld ? Buffer.from(node.linkTarget.toString()) : node.linkTarget,
    extendedAttributes: isFromOld && isLink ? [] : node.extendedAttributes,
  }
}

test('every tree that a restic wrote is written the same by our encoder', async (t) => {
  const directory = scratchDirectory(t)
  const source = await nastySource(directory)
  for (const { binary, version } of binaries) {
    await using ours = await openScratchRepository(join(directory, `repository of ${version}`))
    ours.restic(binary).run('backup', source)
    await ours.repository.loadIndex({ reload: true })
    let trees = 0
    for (const pack of ours.repository.indexedPacks()) {
      for (const { type, id } of pack.blobs) {
        if (type !== 'tree') continue
        trees += 1
        const bytes = Buffer.from(await ours.repository.loadBlob('tree', id))
        assert.equal(encodeTree(decodeTree(bytes)).toString(), isOld(version) ? inNewDialect(bytes.toString()) : bytes.toString(), version)
      }
    }
    assert.ok(trees > 100)
  }
})

/** What Go encoders older than 1.22, and restic before 0.16, write in another way. */
function inNewDialect(text: string): string {
  return text
    .replaceAll('"linktarget":"back\\u0008\\u000c', '"linktarget":"back\\b\\f')
    .replaceAll('newer emoji\\\\U0001fae0', 'newer emoji\u{1fae0}')
    // The bytes of these targets are lost; what is left are characters, no longer escapes.
    .replaceAll(/"linktarget":"[^"]*\\ufffd(?:[^"\\]|\\.)*"/g, (target) => target.replaceAll('\\ufffd', '\ufffd').replaceAll('\\u0008', '\\b'))
}

test('a tree that we archived is restored by us as it was, to the last attribute', async (t) => {
  const directory = scratchDirectory(t)
  const source = await nastySource(directory)
  await using ours = await openScratchRepository(join(directory, 'repository'))
  const { snapshotId } = await ours.archiveTree(source)
  const destination = join(directory, 'restored')
  const result = await restoreTree(ours.repository, { snapshotId, sourcePath: source, destination, allowedRoots: [directory] })
  assert.ok(result.whole)
  // Only root may set what the attributes of a foreign owner need.
  if (process.getuid?.() === 0) assert.deepEqual(result.warnings, [])
  assert.deepEqual(compareTrees(source, destination), [])
})

test('a cancelled run leaves a repository that restic finds in order', async (t) => {
  const directory = scratchDirectory(t)
  const source = await nastySource(directory)
  await using ours = await openScratchRepository(join(directory, 'repository'))
  for (const bytes of [0, 3, 9, 30].map((mebibytes) => mebibytes << 20)) {
    const cancelling = new AbortController()
    const onProgress = ({ bytesDone }: ArchiveProgress) => {
      if (bytesDone >= bytes) cancelling.abort()
    }
    await assert.rejects(ours.archiveTree(source, { signal: cancelling.signal, onProgress }), { code: 'cancelled' })
  }
  await ours.lock[Symbol.asyncDispose]()
  for (const { binary } of binaries) {
    ours.restic(binary).run('check', '--read-data')
    assert.equal(ours.restic(binary).run('snapshots', '--json').stdout.toString().trim(), '[]')
  }
})
