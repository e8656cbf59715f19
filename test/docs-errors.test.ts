/** Holds docs/errors.md and the cloud's table of codes against the failures that the server knows. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { errorCodes, type ErrorCodeDigits } from '@opencbr/contract'
import { failures } from '@opencbr/server'

/** Names every fact that a text asks for by itself: `Invalid {field} provided`. */
const namedFacts = new Proxy<Record<string, string>>({}, { get: (_target, name) => `{${String(name)}}` })

const entries = Object.entries(failures)

test('every failure has a code of the cloud that a call may show, with the cloud\'s status', () => {
  for (const [name, { status, code }] of entries) {
    assert.ok(Object.hasOwn(errorCodes, code), `${name}: the cloud has no code ${code}`)
    const known = errorCodes[code as ErrorCodeDigits]
    assert.equal(status, known.status, `${name}: the cloud answers ${code} with ${known.status}`)
    assert.ok((known.surfaces as readonly string[]).includes('http'), `${name}: ${code} is not for answers of calls`)
  }
})

test('failures stand in the order of their codes', () => {
  const codes = entries.map(([, { code }]) => code)
  assert.deepEqual(codes, codes.toSorted())
})

test('docs/errors.md lists exactly the failures', () => {
  const expected = entries.map(([name, { status, code, text }]) => `| ${code} | ${status} | \`${name}\` | ${text(namedFacts)} |`)
  const page = readFileSync(join(import.meta.dirname, '../docs/errors.md'), 'utf8')
  const listed = page.split('\n').filter((line) => /^\| \d{4} \|/.test(line))
  const missing = expected.filter((line) => !listed.includes(line))
  const superfluous = listed.filter((line) => !expected.includes(line))
  assert.deepEqual({ missing, superfluous }, { missing: [], superfluous: [] })
  assert.deepEqual(listed, expected, 'the rows stand in another order than in failures.ts')
})
