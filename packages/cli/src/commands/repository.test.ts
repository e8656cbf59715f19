import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryEndings } from './repository-endings.ts'

test('the manual has the exit codes of the repository commands', () => {
  const manual = readFileSync(join(import.meta.dirname, '../../../../docs/operating/repository.md'), 'utf8')
  const rows = [...manual.matchAll(/^\| (\d+) \| (.+) \|$/gm)].map((match) => [Number(match[1]), match[2]])
  assert.deepEqual(rows, Object.values(repositoryEndings).map(({ code, meaning }) => [code, meaning]))
})
