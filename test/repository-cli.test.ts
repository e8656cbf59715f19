/**
 * `opencbr repository …` as people use it: the real program, on repositories that stock restic made, and
 * stock restic on what the program made; the exit codes that scripts rely on; and no server anywhere.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { initRepository, kdfForRandomPassword, openRepository } from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { compareTrees } from './support/compare-trees.ts'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { PASSWORD, scratchDirectory } from './support/scratch-repository.ts'

const root = join(import.meta.dirname, '..')
const program = join(root, 'node_modules/.bin/opencbr')
const binaries = resticBinaries()
const newest = binaries.at(-1) ?? assert.fail()

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

class Bench {
  readonly directory: string
  readonly repository: string
  readonly source: string
  constructor(t: TestContext) {
    this.directory = scratchDirectory(t)
    this.repository = join(this.directory, 'repository')
    this.source = join(this.directory, 'source')
    fs.mkdirSync(join(this.source, 'below'), { recursive: true })
    fs.writeFileSync(join(this.source, 'letter.txt'), 'Dear reader,\n')
    fs.writeFileSync(join(this.source, 'below', 'picture'), pseudoRandomBytes(900_000, 1))
    fs.symlinkSync('letter.txt', join(this.source, 'link'))
    fs.writeFileSync(join(this.directory, 'password'), `${PASSWORD}\n`)
  }

  /** Runs a repository command, whatever comes of it. */
  attempt(command: string, ...rest: string[]): Ran {
    const run = spawnSync(program, ['repository', ...command.split(' '), ...rest], {
      cwd: this.directory, encoding: 'utf8', timeout: 120_000, stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], OPENCBR_REPOSITORY_PASSWORD_FILE: join(this.directory, 'password') },
    })
    return { code: run.status, stdout: run.stdout, stderr: run.stderr }
  }

  run(command: string, ...rest: string[]): Ran {
    const ran = this.attempt(command, ...rest)
    assert.equal(ran.code, 0, `${command} ${rest.join(' ')}: ${ran.stdout}${ran.stderr}`)
    return ran
  }

  json<Answer>(command: string, ...rest: string[]): Answer {
    return JSON.parse(this.run(command, ...rest, '--json').stdout) as Answer
  }

  /** A repository whose password costs next to nothing. */
  async init(): Promise<void> {
    await initRepository(localStorage(this.repository), { password: PASSWORD, kdf: kdfForRandomPassword })
  }
}

