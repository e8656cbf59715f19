import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test, type TestContext } from 'node:test'
import { ConfinedDirectories, namesBelowBase, type ConfinedDirectory } from './confined-directories.ts'

interface Opened {
  readonly top: string
  readonly directories: ConfinedDirectories
}

function openScratch(t: TestContext, descriptorsMax: number): Opened {
  const top = fs.mkdtempSync(path.join(os.tmpdir(), 'opencbr-confined-'))
  const directories = new ConfinedDirectories(fs.openSync(top, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY), descriptorsMax)
  t.after(() => {
    directories[Symbol.dispose]()
    fs.rmSync(top, { recursive: true, force: true })
  })
  return { top, directories }
}

function enterAll(directories: ConfinedDirectories, names: readonly string[]): ConfinedDirectory {
  return names.reduce((above, name) => directories.enter(above, Buffer.from(name)), directories.base)
}

test('directories stay usable however many there are, and few descriptors are open', (t) => {
  const { top, directories } = openScratch(t, 3)
  const before = fs.readdirSync('/proc/self/fd').length
  const deep: string[] = []
  const entered: ConfinedDirectory[] = []
  for (let level = 0; level < 20; level += 1) {
    deep.push(`level ${level}`)
    fs.mkdirSync(path.join(top, ...deep))
    entered.push(enterAll(directories, deep))
  }
  for (const [level, directory] of entered.entries()) {
    assert.deepEqual(namesBelowBase(directory).map(String), deep.slice(0, level + 1))
    fs.writeFileSync(directories.place(directory, Buffer.from('file')), `in ${level}`)
  }
  assert.equal(fs.readFileSync(path.join(top, ...deep.slice(0, 7), 'file'), 'utf8'), 'in 6')
  assert.ok(fs.readdirSync('/proc/self/fd').length <= before + 3)
})

test('a directory whose name means another one now is not used again', (t) => {
  const { top, directories } = openScratch(t, 1)
  for (const name of ['a', 'a/b', 'other']) fs.mkdirSync(path.join(top, name))
  const inner = enterAll(directories, ['a', 'b'])
  fs.writeFileSync(directories.place(inner, Buffer.from('before')), '')
  enterAll(directories, ['other'])
  fs.renameSync(path.join(top, 'a/b'), path.join(top, 'moved'))
  fs.mkdirSync(path.join(top, 'a/b'))
  assert.throws(() => directories.place(inner, Buffer.from('after')), { code: 'destination.changed', facts: { path: 'a/b' } })
  fs.rmdirSync(path.join(top, 'a/b'))
  fs.symlinkSync('../other', path.join(top, 'a/b'))
  assert.throws(() => directories.place(inner, Buffer.from('after')), { code: 'ENOTDIR' })
  assert.deepEqual(fs.readdirSync(path.join(top, 'other')), [])
})

test('nothing but a directory can be entered, and no link to one', (t) => {
  const { top, directories } = openScratch(t, 8)
  fs.writeFileSync(path.join(top, 'file'), '')
  fs.symlinkSync('.', path.join(top, 'link'))
  assert.throws(() => enterAll(directories, ['file']), { code: 'ENOTDIR' })
  assert.throws(() => enterAll(directories, ['link']), { code: 'ENOTDIR' })
  assert.throws(() => enterAll(directories, ['missing']), { code: 'ENOENT' })
})

test('a directory stays the same one when it is moved while it is open', (t) => {
  const { top, directories } = openScratch(t, 8)
  fs.mkdirSync(path.join(top, 'a'))
  const directory = enterAll(directories, ['a'])
  fs.renameSync(path.join(top, 'a'), path.join(top, 'b'))
  fs.symlinkSync('/', path.join(top, 'a'))
  fs.writeFileSync(directories.place(directory, Buffer.from('file')), 'x')
  assert.equal(fs.readFileSync(path.join(top, 'b/file'), 'utf8'), 'x')
})
