import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { completionScript, listPlaces } from './completion.ts'
import { buildProgram } from './program.ts'

const program = await buildProgram()

/** What a real bash offers for a command line whose last word is being written. */
function complete(...words: string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'opencbr-completion-'))
  try {
    writeFileSync(join(folder, 'a file'), '')
    const script = `${completionScript(program, 'bash')}
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _opencbr; printf '%s\\n' "\${COMPREPLY[@]}"`
    const ran = spawnSync('bash', ['--norc', '-c', script, 'bash', ...words], { encoding: 'utf8', cwd: folder })
    assert.deepEqual([ran.status, ran.stderr], [0, ''])
    return ran.stdout.split('\n').filter((line) => line !== '')
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('bash completes commands, their commands, and options of the place and of the program', () => {
  assert.deepEqual(complete('opencbr', 'checkp'), ['checkpoint'])
  assert.deepEqual(complete('opencbr', ''), program.commands.map((command) => command.name()))
  assert.deepEqual(complete('opencbr', 'task', 're'), ['retry'])
  assert.deepEqual(complete('opencbr', 'repository', 'key', 'pa'), ['passwd'])
  assert.deepEqual(complete('opencbr', 'checkpoint', 'create', '--auto'), ['--automatic'])
  assert.deepEqual(complete('opencbr', 'task', 'list', '--js'), ['--json'])
  assert.deepEqual(complete('opencbr', 'nonsense', 'ta'), ['tag', 'task'])
})

test('bash skips the values of options, and offers files where a value or an argument is wanted', () => {
  assert.deepEqual(complete('opencbr', '--data', 'vault', 'task', 'li'), ['list'])
  assert.deepEqual(complete('opencbr', '--data', 'a'), ['a file'])
  assert.deepEqual(complete('opencbr', 'resource', 'add', 'a'), ['a file'])
  assert.deepEqual(complete('opencbr', 'task', 'list', '--status', '--'), [])
})

test('the script of every shell has every command and every option', () => {
  const places = listPlaces(program)
  assert.ok(places.length > 60)
  for (const shell of ['bash', 'zsh', 'fish'] as const) {
    const script = completionScript(program, shell)
    for (const place of places) {
      for (const { name } of place.commands) assert.ok(script.includes(name), `${shell}: ${place.path} ${name}`)
      for (const { names: [name = ''] } of place.options) assert.ok(script.includes(name.replace(shell === 'fish' ? /^--/ : /^$/, '')), `${shell}: ${place.path} ${name}`)
    }
  }
})
