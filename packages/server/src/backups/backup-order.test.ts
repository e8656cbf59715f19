import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseOrder } from './backup-order.ts'

function written(text: string | undefined): string {
  return parseOrder(text).map(({ key, direction }) => `${key}:${direction}`).join(',')
}

test('without a text the newest come first, and ties are broken by the id', () => {
  assert.equal(written(undefined), 'created_at:desc,id:desc')
})

test('a key without direction descends, and the id follows the last key', () => {
  assert.equal(written('name'), 'name:desc,id:desc')
  assert.equal(written('name:asc'), 'name:asc,id:asc')
  assert.equal(written('status:asc,created_at'), 'status:asc,created_at:desc,id:desc')
  assert.equal(written('status,created_at:asc'), 'status:desc,created_at:asc,id:asc')
})

test('nothing comes after the id', () => {
  assert.equal(written('id:asc'), 'id:asc')
  assert.equal(written('name,id:asc,status'), 'name:desc,id:asc')
})

test('what cannot be sorted by is refused, and the reason says what it is', () => {
  for (const [text, reason] of [
    ['size', 'size is not a key to sort by'], ['', ' is not a key to sort by'], ['name,', ' is not a key to sort by'],
    ['name:up', 'the direction of name must be asc or desc'], ['name:', 'the direction of name must be asc or desc'],
    ['name:asc:desc', 'the direction of name must be asc or desc'], ['name,id,name', 'name is named twice'],
  ] as const) {
    assert.throws(() => parseOrder(text), { code: 'parameter.invalid', message: `Invalid sort provided: ${reason}.` }, text)
  }
})
