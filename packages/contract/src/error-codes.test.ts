import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { errorCodes, gatewayErrorCodes } from './error-codes.ts'

interface Row {
  readonly code: string
}

const facts = JSON.parse(readFileSync(join(import.meta.dirname, '../test-data/error-codes.json'), 'utf8')) as {
  readonly service: readonly Row[]
  readonly gateway: readonly Row[]
}

const byCode = (a: Row, b: Row): number => a.code.localeCompare(b.code)
const rowsOf = (table: Readonly<Record<string, object>>): Row[] => Object.entries(table).map(([code, row]) => ({ code, ...row }))

test('the table holds the cloud\'s codes, with their statuses, meanings and places', () => {
  assert.equal(facts.service.length, 165)
  assert.deepEqual(rowsOf(errorCodes).toSorted(byCode), facts.service.toSorted(byCode))
  assert.deepEqual(rowsOf(gatewayErrorCodes).toSorted(byCode), facts.gateway.toSorted(byCode))
})
