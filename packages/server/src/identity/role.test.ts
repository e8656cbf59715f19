import assert from 'node:assert/strict'
import { test } from 'node:test'
import { builtInRoles, permits } from './role.ts'

const only = (actions: string[], except: string[] = []) => [{ actions, except }]

test('a star stands for any characters, at any place', () => {
  for (const [pattern, action, expected] of [
    ['*', 'cbr:backups:list', true],
    ['cbr:*', 'cbr:backups:list', true],
    ['cbr:*', 'identity:users:list', false],
    ['cbr:*:get*', 'cbr:vaults:getTags', true],
    ['cbr:*:get*', 'cbr:vaults:forget', false],
    ['cbr:vaults:*', 'cbr:vaults', false],
    ['cbr:backups:list', 'cbr:backups:listAll', false],
    ['a*a', 'a', false],
    ['a*b*c', 'aXbYc', true],
    ['a*b*c', 'aXc', false],
    ['a*bc*c', 'abc', false],
  ] as const) {
    assert.equal(permits(only([pattern]), action), expected, `${pattern} ${action}`)
  }
})

test('an exception takes from its own role only', () => {
  const roles = [...only(['cbr:*'], ['cbr:policies:delete']), ...only(['cbr:policies:delete'])]
  assert.equal(permits(only(['cbr:*'], ['cbr:policies:delete']), 'cbr:policies:delete'), false)
  assert.equal(permits(roles, 'cbr:policies:delete'), true)
  assert.equal(permits([], 'cbr:policies:list'), false)
})

const may = (name: string, action: string) => permits(builtInRoles.filter((role) => role.name === name), action)

test('the built-in roles keep apart what they are for', () => {
  assert.equal(may('operator', 'cbr:vaults:delete'), true)
  assert.equal(may('operator', 'cbr:policies:update'), false)
  assert.equal(may('read_only', 'cbr:policies:list'), true)
  assert.equal(may('read_only', 'cbr:backups:restore'), false)
  assert.equal(may('restore_only', 'cbr:backups:restore'), true)
  assert.equal(may('restore_only', 'cbr:backups:delete'), false)
  assert.equal(may('restore_only', 'cbr:backups:download'), true)
  assert.equal(may('read_only', 'cbr:backups:download'), false)
  for (const name of ['operator', 'read_only', 'restore_only']) assert.equal(may(name, 'cbr:vaults:getRecoveryKit'), false, name)
  for (const { name } of builtInRoles) assert.equal(may(name, 'identity:users:create'), name === 'administrator', name)
})
