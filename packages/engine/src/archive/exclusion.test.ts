import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { memoryStorage } from '@opencbr/storage'
import { decodeTree } from '../format/tree.ts'
import { makeNode, S_IFIFO } from '../posix/posix.ts'
import { initRepository } from '../repository/init-repository.ts'
import { openRepository } from '../repository/unlock-repository.ts'
import type { Repository } from '../repository/repository.ts'
import type { BlobId, SnapshotId } from '../repository/types.ts'
import { archiveTree, type ArchiveTreeOptions } from './archive-tree.ts'
import { Exclusion } from './exclusion.ts'

const TAG = 'Signature: 8a477f597d28d172789f06886806bc55\n# A cache.\n'

/** A directory with these files, whose content is their path unless another is given. */
function makeSource(t: TestContext, files: readonly string[], contents: Readonly<Record<string, string>> = {}): string {
  const directory = fs.mkdtempSync(join(tmpdir(), 'opencbr-exclusion-'))
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }))
  for (const file of files) {
    fs.mkdirSync(join(directory, dirname(file)), { recursive: true })
    fs.writeFileSync(join(directory, file), contents[file] ?? file)
  }
  return directory
}

async function openMemory(t: TestContext): Promise<Repository> {
  const storage = memoryStorage()
  await initRepository(storage, { password: 'x', kdf: { N: 2, r: 1, p: 1 } })
  const repository = await openRepository(storage, { password: 'x' })
  t.after(() => repository[Symbol.asyncDispose]())
  return repository
}

async function archive(repository: Repository, path: string, options: Partial<ArchiveTreeOptions>) {
  await using lock = await repository.lock({ exclusive: false, settleMs: 0 })
  const result = await archiveTree(repository, lock, { path, hostname: 'host', tags: [], time: new Date(0), ...options })
  const prefix = `${path}/`
  const kept = (await listFiles(repository, result.treeId, '/')).map((file) => file.slice(prefix.length))
  return { result, kept, skipped: result.skipped.map((entry) => ({ ...entry, path: entry.path.slice(prefix.length) })) }
}

/** Everything in a snapshot but the directories that hold something. */
async function listFiles(repository: Repository, treeId: BlobId, prefix: string): Promise<string[]> {
  const nodes = decodeTree(await repository.loadBlob('tree', treeId))
  if (nodes.length === 0) return [prefix]
  const files = await Promise.all(nodes.map(async (node) => {
    const path = prefix + node.name.toString()
    return node.subtree === undefined ? [path] : listFiles(repository, node.subtree, `${path}/`)
  }))
  return files.flat()
}

test('patterns leave out what a .gitignore would, and the result says what and why', async (t) => {
  const files = [
    'a.log', 'Keep.LOG', 'important.log', 'build/out', 'src/build/out', 'src/main.c', 'docs/build', 'deep/x/y/z.tmp', 'deep/z.tmp', 'top.tmp',
    '#hash', 'sp ace', 'b.[0]', 'cache/a', 'cache/keep', 'kept/only', 'dropped/again',
  ]
  const source = makeSource(t, files)
  const repository = await openMemory(t)
  const excludes = [
    '*.log', '!important.log', '# a comment', '', 'build/', '/top.tmp', 'deep/**/z.tmp', '\\#hash', 'sp ace', 'b.\\[0\\]', 'cache/*', '!cache/keep',
    'dropped', '!dropped/again',
  ]
  const { result, kept, skipped } = await archive(repository, source, { excludes })
  assert.deepEqual(kept, ['Keep.LOG', 'cache/keep', 'deep/x/y/', 'docs/build', 'important.log', 'kept/only', 'src/main.c'])
  assert.deepEqual(skipped, [
    { path: '#hash', reason: 'pattern', pattern: '\\#hash' },
    { path: 'a.log', reason: 'pattern', pattern: '*.log' },
    { path: 'b.[0]', reason: 'pattern', pattern: 'b.\\[0\\]' },
    { path: 'build', reason: 'pattern', pattern: 'build/' },
    { path: 'cache/a', reason: 'pattern', pattern: 'cache/*' },
    { path: 'deep/x/y/z.tmp', reason: 'pattern', pattern: 'deep/**/z.tmp' },
    { path: 'deep/z.tmp', reason: 'pattern', pattern: 'deep/**/z.tmp' },
    { path: 'dropped', reason: 'pattern', pattern: 'dropped' },
    { path: 'sp ace', reason: 'pattern', pattern: 'sp ace' },
    { path: 'src/build', reason: 'pattern', pattern: 'build/' },
    { path: 'top.tmp', reason: 'pattern', pattern: '/top.tmp' },
  ])
  assert.equal(result.skippedCount, skipped.length)
  assert.ok(result.whole)
  assert.deepEqual(result.files, { new: 6, changed: 0, unmodified: 0 })
  assert.deepEqual((await repository.findSnapshot(result.snapshotId))?.excludes, excludes)
})

