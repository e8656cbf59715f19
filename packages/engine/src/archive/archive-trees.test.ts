import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { memoryStorage } from '@opencbr/storage'
import { decodeTree, type TreeNode } from '../format/tree.ts'
import { initRepository } from '../repository/init-repository.ts'
import { openRepository } from '../repository/unlock-repository.ts'
import type { Repository } from '../repository/repository.ts'
import type { BlobId } from '../repository/types.ts'
import { archiveTree } from './archive-tree.ts'
import { archiveTrees, type ArchiveTreesOptions } from './archive-trees.ts'
import { INCOMPLETE_TAG } from './archive-result.ts'

async function open(t: TestContext): Promise<{ root: string, repository: Repository }> {
  const root = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'opencbr-trees-')))
  t.after(() => fs.rmSync(root, { recursive: true, force: true }))
  const storage = memoryStorage()
  await initRepository(storage, { password: 'x', kdf: { N: 2, r: 1, p: 1 } })
  const repository = await openRepository(storage, { password: 'x' })
  t.after(() => repository[Symbol.asyncDispose]())
  return { root, repository }
}

function write(root: string, path: string, content: string): void {
  fs.mkdirSync(join(root, path, '..'), { recursive: true })
  fs.writeFileSync(join(root, path), content)
}

async function run(repository: Repository, options: Partial<ArchiveTreesOptions> & Pick<ArchiveTreesOptions, 'directories'>) {
  await using lock = await repository.lock({ exclusive: false, settleMs: 0 })
  return await archiveTrees(repository, lock, { hostname: 'host', tags: ['a'], time: new Date(0), ...options })
}

/** What stands at an absolute path of a snapshot's tree. */
async function findNode(repository: Repository, tree: BlobId, path: string): Promise<TreeNode | undefined> {
  let subtree: BlobId | undefined = tree
  let node: TreeNode | undefined
  for (const name of path.split('/').slice(1)) {
    const nodes: TreeNode[] = subtree === undefined ? [] : decodeTree(await repository.loadBlob('tree', subtree))
    node = nodes.find((each) => each.name.toString() === name)
    subtree = node?.subtree
  }
  return node
}

/** The paths of all entries of a snapshot's tree below a directory. */
async function listPaths(repository: Repository, tree: BlobId, below: string): Promise<string[]> {
  const paths: string[] = []
  const visit = async (id: BlobId, path: string): Promise<void> => {
    for (const node of decodeTree(await repository.loadBlob('tree', id)) as TreeNode[]) {
      const inside = `${path}/${node.name.toString()}`
      if (inside.startsWith(`${below}/`)) paths.push(inside.slice(below.length + 1))
      if (node.subtree !== undefined && node.subtree !== null) await visit(node.subtree, inside)
    }
  }
  await visit(tree, '')
  return paths
}

test('several directories stand in one snapshot, each at its path, and nothing else does', async (t) => {
  const { root, repository } = await open(t)
  for (const path of ['b/data/1', 'b/data/deep/2', 'a/etc/3', 'a/other/4', 'c/5']) write(root, path, path)
  const made = await run(repository, { directories: ['b/data', 'a/etc', 'b/data/deep', 'c'].map((path) => ({ path: join(root, path) })) })
  assert.equal(made.whole, true)
  assert.equal(made.files.new, 4)
  assert.deepEqual(await listPaths(repository, made.treeId, root), ['a', 'a/etc', 'a/etc/3', 'b', 'b/data', 'b/data/1', 'b/data/deep', 'b/data/deep/2', 'c', 'c/5'])
  const snapshot = await repository.findSnapshot(made.snapshotId)
  assert.deepEqual(snapshot?.paths.toSorted(), ['a/etc', 'b/data', 'c'].map((path) => join(root, path)))
  // Nothing has changed, so the very same tree is there already; above it lie directories that others change.
  const again = await run(repository, { parent: made.snapshotId, directories: ['b/data', 'a/etc', 'c'].map((path) => ({ path: join(root, path) })) })
  assert.deepEqual([again.files.unmodified, again.dataBlobs], [4, 0])
  assert.equal((await findNode(repository, again.treeId, root))?.subtree, (await findNode(repository, made.treeId, root))?.subtree)
})

test('one directory gives the same tree as archiving it alone', async (t) => {
  const { root, repository } = await open(t)
  write(root, 'one/two/3', 'x')
  const several = await run(repository, { directories: [{ path: join(root, 'one') }, { path: join(root, 'one/') }] })
  await using lock = await repository.lock({ exclusive: false, settleMs: 0 })
  const alone = await archiveTree(repository, lock, { path: join(root, 'one'), hostname: 'host', tags: [], time: new Date(0) })
  const node = await findNode(repository, alone.treeId, join(root, 'one'))
  assert.ok(node?.subtree !== undefined)
  // Not the whole trees: the times of the directories above are anybody's.
  assert.deepEqual(await findNode(repository, several.treeId, join(root, 'one')), node)
  assert.deepEqual(await listPaths(repository, several.treeId, root), await listPaths(repository, alone.treeId, root))
})

test('a directory that came, one that went and patterns of single ones', async (t) => {
  const { root, repository } = await open(t)
  for (const path of ['a/1', 'b/keep', 'b/tmp/x', 'c/tmp/y']) write(root, path, path)
  const first = await run(repository, { directories: [{ path: join(root, 'a') }, { path: join(root, 'c') }] })
  const second = await run(repository, {
    parent: first.snapshotId, directories: [{ path: join(root, 'c') }, { path: join(root, 'b'), excludes: ['/tmp/'] }],
  })
  assert.deepEqual(await listPaths(repository, second.treeId, root), ['b', 'b/keep', 'c', 'c/tmp', 'c/tmp/y'])
  assert.deepEqual([second.files.unmodified, second.files.new], [1, 1])
})

test('a directory that is not there makes the snapshot incomplete, and without any there is none', async (t) => {
  const { root, repository } = await open(t)
  write(root, 'a/1', 'x')
  const made = await run(repository, { directories: [{ path: join(root, 'gone/deep') }, { path: join(root, 'a') }] })
  assert.equal(made.whole, false)
  assert.deepEqual(made.warnings.map((warning) => warning.path), [join(root, 'gone/deep')])
  assert.ok((await repository.findSnapshot(made.snapshotId))?.tags?.includes(INCOMPLETE_TAG))
  assert.deepEqual(await listPaths(repository, made.treeId, root), ['a', 'a/1'])
  await assert.rejects(run(repository, { directories: [{ path: join(root, 'gone') }] }), (error: { code?: string }) => error.code === 'source.missing')
  await assert.rejects(async () => run(repository, { directories: [] }), (error: { code?: string }) => error.code === 'source.missing')
})
