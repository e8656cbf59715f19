import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { exitCodes } from './exit-codes.ts'
import { version } from './version.ts'

test('the launcher is found through links, needs no other Node, and passes on what it is given and how it ends', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'opencbr launcher '))
  t.after(() => rmSync(folder, { recursive: true }))
  symlinkSync(join(import.meta.dirname, '../bin/opencbr'), join(folder, 'first'))
  symlinkSync('first', join(folder, 'second'))
  const run = (...args: string[]) => spawnSync(join(folder, 'second'), args, { encoding: 'utf8', cwd: folder, env: { PATH: '/usr/bin:/bin' } })
  assert.deepEqual([run('--version').stdout, run('--version').stderr, run('--version').status], [`${version}\n`, '', exitCodes.success.code])
  const wrong = run('vault', 'no such command', '$HOME')
  assert.equal(wrong.status, exitCodes.usage.code)
  assert.match(wrong.stderr, /no such command/)
})