test('a repository is made, filled, looked at, restored and forgotten, and restic agrees at every step', async (t: TestContext) => {
  const bench = new Bench(t)
  const { source } = bench
  await bench.init()
  const stock = restic(newest, bench.repository, PASSWORD)
  const { snapshots: [first] } = bench.json<{ snapshots: { snapshot_id: string }[] }>('backup repository source --tag first --host here --time 2026-01-15T08:30:00Z')
  stock.run('check', '--read-data')
  fs.writeFileSync(join(source, 'note'), 'note\n')
  fs.mkdirSync(join(source, 'cache'))
  fs.writeFileSync(join(source, 'cache', 'CACHEDIR.TAG'), 'Signature: 8a477f597d28d172789f06886806bc55\n')
  fs.writeFileSync(join(source, 'cache', 'thing'), 'thing\n')
  fs.writeFileSync(join(source, 'left.out'), 'out\n')
  const dry = bench.json<{ snapshots: { files_new: number, snapshot_id?: string }[] }>('backup repository source --host here --dry-run')
  assert.deepEqual(dry.snapshots.map(({ files_new, snapshot_id }) => [files_new, snapshot_id]), [[4, undefined]])
  const second = bench.json<{ snapshots: { snapshot_id: string, parent: string }[] }>('backup repository source --host here --exclude *.out --exclude-caches').snapshots[0]
  assert.equal(second?.parent, first?.snapshot_id)

  const listed = bench.json<{ id: string, tags?: string[] }[]>('snapshots repository')
  const theirs = JSON.parse(stock.run('snapshots', '--json').stdout.toString()) as { id: string }[]
  assert.deepEqual(listed.map(({ id }) => id), theirs.map(({ id }) => id))
  assert.deepEqual(bench.json<{ id: string }[]>('snapshots repository --tag first').map(({ id }) => id), [first?.snapshot_id])
  const paths = bench.run('ls repository latest').stdout
  assert.equal(paths, stock.run('ls', '-q', 'latest').stdout.toString().split('\n').filter((line) => line.startsWith('/')).map((line) => `${line}\n`).join(''))
  assert.ok(paths.includes('/cache/CACHEDIR.TAG') && !/thing|left\.out/.test(paths))
  assert.equal(bench.run('cat repository', `latest:${source}/letter.txt`).stdout, 'Dear reader,\n')
  assert.deepEqual(
    (JSON.parse(bench.run('cat repository config').stdout) as { id: string }).id,
    (JSON.parse(stock.run('cat', 'config').stdout.toString()) as { id: string }).id,
  )
  const ours = bench.json<{ total_size: number, total_file_count: number }>('stats repository latest')
  const stockStats = JSON.parse(stock.run('stats', 'latest', '--json').stdout.toString()) as { total_size: number, total_file_count: number }
  assert.deepEqual([ours.total_size, ours.total_file_count], [stockStats.total_size, stockStats.total_file_count])

  bench.run('restore repository', `${first?.snapshot_id.slice(0, 8)}:${source}`, '--target', 'restored')
  for (const name of ['note', 'left.out', 'cache']) fs.rmSync(join(source, name), { recursive: true })
  const differences = compareTrees(source, join(bench.directory, 'restored')).filter((line) => !/mtime/.test(line))
  assert.deepEqual(differences, [])
  bench.run('restore repository', `latest:${source}/note`, '--target', 'one')
  assert.equal(fs.readFileSync(join(bench.directory, 'one', 'note'), 'utf8'), 'note\n')

  assert.equal(bench.json<{ whole: boolean, packs_read: number }>('check repository --read-data-days 1').packs_read > 0, true)
  fs.rmSync(join(source, 'below', 'picture'))
  bench.run('backup repository source --host here')
  const forgotten = bench.json<{ removed: string[], groups: { reasons: { matches: string[] }[] }[], prune: { freed_bytes: number } }>('forget repository --keep-last 1 --prune')
  assert.deepEqual(forgotten.removed.toSorted(), listed.map(({ id }) => id).toSorted())
  assert.deepEqual(forgotten.groups.map(({ reasons }) => reasons.map(({ matches }) => matches)), [[['last snapshot']]])
  assert.ok(forgotten.prune.freed_bytes > 800_000)
  stock.run('check', '--read-data')
  assert.equal((JSON.parse(stock.run('snapshots', '--json').stdout.toString()) as object[]).length, 1)
})

test('scripts can tell by the exit code what went wrong, as with restic', async (t: TestContext) => {
  const bench = new Bench(t)
  assert.equal(bench.attempt('snapshots repository').code, 10)
  bench.run('init repository')
  restic(newest, bench.repository, PASSWORD).run('snapshots')
  assert.equal(bench.attempt('init repository').code, 1)
  fs.rmSync(bench.repository, { recursive: true })
  await bench.init()
  fs.writeFileSync(join(bench.directory, 'wrong'), 'wrong')
  const wrong = bench.attempt('snapshots repository --password-file wrong --json')
  assert.equal(wrong.code, 12)
  assert.equal((JSON.parse(wrong.stderr) as { error: { code: string } }).error.code, 'repository.wrong_password')
  assert.equal(bench.attempt('snapshots repository --no-such-option').code, 2)
  assert.equal(bench.attempt('forget repository').code, 2)
  assert.equal(bench.attempt('cat repository latest:/x').code, 1)

  bench.run('backup repository source')
  const nothingKept = bench.attempt('forget repository --keep-tag unknown')
  assert.equal(nothingKept.code, 1)
  assert.match(nothingKept.stderr, /unsafe-allow-remove-all/)
  assert.equal(bench.json<object[]>('snapshots repository').length, 1)

  {
    await using repository = await openRepository(localStorage(bench.repository), { password: PASSWORD })
    await using _lock = await repository.lock({ exclusive: false, settleMs: 0 })
    assert.equal(bench.attempt('forget repository --keep-last 1').code, 11)
    bench.run('snapshots repository')
    // Where there is nothing to remove nobody has to be locked out.
    bench.run('prune repository')
  }

  for (const file of fs.readdirSync(join(bench.repository, 'data'), { recursive: true, withFileTypes: true })) {
    if (file.isFile()) fs.rmSync(join(file.parentPath, file.name))
  }
  const damaged = bench.attempt('check repository --json')
  assert.equal(damaged.code, 1)
  assert.equal((JSON.parse(damaged.stdout) as { whole: boolean }).whole, false)
})

