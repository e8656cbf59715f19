/**
 * Processes that are killed in the middle of what they do to a repository on disk, 30 one after the
 * other. Each one goes on where the one before has died. OPENCBR_TEST_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { checkRepository, initRepository, kdfForRandomPassword, openRepository, restoreTree, type SnapshotId } from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { PASSWORD, scratchDirectory } from './support/scratch-repository.ts'
import { chooseSeed } from './support/seeded-random.ts'

const ROUNDS = 30
const WORKER = join(import.meta.dirname, 'support/mortal-worker.ts')

/** Lets a worker live its life. Returns what it said. */
async function liveAndDie(...argv: readonly string[]): Promise<string[]> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', WORKER, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => void (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (stderr += text))
  const signal = await new Promise<string | null>((resolve, reject) => {
    child.on('error', reject).on('close', (_code, killedBy) => resolve(killedBy))
  })
  assert.equal(signal, 'SIGKILL', stderr)
  return stdout.split('\n').filter((line) => line !== '')
}

test(`${ROUNDS} processes killed midway leave whole repositories with all that was acknowledged`, async (t) => {
  const seed = chooseSeed()
  t.diagnostic(`seed ${seed}`)
  const directory = scratchDirectory(t)
  const [path, source] = [join(directory, 'repository'), join(directory, 'source')]
  fs.mkdirSync(source)
  const storage = localStorage(path)
  await initRepository(storage, { password: PASSWORD, kdf: kdfForRandomPassword })
  const binaries = resticBinaries()
  const versions = new Map<SnapshotId, number>()
  const counts = { saved: 0, forgetting: 0, restored: 0, leftovers: 0 }

  for (let round = 0; round < ROUNDS; round += 1) {
    const where = `seed ${seed}, round ${round}`
    for (const line of await liveAndDie(path, source, PASSWORD, String(seed + round))) {
      const [word, id, version] = line.split(' ')
      if (word === 'saved') versions.set(id as SnapshotId, Number(version))
      // Once it may be forgotten it may be there or not, and nobody can say which.
      else versions.delete(id as SnapshotId)
      counts[word === 'saved' ? 'saved' : 'forgetting'] += 1
    }
    await using repository = await openRepository(storage, { password: PASSWORD })
    const { findings } = await checkRepository(repository, { level: 'data' })
    counts.leftovers += findings.length
    assert.deepEqual(findings.filter(({ code }) => code !== 'pack.unindexed' && code !== 'index.repeated_pack'), [], where)
    for (const [snapshotId, version] of versions) {
      const destination = join(directory, 'restored')
      const result = await restoreTree(repository, { snapshotId, sourcePath: source, destination, allowedRoots: [directory] })
      assert.ok(result.whole, where)
      for (let file = 0; file < 5; file += 1) {
        const expected = pseudoRandomBytes(60_000, file < 2 ? version % 3 : version + file)
        assert.ok(fs.readFileSync(join(destination, `file ${file}`)).equals(expected), `${where}: ${snapshotId} file ${file}`)
      }
      fs.rmSync(destination, { recursive: true })
      counts.restored += 1
    }
    const binary = binaries[round % binaries.length]
    assert.ok(binary !== undefined)
    restic(binary, path, PASSWORD).run('check', '--read-data', '--no-lock')
  }
  t.diagnostic(JSON.stringify(counts))
  assert.ok(counts.saved > 5 && counts.forgetting > 0 && counts.restored > 0 && counts.leftovers > 0)
})
