/**
 * Repositories that change hands: what we wrote is read, tagged, thinned out and continued by stock
 * restic, what it wrote is checked, restored, continued and pruned by us, in both versions of the
 * format. Whoever continues finds the other's data and stores nothing twice.
 */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { checkRepository, openRepository, planPrune, restoreTree, runPrune, type SnapshotId } from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { compareTrees } from './support/compare-trees.ts'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries, resticVersion, type Restic } from './support/restic.ts'
import { openScratchRepository, PASSWORD, scratchDirectory } from './support/scratch-repository.ts'

function makeSource(source: string): void {
  fs.mkdirSync(join(source, 'folder/sub'), { recursive: true })
  fs.writeFileSync(join(source, 'text'), 'a line of text\n'.repeat(5000))
  fs.writeFileSync(join(source, 'folder/chunks'), pseudoRandomBytes(5_000_000, 3))
  fs.writeFileSync(join(source, 'folder/sub/quo"te\\\u2028\u00ad'), 'odd name')
  fs.writeFileSync(Buffer.concat([Buffer.from(`${source}/`), Uint8Array.of(0xff, 0x41)]), 'no text')
  fs.writeFileSync(join(source, 'empty'), '')
  fs.symlinkSync('folder/chunks', join(source, 'link'))
  fs.linkSync(join(source, 'text'), join(source, 'folder/same text'))
}

interface Listed {
  readonly id: SnapshotId
  readonly tree: string
  readonly original?: SnapshotId
  readonly tags?: readonly string[]
}

function list(judge: Restic): Listed[] {
  return JSON.parse(judge.run('snapshots', '--json').stdout.toString()) as Listed[]
}

/** Only what a run has stored, as restic counts it. */
function newDataBlobs(judge: Restic, ...commandLine: string[]): number {
  const lines = judge.run('backup', '--json', ...commandLine).stdout.toString().trim().split('\n')
  const summary = JSON.parse(lines.at(-1) ?? '') as { data_blobs: number }
  return summary.data_blobs
}

async function assertClean(path: string): Promise<void> {
  await using repository = await openRepository(localStorage(path), { password: PASSWORD })
  assert.deepEqual((await checkRepository(repository, { level: 'data' })).findings, [])
}

async function restoreHere(path: string, snapshotId: SnapshotId, sourcePath: string, directory: string): Promise<void> {
  await using repository = await openRepository(localStorage(path), { password: PASSWORD })
  const destination = join(fs.mkdtempSync(join(directory, 'ours-')), 'target')
  await repository.loadIndex()
  assert.ok((await restoreTree(repository, { snapshotId, sourcePath, destination, allowedRoots: [directory] })).whole)
  assert.deepEqual(compareTrees(sourcePath, destination), [])
}

for (const binary of resticBinaries()) {
  const version = resticVersion(binary)

  test(`restic ${version} shows, tags, continues and thins out what we wrote`, async (t) => {
    const directory = scratchDirectory(t)
    const [path, source] = [join(directory, 'repository'), join(directory, 'source')]
    makeSource(source)
    const first = await (async () => {
      await using ours = await openScratchRepository(path)
      return await ours.archiveTree(source)
    })()
    const stock = restic(binary, path, PASSWORD)
    const named = stock.run('ls', 'latest').stdout.toString()
    for (const name of ['text', 'folder/chunks', 'empty', 'link', 'folder/same text']) assert.ok(named.includes(`${source}/${name}\n`), name)
    assert.ok(stock.run('dump', 'latest', join(source, 'folder/chunks')).stdout.equals(pseudoRandomBytes(5_000_000, 3)))

    stock.run('tag', '--add', 'seen')
    const [tagged] = list(stock)
    assert.ok(tagged !== undefined && tagged.id !== first.snapshotId)
    assert.deepEqual([tagged.original, tagged.tree], [first.snapshotId, first.treeId])
    await restoreHere(path, tagged.id, source, directory)

    // Rewriting and repairing came with later versions; they must have nothing to do.
    for (const commandLine of [['rewrite', '--dry-run', '--exclude', 'nothing of this name'], ['repair', 'snapshots', '--dry-run']]) {
      const attempt = stock.attempt(...commandLine)
      if (/unknown command/.test(attempt.stderr)) {
        assert.match(version, /^0\.14\./)
        continue
      }
      assert.equal(attempt.exitCode, 0, attempt.stderr)
      assert.match(attempt.stdout.toString(), /(?:would modify|modified|would have modified) 0 snapshots|no snapshots? (?:were|would be) modified|not modified/i)
    }

    assert.equal(newDataBlobs(stock, source), 0)
    stock.run('forget', tagged.id, '--prune')
    stock.run('check', '--read-data')
    const [left, ...others] = list(stock)
    assert.ok(left !== undefined && others.length === 0)
    await assertClean(path)
    await restoreHere(path, left.id, source, directory)
  })

  for (const format of ['1', '2']) {
    test(`we check, restore, continue and prune what restic ${version} wrote in version ${format}`, async (t) => {
      const directory = scratchDirectory(t)
      const [path, source] = [join(directory, 'repository'), join(directory, 'source')]
      makeSource(source)
      const stock = restic(binary, path, PASSWORD)
      stock.run('init', '--repository-version', format)
      stock.run('backup', source)
      await assertClean(path)
      const [theirs] = list(stock)
      assert.ok(theirs !== undefined)
      await restoreHere(path, theirs.id, source, directory)

      const again = await (async () => {
        await using ours = await openScratchRepository(path)
        const unchanged = await ours.archiveTree(source)
        assert.deepEqual([unchanged.dataBlobs, unchanged.whole], [0, true])
        fs.writeFileSync(join(source, 'folder/added'), pseudoRandomBytes(100_000, 9))
        return await ours.archiveTree(source)
      })()
      assert.equal(again.dataBlobs, 1)
      stock.run('check', '--read-data')
      {
        await using repository = await openRepository(localStorage(path), { password: PASSWORD })
        const takeLock = (exclusive: boolean) => repository.lock({ exclusive, settleMs: 0 })
        {
          await using lock = await takeLock(true)
          await repository.forgetSnapshots([theirs.id], lock)
        }
        await runPrune(repository, takeLock, await planPrune(repository, { maxUnusedPercent: 0 }))
      }
      stock.run('check', '--read-data')
      await assertClean(path)
      const target = join(directory, 'theirs')
      stock.run('restore', again.snapshotId, '--target', target)
      assert.deepEqual(compareTrees(source, join(target, source)), [])
      // The other takes over what is left, and has nothing new to store.
      assert.equal(newDataBlobs(stock, source), 0)
    })
  }
}
