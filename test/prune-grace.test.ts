/**
 * Packs in their grace, beside stock restic: it finds the repository whole at every moment, though what was
 * copied lies there twice and is indexed twice, and its own prune in between does no harm.
 */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { initRepository, kdfForRandomPassword, openRepository, planPrune, runPrune, type PruneResult } from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries, resticVersion, type Restic } from './support/restic.ts'
import { PASSWORD, scratchDirectory } from './support/scratch-repository.ts'

const graceMs = 24 * 3600_000
const binaries = resticBinaries().map((binary) => ({ binary, version: resticVersion(binary) }))

async function prune(path: string): Promise<PruneResult> {
  await using repository = await openRepository(localStorage(path), { password: PASSWORD })
  const takeLock = (exclusive: boolean) => repository.lock({ exclusive, settleMs: 0 })
  return await runPrune(repository, takeLock, await planPrune(repository, { maxUnusedPercent: 0 }), { graceMs })
}

const marksIn = (path: string) => fs.readdirSync(join(path, 'opencbr-tombstones')).map((name) => join(path, 'opencbr-tombstones', name))

/** Lets the grace pass: the marks are as old as their files. */
function age(path: string): void {
  const then = (Date.now() - graceMs - 60_000) / 1000
  for (const mark of marksIn(path)) fs.utimesSync(mark, then, then)
}

/** Forgets every snapshot that does not carry the tag. */
function forgetAllBut(stock: Restic, tag: string): void {
  const snapshots = JSON.parse(stock.run('snapshots', '--json').stdout.toString()) as { id: string, tags?: string[] }[]
  stock.run('forget', ...snapshots.filter(({ tags = [] }) => !tags.includes(tag)).map(({ id }) => id))
}

const contentsOf = (folder: string) => Object.fromEntries(fs.readdirSync(folder).map((name) => [name, fs.readFileSync(join(folder, name)).toString('latin1')]))

interface Scene {
  readonly path: string
  readonly stock: Restic
  readonly folder: string
  readonly judgeAll: () => void
}

/** Three snapshots that share half of their files, and the second of them alone is kept. */
async function makeScene(t: TestContext, binary: string): Promise<Scene> {
  const directory = scratchDirectory(t)
  const path = join(directory, 'repository')
  await initRepository(localStorage(path), { password: PASSWORD, kdf: kdfForRandomPassword })
  const stock = restic(binary, path, PASSWORD)
  const folder = join(directory, 'folder')
  let kept: Record<string, string> = {}
  fs.mkdirSync(folder)
  for (const version of [1, 2, 3]) {
    for (let file = 0; file < 10; file += 1) {
      fs.writeFileSync(join(folder, `${file}`), pseudoRandomBytes(150_000, file % 2 === 0 ? file : 100 * version + file))
    }
    stock.run('backup', folder, '--tag', `${version}`)
    if (version === 2) kept = contentsOf(folder)
  }
  forgetAllBut(stock, '2')
  const judgeAll = () => {
    for (const each of binaries) {
      // Not only its exit code: nothing is to be said of what lies there twice.
      const report = restic(each.binary, path, PASSWORD).run('check', '--read-data')
      assert.match(report.stdout.toString(), /no errors were found/)
      assert.doesNotMatch(`${report.stdout.toString()}${report.stderr.toString()}`, /duplicate|contained in several|not referenced|warning/i, each.version)
    }
    const target = fs.mkdtempSync(join(directory, 'restored-'))
    stock.run('restore', 'latest', '--tag', '2', '--target', target)
    assert.ok(isDeepStrictEqual(contentsOf(join(target, folder)), kept))
    fs.rmSync(target, { recursive: true })
  }
  return { path, stock, folder, judgeAll }
}

for (const { binary, version } of binaries) {
  test(`restic ${version}: what it wrote stays whole while packs wait for their end, and once they are gone`, async (t) => {
    const { path, stock, judgeAll } = await makeScene(t, binary)
    const first = await prune(path)
    assert.ok(first.writtenPackCount > 0 && first.pendingPackCount > 0 && first.removedPackCount === 0)
    assert.equal(marksIn(path).length, first.pendingPackCount)
    judgeAll()
    age(path)
    const second = await prune(path)
    assert.deepEqual([second.removedPackCount, second.pendingPackCount, second.pendingBytes], [first.pendingPackCount, 0, 0])
    assert.deepEqual(marksIn(path), [])
    judgeAll()
    assert.match(stock.run('prune', '--dry-run').stdout.toString(), /total prune: +0 blobs \/ 0 B/)
  })

  test(`restic ${version}: its prune takes away what waits, and our next run has nothing to mind`, async (t) => {
    const { path, stock, folder, judgeAll } = await makeScene(t, binary)
    await prune(path)
    stock.run('prune', '--max-unused', '0')
    judgeAll()
    age(path)
    const result = await prune(path)
    assert.deepEqual([result.removedPackCount, result.pendingPackCount], [0, 0])
    assert.deepEqual(marksIn(path), [])
    judgeAll()
    // A backup of restic's may use what waits: then it is kept.
    stock.run('backup', folder, '--tag', 'again')
    forgetAllBut(stock, '2')
    const marked = await prune(path)
    assert.ok(marked.pendingPackCount > 0)
    stock.run('backup', folder, '--tag', 'used')
    age(path)
    await prune(path)
    stock.run('check', '--read-data')
  })
}
