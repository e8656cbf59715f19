/** Every operation, called by everybody who may not and everybody who may, against the declared permissions. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { allRoutes, type Route } from '@opencbr/server'
import { startTestService, type TestService } from '@opencbr/testkit'
import { mayCall, renderPermissions, ROLE_NAMES } from './support/permission-table.ts'
import { addTenant, addUser, create, logIn, PASSWORD, signedHeaders, type Tenant } from './support/tenants.ts'

let service: TestService
let routes: Route[]
let tenant: Tenant

before(async () => {
  service = await startTestService({ agent: 'none' })
  // Asked for often, and always the same; a call that waits for events would wait in vain.
  routes = allRoutes(service.service.deps)
  tenant = await addTenant(service, 'tenant')
})

after(async () => {
  await service[Symbol.asyncDispose]()
})

/** Something in every place of the path; only the project is there. */
function targetOf(route: Route): string {
  return route.path.replaceAll(/:(\w+)/g, (_match, name: string) => {
    if (name === 'project_id') return tenant.projectId
    return name === 'protectable_type' ? 'turbo' : '7c9f5f5e-0a4b-4d0e-8c39-2f6f0a5a4b11'
  })
}

/** A body that no operation takes: whoever is admitted is told so, and nothing happens. */
function bodyOf(route: Route): unknown {
  return route.method === 'GET' || route.method === 'HEAD' || route.method === 'DELETE' ? undefined : []
}

type Outcome = 'unauthenticated' | 'denied' | 'admitted'

async function judge(route: Route, headers: Record<string, string>): Promise<Outcome> {
  const { status, body } = await service.call<{ error_msg?: string, error?: { message: string } } | undefined>(
    route.method, targetOf(route), bodyOf(route), { headers },
  )
  if (status === 401) return 'unauthenticated'
  const message = body?.error_msg ?? body?.error?.message ?? ''
  return status === 403 && (route.method === 'HEAD' || /not permitted|not good for this project/.test(message)) ? 'denied' : 'admitted'
}

async function judgeAll(headersOf: (route: Route) => Record<string, string>, expected: (route: Route) => Outcome): Promise<void> {
  const wrong: string[] = []
  for (const route of routes) {
    const outcome = await judge(route, headersOf(route))
    if (outcome !== expected(route)) wrong.push(`${route.operationId}: ${outcome}, not ${expected(route)}`)
  }
  assert.deepEqual(wrong, [])
}

const isPublic = ({ access }: Route): boolean => access.kind === 'public'
const unlessPublic = (outcome: Outcome) => (route: Route): Outcome => (isPublic(route) ? 'admitted' : outcome)

test('docs/operating/permissions.md is what operations and roles declare; write it with node scripts/write-permissions.ts', () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/operating/permissions.md'), 'utf8')
  const [found, expected] = [page, renderPermissions(routes)].map((text) => text.split('\n')) as [string[], string[]]
  assert.deepEqual(
    { missing: expected.filter((line) => !found.includes(line)), superfluous: found.filter((line) => !expected.includes(line)) },
    { missing: [], superfluous: [] },
  )
})

test('every operation of a project declares an action with a place in the built-in roles', () => {
  for (const { operationId, access } of routes) {
    if (access.kind === 'project') assert.match(access.action, /^cbr:[a-zA-Z-]+:[a-zA-Z]+$/, operationId)
    if (access.kind === 'administration') assert.match(access.action, /^identity:[a-zA-Z]+:[a-z]+$/, operationId)
  }
})

test('nobody is admitted to nothing but what is public', async () => {
  await judgeAll(() => ({ 'x-auth-token': '' }), unlessPublic('unauthenticated'))
})

test('credentials for another project are denied, whatever the role there', async () => {
  const stranger = await addTenant(service, 'stranger', { role: 'administrator', ownDomain: true })
  await judgeAll(() => ({ 'x-auth-token': stranger.token }), (route) => (route.access.kind === 'project' || route.access.kind === 'administration' ? 'denied' : 'admitted'))
})

for (const role of ROLE_NAMES) {
  test(`${role} is admitted to what it may do`, async () => {
    const { token } = await addUser(service, { name: `as-${role}`, project: { id: tenant.projectId }, role })
    await judgeAll(() => ({ 'x-auth-token': token }), (route) => (mayCall(role, route) ? 'admitted' : 'denied'))
  })
}

test('a role of one\'s own is admitted to its one action', async () => {
  await create(service, '/x/v1/roles', 'role', { name: 'lister', actions: ['cbr:backups:list'] })
  const { token } = await addUser(service, { name: 'as-lister', project: { id: tenant.projectId }, role: 'lister' })
  await judgeAll(() => ({ 'x-auth-token': token }), ({ access }) => (
    access.kind === 'public' || access.kind === 'authenticated' || (access.kind === 'project' && access.action === 'cbr:backups:list') ? 'admitted' : 'denied'
  ))
})

test('an administrator of the domain administers', async () => {
  const user = await create(service, '/x/v1/users', 'user', { name: 'as-domain-administrator', password: PASSWORD })
  await create(service, '/x/v1/role-assignments', 'role_assignment', { role: 'administrator', user_id: user.id, domain_id: service.bootstrap.domain_id })
  const token = await logIn(service, user.id, tenant.projectId)
  await judgeAll(() => ({ 'x-auth-token': token }), () => 'admitted')
})

test('a key that was disabled or deleted, a user who was disabled, and a token that was revoked or has expired are nobody', async () => {
  const keyOf = async (): Promise<{ accessKey: string, secretKey: string }> => {
    const { body } = await tenant.call<{ access_key: { access_key: string, secret_key: string } }>('POST', '/x/v1/access-keys', { access_key: {} })
    return { accessKey: body.access_key.access_key, secretKey: body.access_key.secret_key }
  }
  const [disabled, deleted] = [await keyOf(), await keyOf()]
  const sign = (key: { accessKey: string, secretKey: string }) => (route: Route) => signedHeaders(service, route.method, targetOf(route), key, bodyOf(route))
  const projectRoutes = routes.filter((route) => route.access.kind === 'project')
  const [first] = projectRoutes
  assert.ok(first !== undefined)
  assert.equal(await judge(first, sign(disabled)(first)), 'admitted')
  await tenant.call('PUT', `/x/v1/access-keys/${disabled.accessKey}`, { access_key: { enabled: false } })
  await tenant.call('DELETE', `/x/v1/access-keys/${deleted.accessKey}`)
  for (const key of [disabled, deleted]) await judgeAll(sign(key), unlessPublic('unauthenticated'))

  const revoked = await logIn(service, tenant.userId, tenant.projectId)
  assert.equal((await service.call('DELETE', '/v3/auth/tokens', undefined, { headers: { 'x-auth-token': revoked, 'x-subject-token': revoked } })).status, 204)
  await judgeAll(() => ({ 'x-auth-token': revoked }), unlessPublic('unauthenticated'))

  // Last: it is the service's own token that ends, too.
  const expiring = await logIn(service, tenant.userId, tenant.projectId)
  service.clock.advanceSeconds(24 * 3600)
  await judgeAll(() => ({ 'x-auth-token': expiring }), unlessPublic('unauthenticated'))
})
