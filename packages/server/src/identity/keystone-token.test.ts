import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { allowsCall, mapRoles, parseKeystoneToken } from './keystone-token.ts'

const PROJECT = 'f418689e3c44429b9b2fadb5105b33a4'
const domain = { id: 'default', name: 'Default' }
const described = {
  methods: ['password'],
  user: { id: '9569687aae944b239fcd65eaf58fe26f', name: 'ann', domain, password_expires_at: null },
  expires_at: '2026-01-15T09:30:15.000000Z',
  project: { id: PROJECT, name: 'backups', domain },
  roles: [{ id: '1', name: 'reader' }, { id: '2', name: 'member' }],
}

test('a token of a project says who acts where, with which roles, and until when', () => {
  assert.deepEqual(parseKeystoneToken({ token: described }), {
    user: { id: described.user.id, name: 'ann', domain },
    project: { id: PROJECT, name: 'backups', domain },
    roles: ['reader', 'member'],
    expiresAt: Date.UTC(2026, 0, 15, 9, 30, 15) * 1000,
    accessRules: undefined,
  })
})

test('a token of a domain, of the system or of nothing has no project', () => {
  const { project: _project, ...unscoped } = described
  assert.equal(parseKeystoneToken({ token: { ...unscoped, domain } })?.project, undefined)
  assert.equal(parseKeystoneToken({ token: { ...unscoped, system: { all: true } } })?.user.name, 'ann')
})

test('nobody is let in on an answer of another form', () => {
  const bad = [
    { user: undefined }, { user: { ...described.user, id: '../..' } }, { user: { id: 'a', name: 'ann' } }, { expires_at: 'soon' }, { expires_at: null },
    { project: { ...described.project, id: 'auth' } }, { project: { ...described.project, id: '../../etc' } }, { project: null }, { roles: 'admin' },
    { application_credential: { access_rules: [{ service: 'cbr' }] } }, { application_credential: { access_rules: 'all' } },
  ]
  for (const change of bad) assert.equal(parseKeystoneToken({ token: { ...described, ...change } }), undefined, JSON.stringify(change))
  fc.assert(fc.property(fc.jsonValue(), (value) => parseKeystoneToken(value) === undefined && parseKeystoneToken({ token: value }) === undefined))
})

test('roles give what the map says, and those it does not name give nothing', () => {
  const map = { admin: 'administrator', member: 'full', reader: 'read_only' }
  const namesOf = (roles: string[]) => mapRoles(roles, map).map((role) => role.name)
  assert.deepEqual(namesOf(['reader', 'Member']), ['full', 'read_only'])
  assert.deepEqual(namesOf(['auditor', 'toString', '__proto__']), [])
  assert.deepEqual(mapRoles(['member'], { member: 'no_such_role' }), [])
})

const rule = (path: string, method = 'GET', service = 'cbr') => [{ service, method, path }]

test('rules of an application credential compare method and path, with stars', () => {
  const path = `/v3/${PROJECT}/vaults/1`
  assert.ok(allowsCall(rule(`/v3/{project_id}/vaults/*`), 'get', path))
  assert.ok(allowsCall(rule('/v3/**'), 'GET', path))
  assert.ok(allowsCall(rule(path), 'GET', path))
  assert.ok(!allowsCall(rule('/v3/*'), 'GET', path))
  assert.ok(!allowsCall(rule('/v3/*/vaults'), 'GET', path))
  assert.ok(!allowsCall(rule('/v3/**', 'POST'), 'GET', path))
  assert.ok(!allowsCall(rule('/v3/**', 'GET', 'compute'), 'GET', path))
  assert.ok(!allowsCall(rule('/v3/.*'), 'GET', path))
  assert.ok(!allowsCall([], 'GET', path))
})