test('an interrupted backup ends with 130 and takes its lock away', async (t: TestContext) => {
  const bench = new Bench(t)
  await bench.init()
  const locks = join(bench.repository, 'locks')
  fs.mkdirSync(locks)
  const changed = new Promise((resolve) => {
    const watcher = fs.watch(locks, () => {
      if (fs.readdirSync(locks).length === 0) return
      watcher.close()
      resolve(undefined)
    })
  })
  // So many paths that it is at work for long after it has taken its lock.
  const paths = Array.from({ length: 3000 }, () => bench.source)
  const child = spawn(program, ['repository', 'backup', bench.repository, ...paths, '--password-file', join(bench.directory, 'password')], {
    env: { PATH: process.env['PATH'] }, stdio: ['ignore', 'ignore', 'ignore'],
  })
  const ended = once(child, 'exit')
  await Promise.race([changed, ended])
  child.kill('SIGINT')
  assert.deepEqual(await ended, [130, null])
  assert.deepEqual(fs.readdirSync(locks), [])
  restic(newest, bench.repository, PASSWORD).run('check', '--read-data')
})

test('every restic opens every key, and the last one cannot be removed', async (t: TestContext) => {
  const bench = new Bench(t)
  await bench.init()
  fs.writeFileSync(join(bench.directory, 'second'), 'the second password\n')
  fs.writeFileSync(join(bench.directory, 'third'), 'the third one\n')
  const { id: added } = bench.json<{ id: string }>('key add repository --new-password-file second --user somebody --host somewhere')
  for (const binary of binaries) {
    const [shown] = (JSON.parse(restic(binary, bench.repository, 'the second password').run('key', 'list', '--json').stdout.toString()) as { current: boolean, userName: string, hostName: string }[])
      .filter(({ current }) => current)
    assert.deepEqual([shown?.userName, shown?.hostName], ['somebody', 'somewhere'])
  }
  const { id: changed, replaced } = bench.json<{ id: string, replaced: string }>('key passwd repository --password-file second --new-password-file third')
  assert.equal(replaced, added)
  assert.equal(bench.attempt('snapshots repository --password-file second').code, 12)
  for (const binary of binaries) restic(binary, bench.repository, 'the third one').run('snapshots')
  assert.equal(bench.attempt('key remove repository', changed, '--password-file', 'third').code, 1)
  const [other] = bench.json<{ id: string, current: boolean }[]>('key list repository --password-file third').filter(({ current }) => !current)
  bench.run('key remove repository', other?.id.slice(0, 8) ?? '', '--password-file', 'third')
  assert.equal(bench.attempt('snapshots repository').code, 12)
  assert.equal(fs.readdirSync(join(bench.repository, 'keys')).length, 1)

  // A key that restic adds opens for us too.
  restic(newest, bench.repository, 'the third one').run('key', 'add', '--new-password-file', join(bench.directory, 'password'))
  assert.equal(bench.json<object[]>('key list repository').length, 2)
})

test('a damaged repository is copied as far as it is whole, and repaired', async (t: TestContext) => {
  const bench = new Bench(t)
  await bench.init()
  bench.run('backup repository source')
  await initRepository(localStorage(join(bench.directory, 'target')), { password: PASSWORD, kdf: kdfForRandomPassword })
  const copied = bench.json<{ snapshots: { copied: boolean }[] }>('copy repository target')
  assert.deepEqual(copied.snapshots.map((each) => each.copied), [true])
  restic(newest, join(bench.directory, 'target'), PASSWORD).run('check', '--read-data')
  assert.equal(bench.attempt('copy repository repository').code, 2)

  fs.rmSync(join(bench.repository, 'index'), { recursive: true })
  assert.equal(bench.attempt('check repository').code, 1)
  assert.equal(bench.json<{ needed: boolean }>('repair index repository --dry-run').needed, true)
  assert.equal(bench.attempt('check repository').code, 1)
  bench.run('repair index repository')
  bench.run('check repository --read-data')

  const [biggest = ''] = fs.readdirSync(join(bench.repository, 'data'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).toSorted((a, b) => fs.statSync(b).size - fs.statSync(a).size)
  const bytes = fs.readFileSync(biggest)
  bytes[5000] = (bytes[5000] ?? 0) ^ 1
  fs.chmodSync(biggest, 0o600)
  fs.writeFileSync(biggest, bytes)
  const repaired = bench.json<{ quarantined: string[], damaged_snapshots: string[] }>('repair packs repository')
  assert.equal(repaired.quarantined.length, 1)
  assert.equal(repaired.damaged_snapshots.length, 1)
  bench.run('repair snapshots repository --forget')
  bench.run('check repository --read-data')
  for (const binary of binaries) restic(binary, bench.repository, PASSWORD).run('check', '--read-data')
  assert.ok(!bench.run('ls repository latest').stdout.includes('picture'))
})
