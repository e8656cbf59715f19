import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseCredential, parseEnabled, parseRoleNames } from './keystone-key.ts'

const PROJECT = 'a'.repeat(32)
const credential = (changed: Record<string, unknown> = {}, secret: Record<string, unknown> = {}) => ({
  credential: { type: 'ec2', user_id: 'u-1', project_id: PROJECT, blob: JSON.stringify({ access: 'AK', secret: 'SK', trust_id: null, ...secret }), ...changed },
})

test('an EC2 credential of the access key is read', () => {
  assert.deepEqual(parseCredential(credential(), 'AK'), { secretKey: 'SK', userId: 'u-1', projectId: PROJECT })
})

test('what is no credential of its user alone, or cannot be read, is none', () => {
  const bad: readonly unknown[] = [
    undefined, {}, { credential: null }, credential({ type: 'totp' }), credential({ blob: 'no JSON' }), credential({ blob: '"text"' }), credential({ blob: { access: 'AK', secret: 'SK' } }),
    credential({ user_id: '../admin' }), credential({ project_id: null }), credential({ project_id: '../x' }),
    credential({}, { access: 'other' }), credential({}, { secret: '' }), credential({}, { secret: 5 }),
    credential({}, { trust_id: 't' }), credential({}, { app_cred_id: 'c' }), credential({}, { access_token_id: 'o' }),
  ]
  for (const answer of bad) assert.equal(parseCredential(answer, 'AK'), undefined, JSON.stringify(answer))
})

test('only what is enabled counts', () => {
  const user = { id: 'u-1', name: 'Ann', domain_id: 'default', enabled: true }
  assert.deepEqual(parseEnabled({ user }, 'user'), { id: 'u-1', name: 'Ann', domainId: 'default' })
  for (const answer of [{ user: { ...user, enabled: false } }, { user: { ...user, enabled: 'true' } }, { user: { ...user, id: 7 } }, { project: user }, undefined]) {
    assert.equal(parseEnabled(answer, 'user'), undefined, JSON.stringify(answer))
  }
})

test('roles are read by name, each once', () => {
  assert.deepEqual(parseRoleNames({ role_assignments: [{ role: { name: 'member' } }, { role: { name: 'reader' } }, { role: { name: 'member' } }] }), ['member', 'reader'])
  assert.deepEqual(parseRoleNames({ role_assignments: [] }), [])
  for (const answer of [undefined, {}, { role_assignments: [{ role: { id: 'x' } }] }]) assert.equal(parseRoleNames(answer), undefined)
})