test('other excludes than those of the parent take effect, and the rest is still compared with it', async (t) => {
  const source = makeSource(t, ['a/1', 'a/2', 'b/1', 'c'])
  const repository = await openMemory(t)
  let parent: SnapshotId | undefined
  const runs: [excludes: string[], kept: string[], unmodified: number][] = [
    [['b'], ['a/1', 'a/2', 'c'], 0], [['1'], ['a/2', 'b/', 'c'], 2], [[], ['a/1', 'a/2', 'b/1', 'c'], 2], [['/c'], ['a/1', 'a/2', 'b/1'], 3],
  ]
  for (const [excludes, expected, unmodified] of runs) {
    const { result, kept } = await archive(repository, source, { excludes, parent })
    assert.deepEqual(kept, expected)
    assert.equal(result.files.unmodified, unmodified)
    parent = result.snapshotId
  }
})

test('only valid tags make caches, of which nothing but the tag is kept', async (t) => {
  const files = ['cache/CACHEDIR.TAG', 'cache/a', 'cache/deep/b', 'wrong/CACHEDIR.TAG', 'wrong/a', 'short/CACHEDIR.TAG', 'short/a', 'link/a', 'fifo/a', 'x']
  const source = makeSource(t, files, { 'cache/CACHEDIR.TAG': TAG, 'wrong/CACHEDIR.TAG': TAG.replace('8', '9'), 'short/CACHEDIR.TAG': 'Signature' })
  fs.symlinkSync('../cache/CACHEDIR.TAG', join(source, 'link', 'CACHEDIR.TAG'))
  makeNode(Buffer.from(join(source, 'fifo', 'CACHEDIR.TAG')), S_IFIFO | 0o600, 0n)
  const repository = await openMemory(t)
  const { kept, skipped } = await archive(repository, source, { excludeCaches: true })
  assert.deepEqual(kept, [
    'cache/CACHEDIR.TAG', 'fifo/CACHEDIR.TAG', 'fifo/a', 'link/CACHEDIR.TAG', 'link/a', 'short/CACHEDIR.TAG', 'short/a', 'wrong/CACHEDIR.TAG', 'wrong/a', 'x',
  ])
  assert.deepEqual(skipped, [{ path: 'cache', reason: 'cache' }])
  assert.equal((await archive(repository, source, {})).kept.length, kept.length + 2)
})

test('what is skipped is counted without end, and named up to a thousand', async (t) => {
  const source = makeSource(t, Array.from({ length: 1100 }, (_, number) => `${number}.tmp`))
  const { result } = await archive(await openMemory(t), source, { excludes: ['*.tmp'] })
  assert.deepEqual([result.skipped.length, result.skippedCount], [1000, 1100])
})

test('patterns answer the same however often they were asked', async () => {
  const exclusion = await Exclusion.parse(['*.log', '!a1*.log', 'd/'])
  assert.ok(exclusion !== undefined)
  for (let number = 0; number < 25_000; number += 1) {
    const pattern = exclusion.findPattern(`x/a${number}.log`, false)
    assert.equal(pattern, String(number).startsWith('1') ? undefined : '*.log')
  }
  assert.deepEqual([exclusion.findPattern('x/d', true), exclusion.findPattern('x/d', false)], ['d/', undefined])
})
