/** A newcomer's first command: the demonstration, on a fresh clone, with nothing installed yet. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, lchownSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

const root = join(import.meta.dirname, '..')
const FOLDERS = 60
const FILES_PER_FOLDER = 50

const work = mkdtempSync(join(tmpdir(), 'opencbr-demo-test-'))
after(() => rmSync(work, { recursive: true, force: true }))

/** 3,000 files, and of everything that is not a plain file with a plain name. */
function makeFolder(folder: string): void {
  for (let index = 0; index < FOLDERS; index += 1) {
    const inside = join(folder, `folder ${index}`)
    mkdirSync(inside, { recursive: true })
    for (let file = 0; file < FILES_PER_FOLDER; file += 1) {
      const path = join(inside, `file ${file}.txt`)
      writeFileSync(path, `${index} ${file}\n`.repeat((index * file) % 700 + 1), { mode: file % 7 === 0 ? 0o400 : 0o644 })
      utimesSync(path, 1_700_000_000 + index, 1_600_000_000.25 + file)
    }
  }
  writeFileSync(join(folder, 'empty'), '')
  writeFileSync(join(folder, 'sparse'), 'begin')
  truncateSync(join(folder, 'sparse'), 64 << 20)
  writeFileSync(join(folder, '备份 – Übersicht ёжик 🗄️'), 'not ASCII')
  mkdirSync(join(folder, '空'))
  writeFileSync(join(folder, 'line\nbreak "quoted" \\ \u001B[31m'), 'odd')
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/not text `), Buffer.from([0xff, 0xfe])]), 'bytes')
  symlinkSync('sparse', join(folder, 'link'))
  symlinkSync('/nowhere/at all', join(folder, 'dangling link'))
  symlinkSync('..', join(folder, 'link upwards'))
  linkSync(join(folder, 'empty'), join(folder, 'second name of empty'))
  linkSync(join(folder, 'folder 1', 'file 1.txt'), join(folder, 'folder 2', 'same file'))
  if (process.getuid?.() === 0) lchownSync(join(folder, 'link'), 12_345, 54_321)
}

test('the demonstration on a fresh clone restores a folder of 3,000 files identically', () => {
  const clone = join(work, 'clone')
  const folder = join(work, 'folder')
  const temporary = join(work, 'tmp')
  mkdirSync(temporary)
  makeFolder(folder)
  const cloned = spawnSync('git', ['clone', '--quiet', '--no-hardlinks', root, clone], { encoding: 'utf8' })
  assert.equal(cloned.status, 0, cloned.stderr)

  const demo = spawnSync('npm', ['run', 'demo', '--', folder], {
    cwd: clone, encoding: 'utf8', timeout: 240_000, env: { ...withoutNpm(process.env), TMPDIR: temporary }, stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = `${demo.stdout}\n${demo.stderr}`
  assert.equal(demo.status, 0, output)
  assert.match(demo.stdout, /^ +identical$/m)
  assert.match(demo.stdout, /GET \/v3\/[0-9a-f]{32}\/backups\?/)
  assert.match(demo.stdout, /export RESTIC_REPOSITORY=/)
  // npm has caches of its own there; of the demonstration nothing may stay.
  assert.deepEqual(readdirSync(temporary).filter((name) => name.startsWith('opencbr')), [])
  assert.ok(existsSync(join(clone, 'node_modules')), 'the demonstration installed nothing: was this a fresh clone?')
})

/** A newcomer's environment: not that of the npm, if any, which runs this test, and not its Node either. */
function withoutNpm(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const foreign = /^npm_|^INIT_CWD$|^NODE_(?:OPTIONS|ENV|TEST_CONTEXT)$/
  const path = (environment['PATH'] ?? '').split(':').filter((folder) => !folder.includes('node_modules')).join(':')
  return { ...Object.fromEntries(Object.entries(environment).filter(([name]) => !foreign.test(name))), PATH: path }
}
