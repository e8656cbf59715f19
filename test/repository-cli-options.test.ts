/** What the repository commands do beside the common way: what is left out, what cannot be read, samples, disks in segments, Ctrl-C. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { initRepository, kdfForRandomPassword } from '@opencbr/engine'
import { localStorage } from '@opencbr/storage'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { PASSWORD, scratchDirectory } from './support/scratch-repository.ts'

const program = join(import.meta.dirname, '../node_modules/.bin/opencbr')
const newest = resticBinaries().at(-1) ?? assert.fail()
// Root reads everything; without these capabilities it is like anybody else.
const asAnybody = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-dac_override,-dac_read_search', '--inh-caps=-dac_override,-dac_read_search'] : []

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program, and hands it to the caller while it runs. */
async function run(commandLine: readonly string[], whileRunning: (interrupt: () => void) => void = () => undefined): Promise<Ran> {
  const [name = '', ...rest] = commandLine
  const child = spawn(name, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], RESTIC_PASSWORD: PASSWORD } })
  const ran = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => void (ran.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (ran.stderr += text))
  whileRunning(() => void child.kill('SIGINT'))
  const code = await new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve))
  return { code, ...ran }
}

const repositoryCommand = (...words: string[]) => run([program, 'repository', ...words])

async function newRepository(path: string): Promise<string> {
  await initRepository(localStorage(path), { password: PASSWORD, kdf: kdfForRandomPassword })
  return path
}

function write(root: string, files: Readonly<Record<string, string | Buffer>>): void {
  for (const [name, content] of Object.entries(files)) {
    fs.mkdirSync(join(root, name, '..'), { recursive: true })
    fs.writeFileSync(join(root, name), content)
  }
}

test('what is left out is named with its reason, by the rules of a .gitignore', async (t) => {
  const directory = scratchDirectory(t)
  const repository = await newRepository(join(directory, 'repository'))
  const source = join(directory, 'source')
  write(source, {
    'a.log': 'x', 'keep.log': 'x', 'deep/b.log': 'x', 'build/out': 'x', 'deep/build/out': 'x', 'cache/CACHEDIR.TAG': 'Signature: 8a477f597d28d172789f06886806bc55\n', 'cache/x': 'x',
  })
  write(directory, { patterns: '# remark\n*.log\n!keep.log\n' })
  const made = await repositoryCommand('backup', repository, source, '--exclude-file', join(directory, 'patterns'), '--exclude', '/build', '--exclude-caches', '--one-file-system', '--json')
  assert.equal(made.code, 0, made.stderr)
  const { snapshots: [snapshot] } = JSON.parse(made.stdout) as { snapshots: { skipped: { path: string, reason: string }[], skipped_count: number }[] }
  const skipped = snapshot?.skipped.map(({ path, reason }) => [path.slice(source.length), reason]).toSorted()
  assert.deepEqual(skipped, [['/a.log', 'pattern'], ['/build', 'pattern'], ['/cache', 'cache'], ['/deep/b.log', 'pattern']])
  const listed = restic(newest, repository, PASSWORD).run('ls', '-q', 'latest').stdout.toString().split('\n').filter((line) => line.startsWith(`${source}/`))
  assert.deepEqual(listed.map((line) => line.slice(source.length)).toSorted(), ['/cache', '/cache/CACHEDIR.TAG', '/deep', '/deep/build', '/deep/build/out', '/keep.log'])
})

test('what cannot be read makes the exit code 3, as with restic', async (t) => {
  const directory = scratchDirectory(t)
  const repository = await newRepository(join(directory, 'repository'))
  const source = join(directory, 'source')
  write(source, { open: 'x', closed: 'x' })
  fs.chmodSync(join(source, 'closed'), 0)
  const ours = await run([...asAnybody, program, 'repository', 'backup', repository, source, '--json'])
  const theirs = await run([...asAnybody, newest, '--no-cache', '-r', repository, 'backup', source])
  assert.deepEqual([ours.code, theirs.code], [3, 3], `${ours.stderr}${theirs.stderr}`)
  const { snapshots: [snapshot] } = JSON.parse(ours.stdout) as { snapshots: { whole: boolean, warnings: { path: string }[] }[] }
  assert.deepEqual([snapshot?.whole, snapshot?.warnings.map(({ path }) => path)], [false, [join(source, 'closed')]])
})

