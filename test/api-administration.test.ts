/** Domains, projects, users, groups, roles and access keys, through the real server. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startTestService, type TestAnswer, type TestService } from '@opencbr/testkit'
import { addTenant, addUser, create, logIn, PASSWORD, signedHeaders } from './support/tenants.ts'

interface Failed { readonly error: { readonly message: string } }

function expectFailure(answer: TestAnswer<unknown>, status: number, text: RegExp): void {
  assert.equal(answer.status, status, JSON.stringify(answer.body))
  const { error, error_msg: message } = answer.body as Partial<Failed> & { error_msg?: string }
  assert.match(error?.message ?? message ?? '', text)
}

function as(service: TestService, token: string) {
  return <Body = Record<string, unknown>>(method: string, path: string, body?: unknown) =>
    service.call<Body>(method, path, body, { headers: { 'x-auth-token': token } })
}

test('an administrator makes a domain, a project and a user who acts there and nowhere else', async () => {
  await using service = await startTestService({ agent: 'none' })
  const other = await addTenant(service, 'other', { ownDomain: true })
  assert.equal((await other.call('GET', '/v3/{project_id}/vaults')).status, 200)
  assert.equal((await other.call('GET', `/v3/${service.projectId}/vaults`)).status, 403)
  assert.equal((await service.call('GET', `/v3/${other.projectId}/vaults`)).status, 403, 'administering is not acting')
  const { body } = await other.call<{ projects: { id: string, name: string }[] }>('GET', '/v3/auth/projects')
  assert.deepEqual(body.projects.map(({ id, name }) => [id, name]), [[other.projectId, 'other']])
  for (const path of ['/x/v1/domains', '/x/v1/projects', '/x/v1/users', '/x/v1/groups', '/x/v1/roles', '/x/v1/role-assignments']) {
    expectFailure(await other.call('GET', path), 403, /not permitted/)
    assert.equal((await service.call('GET', path)).status, 200)
  }
})

test('a domain\'s administrator sees its own domain only, and cannot rise above it', async () => {
  await using service = await startTestService({ agent: 'none' })
  const first = await addTenant(service, 'first', { ownDomain: true })
  const second = await addTenant(service, 'second', { ownDomain: true })
  await create(service, '/x/v1/role-assignments', 'role_assignment', { role: 'administrator', user_id: first.userId, domain_id: first.domainId })
  const users = await first.call<{ users: { id: string }[], count: number }>('GET', '/x/v1/users')
  assert.deepEqual([users.body.count, users.body.users.map((user) => user.id)], [1, [first.userId]])
  for (const path of [
    `/x/v1/users/${second.userId}`, `/x/v1/projects/${second.projectId}`, `/x/v1/domains/${second.domainId}`, `/x/v1/users/${'0'.repeat(32)}`,
  ]) {
    expectFailure(await first.call('GET', path), 404, /There is no/)
    if (!path.includes('projects')) expectFailure(await first.call('DELETE', path), 404, /There is no/)
  }
  assert.equal((await first.call<{ count: number }>('GET', `/x/v1/users?domain_id=${second.domainId}`)).body.count, 0)
  expectFailure(await first.call('POST', '/x/v1/users', { user: { name: 'x', password: PASSWORD, domain_id: second.domainId } }), 404, /no domain/)
  expectFailure(await first.call('POST', '/x/v1/domains', { domain: { name: 'x' } }), 403, /administrator of the system/)
  const system = { role: 'administrator', user_id: first.userId, system: true }
  expectFailure(await first.call('POST', '/x/v1/role-assignments', { role_assignment: system }), 403, /administrator of the system/)
  const foreign = { role: 'full', user_id: first.userId, project_id: second.projectId }
  expectFailure(await first.call('POST', '/x/v1/role-assignments', { role_assignment: foreign }), 404, /no project/)
  expectFailure(await service.call('POST', '/x/v1/role-assignments', { role_assignment: foreign }), 400, /of the domain/)

  // In the administrator's own domain there may be somebody who is above it.
  const chief = await create(service, '/x/v1/users', 'user', { name: 'chief', password: PASSWORD, domain_id: first.domainId })
  const given = await create(service, '/x/v1/role-assignments', 'role_assignment', { role: 'administrator', user_id: chief.id, system: true })
  expectFailure(await first.call('PUT', `/x/v1/users/${chief.id}`, { user: { password: 'taken over now' } }), 403, /whole system/)
  expectFailure(await first.call('DELETE', `/x/v1/users/${chief.id}`), 403, /whole system/)
  expectFailure(await first.call('POST', '/x/v1/access-keys', { access_key: { user_id: chief.id } }), 403, /whole system/)
  expectFailure(await first.call('DELETE', `/x/v1/role-assignments/${given.id}`), 403, /administrator of the system/)
  const chiefs = await create(service, '/x/v1/groups', 'group', { name: 'chiefs', domain_id: first.domainId })
  await create(service, '/x/v1/role-assignments', 'role_assignment', { role: 'administrator', group_id: chiefs.id, system: true })
  expectFailure(await first.call('PUT', `/x/v1/groups/${chiefs.id}/users/${first.userId}`), 403, /whole system/)
})

test('what is taken away ends with the next call: roles, users, projects, domains', async () => {
  await using service = await startTestService({ agent: 'none' })
  const other = await addTenant(service, 'other', { ownDomain: true })
  const look = async () => (await other.call('GET', '/v3/{project_id}/vaults')).status
  assert.equal(await look(), 200)
  for (const [path, member] of [
    [`/x/v1/projects/${other.projectId}`, 'project'], [`/x/v1/domains/${other.domainId}`, 'domain'],
  ] as const) {
    assert.equal((await service.call('PUT', path, { [member]: { enabled: false } })).status, 200)
    assert.equal(await look(), 401)
    assert.equal((await service.call('PUT', path, { [member]: { enabled: true } })).status, 200)
    assert.equal(await look(), 200)
  }
  assert.equal((await service.call('PUT', `/x/v1/users/${other.userId}`, { user: { enabled: false } })).status, 200)
  assert.equal(await look(), 401)
  await service.call('PUT', `/x/v1/users/${other.userId}`, { user: { enabled: true } })
  assert.equal(await look(), 401, 'disabling ended the token')
  const token = await logIn(service, other.userId, other.projectId)
  assert.equal((await as(service, token)('GET', `/v3/${other.projectId}/vaults`)).status, 200)
  const { body } = await service.call<{ role_assignments: { id: string }[] }>('GET', `/x/v1/role-assignments?user_id=${other.userId}`)
  assert.equal(body.role_assignments.length, 1)
  assert.equal((await service.call('DELETE', `/x/v1/role-assignments/${body.role_assignments[0]?.id}`)).status, 204)
  assert.equal((await as(service, token)('GET', `/v3/${other.projectId}/vaults`)).status, 401)
})

test('a group gives its role to who is in it', async () => {
  await using service = await startTestService({ agent: 'none' })
  const project = await create(service, '/x/v1/projects', 'project', { name: 'shared' })
  const group = await create(service, '/x/v1/groups', 'group', { name: 'readers' })
  const user = await create(service, '/x/v1/users', 'user', { name: 'reader', password: PASSWORD })
  await create(service, '/x/v1/role-assignments', 'role_assignment', { role: 'read_only', group_id: group.id, project_id: project.id })
  const login = { auth: { identity: { methods: ['password'], password: { user: { id: user.id, password: PASSWORD } } }, scope: { project: { id: project.id } } } }
  assert.equal((await service.call('POST', '/v3/auth/tokens', login)).status, 401)
  assert.equal((await service.call('PUT', `/x/v1/groups/${group.id}/users/${user.id}`)).status, 204)
  const call = as(service, await logIn(service, user.id, project.id))
  assert.equal((await call('GET', `/v3/${project.id}/backups`)).status, 200)
  expectFailure(await call('POST', `/v3/${project.id}/vaults`, {}), 403, /cbr:vaults:create is not permitted/)
  assert.deepEqual((await service.call<{ group: { user_ids: string[] } }>('GET', `/x/v1/groups/${group.id}`)).body.group.user_ids, [user.id])
  assert.equal((await service.call('DELETE', `/x/v1/groups/${group.id}/users/${user.id}`)).status, 204)
  assert.equal((await call('GET', `/v3/${project.id}/backups`)).status, 401)
})

test('a role of one\'s own allows what it lists', async () => {
  await using service = await startTestService({ agent: 'none' })
  const project = await create(service, '/x/v1/projects', 'project', { name: 'p' })
  const role = await create(service, '/x/v1/roles', 'role', { name: 'taskmaster', actions: ['cbr:tasks:*', 'cbr:vaults:list'] })
  const { token } = await addUser(service, { name: 'u', project, role: 'taskmaster' })
  const call = as(service, token)
  assert.equal((await call('GET', `/v3/${project.id}/operation-logs`)).status, 200)
  assert.equal((await call('GET', `/v3/${project.id}/vaults`)).status, 200)
  assert.equal((await call('GET', `/v3/${project.id}/backups`)).status, 403)
  assert.equal((await service.call('PUT', `/x/v1/roles/${role.id}`, { role: { actions: ['cbr:backups:list'] } })).status, 200)
  assert.equal((await call('GET', `/v3/${project.id}/backups`)).status, 200)
  assert.equal((await call('GET', `/v3/${project.id}/vaults`)).status, 403)
  expectFailure(await service.call('DELETE', `/x/v1/roles/${role.id}`), 409, /Somebody still has/)
  expectFailure(await service.call('POST', '/x/v1/roles', { role: { name: 'full', actions: ['*'] } }), 409, /already/)
  expectFailure(await service.call('POST', '/x/v1/roles', { role: { name: 'x', actions: ['drop table'] } }), 400, /role\.actions\.0/)
  expectFailure(await service.call('PUT', '/x/v1/roles/full', { role: { actions: ['*'] } }), 403, /built-in/)
})

test('names are taken once, empty things are deleted and full ones stay', async () => {
  await using service = await startTestService({ agent: 'none' })
  const other = await addTenant(service, 'other', { ownDomain: true })
  expectFailure(await service.call('POST', '/x/v1/domains', { domain: { name: 'other-domain' } }), 409, /already/)
  expectFailure(await service.call('POST', '/x/v1/projects', { project: { name: 'other', domain_id: other.domainId } }), 409, /already/)
  expectFailure(await service.call('POST', '/x/v1/users', { user: { name: 'other-user', password: PASSWORD, domain_id: other.domainId } }), 409, /already/)
  expectFailure(await service.call('POST', '/x/v1/users', { user: { name: 'weak', password: 'short' } }), 400, /user\.password/)
  expectFailure(await service.call('POST', '/x/v1/users', { user: { name: 'none' } }), 400, /user\.password.*mandatory/)
  expectFailure(await service.call('POST', '/x/v1/projects', { project: { name: ' blank' } }), 400, /project\.name/)
  expectFailure(await service.call('DELETE', `/x/v1/domains/${other.domainId}`), 409, /still has projects/)
  const vault = { name: 'v', billing: { object_type: 'turbo', protect_type: 'backup', size: 10, consistent_level: 'crash_consistent' }, resources: [] }
  const made = await other.call<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', { vault })
  assert.equal(made.status, 200, JSON.stringify(made.body))
  expectFailure(await service.call('DELETE', `/x/v1/projects/${other.projectId}`), 409, /still has vaults/)
  expectFailure(await service.call('DELETE', `/x/v1/projects/${service.projectId}`), 409, /name of its region/)
  const empty = await addTenant(service, 'empty', { ownDomain: true })
  assert.equal((await service.call('DELETE', `/x/v1/projects/${empty.projectId}`)).status, 204)
  expectFailure(await service.call('DELETE', `/x/v1/domains/${empty.domainId}`), 409, /still has users/)
  assert.equal((await service.call('DELETE', `/x/v1/users/${empty.userId}`)).status, 204)
  assert.equal((await service.call('DELETE', `/x/v1/domains/${empty.domainId}`)).status, 204)
  assert.equal((await service.call('GET', `/x/v1/domains/${empty.domainId}`)).status, 404)
})

test('somebody who administers the system is always left', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { body: { role_assignments: all } } = await service.call<{ role_assignments: { id: string, system: boolean, user_id: string }[] }>('GET', '/x/v1/role-assignments')
  const mine = all.find((assignment) => assignment.system)
  assert.ok(mine)
  expectFailure(await service.call('DELETE', `/x/v1/role-assignments/${mine.id}`), 409, /Nobody would be left/)
  expectFailure(await service.call('DELETE', `/x/v1/users/${mine.user_id}`), 409, /own user/)
  expectFailure(await service.call('PUT', `/x/v1/users/${mine.user_id}`, { user: { enabled: false } }), 409, /own user/)
  const second = await create(service, '/x/v1/users', 'user', { name: 'second', password: PASSWORD })
  await create(service, '/x/v1/role-assignments', 'role_assignment', { role: 'administrator', user_id: second.id, system: true })
  assert.equal((await service.call('DELETE', `/x/v1/role-assignments/${mine.id}`)).status, 204)
})

test('access keys are made, disabled and deleted; a secret is shown once', async () => {
  await using service = await startTestService({ agent: 'none' })
  const tenant = await addTenant(service, 'keys')
  const made = await tenant.call<{ access_key: { access_key: string, secret_key: string } }>('POST', '/x/v1/access-keys', { access_key: { description: 'mine' } })
  assert.equal(made.status, 201)
  const key = { accessKey: made.body.access_key.access_key, secretKey: made.body.access_key.secret_key }
  const path = `/v3/${tenant.projectId}/vaults`
  const look = async () => (await service.call('GET', path, undefined, { headers: signedHeaders(service, 'GET', path, key) })).status
  assert.equal(await look(), 200)
  const list = await tenant.call<{ access_keys: Record<string, unknown>[], count: number }>('GET', '/x/v1/access-keys')
  assert.equal(list.body.count, 1)
  assert.ok(!JSON.stringify(list.body).includes(key.secretKey))
  const one = `/x/v1/access-keys/${key.accessKey}`
  assert.equal((await tenant.call('PUT', one, { access_key: { enabled: false } })).status, 200)
  assert.equal(await look(), 401)
  await tenant.call('PUT', one, { access_key: { enabled: true } })
  assert.equal(await look(), 200)
  const stranger = await addTenant(service, 'stranger')
  for (const method of ['PUT', 'DELETE'] as const) {
    expectFailure(await stranger.call(method, one, method === 'PUT' ? { access_key: { enabled: false } } : undefined), 404, /no access key/)
  }
  expectFailure(await stranger.call('GET', `/x/v1/access-keys?user_id=${tenant.userId}`), 403, /identity:keys:list/)
  assert.equal((await service.call<{ count: number }>('GET', `/x/v1/access-keys?user_id=${tenant.userId}`)).body.count, 1)
  assert.equal((await service.call('DELETE', one)).status, 204)
  assert.equal(await look(), 401)
})

const order = (seconds?: number) => ({ auth: { identity: { methods: ['token'], token: seconds === undefined ? {} : { duration_seconds: seconds } } } })

test('temporary keys act in their project until they end, and only with their token', async () => {
  await using service = await startTestService({ agent: 'none' })
  const path = '/v3.0/OS-CREDENTIAL/securitytokens'
  const made = await service.call<{ credential: { access: string, secret: string, securitytoken: string, expires_at: string } }>('POST', path, order(3600))
  assert.equal(made.status, 201)
  const { credential } = made.body
  assert.equal(credential.expires_at, '2026-01-15T09:30:00.000000Z')
  const key = { accessKey: credential.access, secretKey: credential.secret, securityToken: credential.securitytoken }
  const target = `/v3/${service.projectId}/vaults`
  const call = (with_: Parameters<typeof signedHeaders>[3], method = 'GET', at = target, body?: unknown) =>
    service.call(method, at, body, { headers: signedHeaders(service, method, at, with_, body) })
  assert.equal((await call(key)).status, 200)
  assert.equal((await call({ accessKey: key.accessKey, secretKey: key.secretKey })).status, 401)
  assert.equal((await call({ ...key, securityToken: `${key.securityToken}x` })).status, 401)
  assert.equal((await call({ ...key, secretKey: `${key.secretKey}x` })).status, 401)
  expectFailure(await call(key, 'GET', '/x/v1/users'), 403, /not permitted/)
  expectFailure(await call(key, 'POST', path, order()), 403, /temporary key/)
  expectFailure(await call(key, 'POST', '/x/v1/access-keys', { access_key: {} }), 403, /temporary key/)
  for (const [body, status, text] of [
    [order(60), 400, /duration_seconds/],
    [{ auth: { identity: { methods: ['assume_role'] } } }, 401, /agencies/],
    [{ auth: { identity: { methods: ['token'], policy: {} } } }, 400, /policy/],
  ] as const) expectFailure(await service.call('POST', path, body), status, text)
  service.clock.advanceSeconds(3600)
  assert.equal((await call(key)).status, 401)
})

const passwordBody = (original: string, password: string) => ({ user: { original_password: original, password } })

test('users change their own password, and every token of theirs ends', async () => {
  await using service = await startTestService({ agent: 'none' })
  const tenant = await addTenant(service, 'p')
  const path = `/v3/users/${tenant.userId}/password`
  expectFailure(await tenant.call('POST', path, passwordBody('wrong wrong wrong', 'another password')), 400, /original password/)
  expectFailure(await service.call('POST', path, passwordBody(PASSWORD, 'another password')), 403, /own password/)
  expectFailure(await tenant.call('POST', path, passwordBody(PASSWORD, PASSWORD)), 400, /the old one/)
  assert.equal((await tenant.call('POST', path, passwordBody(PASSWORD, 'another password'))).status, 204)
  assert.equal((await tenant.call('GET', '/v3/{project_id}/vaults')).status, 401)
  await assert.rejects(logIn(service, tenant.userId, tenant.projectId), /401/)
  await logIn(service, tenant.userId, tenant.projectId, 'another password')
})

test('lists page by limit, offset and marker', async () => {
  await using service = await startTestService({ agent: 'none' })
  for (const name of ['c', 'a', 'b']) await create(service, '/x/v1/projects', 'project', { name })
  const list = async (query: string) => (await service.call<{ projects: { id: string, name: string }[], count: number }>('GET', `/x/v1/projects?${query}`)).body
  const all = await list('')
  assert.deepEqual(all.projects.map(({ name }) => name), ['a', 'b', 'c', 'test-1'])
  assert.equal(all.count, 4)
  const second = await list(`limit=2&marker=${all.projects[0]?.id}`)
  assert.deepEqual([second.projects.map(({ name }) => name), second.count], [['b', 'c'], 4])
  assert.deepEqual((await list('limit=2&offset=3')).projects.map(({ name }) => name), ['test-1'])
  assert.deepEqual((await list('offset=9')).projects, [])
  assert.deepEqual((await list('marker=unknown')).projects, [])
  assert.deepEqual((await list('name=b')).projects.map(({ name }) => name), ['b'])
  const assigned = await service.call<{ role_assignments: { id: string }[], count: number }>('GET', '/x/v1/role-assignments?limit=1')
  const next = await service.call<{ role_assignments: { id: string }[] }>('GET', `/x/v1/role-assignments?limit=1&marker=${assigned.body.role_assignments[0]?.id}`)
  assert.equal(assigned.body.count, 2)
  assert.notEqual(next.body.role_assignments[0]?.id, assigned.body.role_assignments[0]?.id)
})