test('a check reads the share of the packs that was asked for, or those of the last days', async (t) => {
  const directory = scratchDirectory(t)
  const repository = await newRepository(join(directory, 'repository'))
  for (let day = 0; day < 5; day += 1) {
    write(directory, { [`source ${day}/file`]: pseudoRandomBytes(10_000, day) })
    assert.equal((await repositoryCommand('backup', repository, join(directory, `source ${day}`))).code, 0)
  }
  const packs = fs.readdirSync(join(repository, 'data'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  assert.equal(packs.length, 10)
  const old = new Date(Date.now() - 3 * 24 * 3_600_000)
  for (const { parentPath, name } of packs.slice(0, 6)) fs.utimesSync(join(parentPath, name), old, old)
  const packsRead = async (...options: string[]) => (JSON.parse((await repositoryCommand('check', repository, '--json', ...options)).stdout) as { packs_read: number }).packs_read
  assert.equal(await packsRead(), 0)
  assert.equal(await packsRead('--read-data-percent', '50'), 5)
  assert.equal(await packsRead('--read-data-days', '2'), 4)
  assert.equal(await packsRead('--read-data'), 10)
})

test('a disk in segments is listed, printed and restored as one file', async (t) => {
  const directory = scratchDirectory(t)
  const repository = await newRepository(join(directory, 'repository'))
  const disk = join(directory, 'disk.raw')
  const bytes = 65 * 1024 ** 3 + 4096
  fs.writeFileSync(disk, 'at the beginning')
  fs.truncateSync(disk, bytes)
  assert.equal((await repositoryCommand('backup', repository, disk)).code, 0)
  for (const options of [[], ['--no-recursive']]) {
    const { stdout } = await repositoryCommand('ls', repository, `latest:${directory}`, '--json', ...options)
    const entries = stdout.trim().split('\n').map((line) => JSON.parse(line) as { path: string, type: string, size?: number })
    assert.deepEqual(entries.map(({ path, type, size }) => [path, type, size]), [[directory, 'dir', undefined], [disk, 'file', bytes]])
  }
  for (const [what, place] of [[`latest:${disk}`, 'disk.raw'], ['latest', disk]] as const) {
    const target = fs.mkdtempSync(join(directory, 'target-'))
    const restored = await repositoryCommand('restore', repository, what, '--target', target)
    assert.equal(restored.code, 0, restored.stderr)
    const file = fs.openSync(join(target, place), 'r')
    assert.equal(fs.fstatSync(file).size, bytes)
    const start = Buffer.alloc(16)
    fs.readSync(file, start, 0, 16, 0)
    fs.closeSync(file)
    assert.equal(start.toString(), 'at the beginning')
  }
})

test('Ctrl-C at any moment leaves a whole repository without a lock', async (t) => {
  const directory = scratchDirectory(t)
  const repository = await newRepository(join(directory, 'repository'))
  const judge = restic(newest, repository, PASSWORD)
  let interrupted = 0
  for (let point = 1; point <= 8; point += 1) {
    const source = join(directory, `source ${point}`)
    for (let file = 0; file < 30; file += 1) write(source, { [`${file}`]: pseudoRandomBytes(400_000, 1000 * point + file) })
    const words = point % 2 === 0 ? ['forget', repository, '--keep-last', '1', '--group-by', '', '--prune'] : ['backup', repository, source]
    let events = 0
    const { code, stderr } = await run([program, 'repository', ...words], (interrupt) => {
      const watcher = fs.watch(repository, { recursive: true }, () => {
        events += 1
        if (events !== point * 2) return
        interrupt()
        watcher.close()
      })
      t.after(() => watcher.close())
    })
    assert.ok(code === 0 || code === 130, `${words[0]} ended with ${code}: ${stderr}`)
    if (code === 130) interrupted += 1
    assert.deepEqual(fs.readdirSync(join(repository, 'locks')), [])
    judge.run('check', '--read-data')
    if (words[0] === 'backup') assert.equal((await repositoryCommand('backup', repository, source)).code, 0)
  }
  assert.ok(interrupted > 0)
})

test('prune with a grace marks first, says what waits, and removes once it is over', async (t) => {
  const directory = scratchDirectory(t)
  const repository = await newRepository(join(directory, 'repository'))
  const folder = join(directory, 'folder')
  fs.mkdirSync(folder)
  fs.writeFileSync(join(folder, 'file'), pseudoRandomBytes(300_000, 1))
  const backedUp = await repositoryCommand('backup', repository, folder, '--json')
  assert.equal(backedUp.code, 0, backedUp.stderr)
  const forgotten = await repositoryCommand('forget', repository, 'latest')
  assert.equal(forgotten.code, 0, forgotten.stderr)
  const prune = async (...words: string[]) => {
    const { code, stdout, stderr } = await repositoryCommand('prune', repository, '--json', ...words)
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as Record<string, unknown>
  }
  const marked = await prune('--grace', '24h')
  assert.deepEqual([marked['removed_packs'], marked['pending_packs'], marked['freed_bytes']], [0, 2, 0])
  assert.ok(Number(marked['pending_bytes']) > 300_000)
  const shown = await repositoryCommand('prune', repository, '--grace', '30m')
  assert.match(shown.stdout, /in 2 packs are unneeded and stay until their grace is over/)
  assert.match((await repositoryCommand('prune', repository, '--dry-run')).stderr, /2 packs were marked as unneeded/)
  const marks = join(repository, 'opencbr-tombstones')
  const then = Date.now() / 1000 - 25 * 3600
  for (const name of fs.readdirSync(marks)) fs.utimesSync(join(marks, name), then, then)
  const removed = await prune('--grace', '1d')
  assert.deepEqual([removed['removed_packs'], removed['pending_packs'], removed['pending_bytes']], [2, 0, 0])
  assert.equal((await repositoryCommand('prune', repository, '--grace', 'long')).code, 2)
})
