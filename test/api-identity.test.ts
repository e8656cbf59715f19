import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { test } from 'node:test'
import {
  CatalogResponse, DomainListResponse, formatSdkDate, ProjectListResponse, signRequest, TokenResponse, UserListResponse, type SigningForm,
} from '@opencbr/contract'
import { startTestService, type TestService } from '@opencbr/testkit'
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'

const HOURS = 3600
const NO_TOKEN = { headers: { 'x-auth-token': '' } }

interface TokenBody {
  readonly token: {
    readonly methods: string[]
    readonly issued_at: string
    readonly expires_at: string
    readonly user: { readonly id: string, readonly name: string, readonly domain: { readonly id: string, readonly name: string } }
    readonly project?: { readonly id: string, readonly name: string }
    readonly domain?: { readonly id: string }
    readonly catalog?: { readonly type: string, readonly endpoints: { readonly url: string, readonly region: string, readonly interface: string }[] }[]
  }
}

interface ErrorBody {
  readonly error: { readonly code: number, readonly message: string, readonly title: string }
}

function passwordOf({ bootstrap }: TestService, changes: Record<string, unknown> = {}): Record<string, unknown> {
  const user = { name: bootstrap.user_name, password: bootstrap.password, domain: { name: bootstrap.domain_name }, ...changes }
  return { methods: ['password'], password: { user } }
}

async function logIn<Body = TokenBody>(service: TestService, auth: Record<string, unknown>, path = '/v3/auth/tokens') {
  return service.call<Body>('POST', path, { auth }, NO_TOKEN)
}

test('a login by password answers what clients read, at both paths', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { bootstrap } = service
  for (const path of ['/v3/auth/tokens', '/identity/v3/auth/tokens']) {
    const answer = await logIn(service, {
      identity: passwordOf(service),
      scope: { project: { name: bootstrap.project_name, domain: { name: bootstrap.domain_name } } },
    }, path)
    assert.equal(answer.status, 201)
    assert.match(answer.headers.get('x-subject-token') ?? '', /^[A-Za-z0-9_-]{43}$/)
    assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8')
    const { token } = answer.body
    assert.ok(Value.Check(TokenResponse, answer.body))
    assert.equal(token.issued_at, '2026-01-15T08:30:00.000000Z')
    assert.equal(token.expires_at, '2026-01-16T08:30:00.000000Z')
    assert.deepEqual(token.project, {
      id: bootstrap.project_id, name: 'test-1', domain: { id: bootstrap.domain_id, name: bootstrap.domain_name },
    })
    const cbr = token.catalog?.find((entry) => entry.type === 'cbr')
    assert.deepEqual(cbr?.endpoints, [{
      id: 'cbr-public', interface: 'public', region: 'test-1', region_id: 'test-1', url: `${service.url}/v3/${bootstrap.project_id}`,
    }])
    assert.ok(token.catalog?.every((entry) => ['cbr', 'identity'].includes(entry.type)))
  }
})

test('a user is known by id as well, and every way to name the scope works', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { bootstrap } = service
  const byId = { methods: ['password'], password: { user: { id: '', password: bootstrap.password } } }
  const first = await logIn(service, { identity: passwordOf(service) })
  byId.password.user.id = first.body.token.user.id
  assert.equal(first.body.token.project?.id, bootstrap.project_id)
  const projectScopes = [
    undefined, 'unscoped', { project: { id: bootstrap.project_id } }, { project: { name: bootstrap.project_name } },
    { project: { name: bootstrap.project_name, domain: { id: bootstrap.domain_id } } },
  ]
  for (const scope of projectScopes) {
    const answer = await logIn(service, { identity: byId, scope })
    assert.equal(answer.status, 201, JSON.stringify(scope))
    assert.equal(answer.body.token.project?.id, bootstrap.project_id)
  }
  for (const domain of [{ id: bootstrap.domain_id }, { name: bootstrap.domain_name }]) {
    const answer = await logIn(service, { identity: byId, scope: { domain } })
    assert.equal(answer.body.token.domain?.id, bootstrap.domain_id)
    assert.equal(answer.body.token.project, undefined)
    assert.deepEqual(answer.body.token.catalog?.map((entry) => entry.type), ['identity'])
    const elsewhere = await service.call('GET', '/v3/auth/projects', undefined, { headers: { 'x-auth-token': answer.headers.get('x-subject-token') ?? '' } })
    assert.equal(elsewhere.status, 200)
  }
})

test('wrong credentials get one and the same answer', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { bootstrap } = service
  const wrong = [
    { identity: passwordOf(service, { password: `${bootstrap.password}x` }) },
    { identity: passwordOf(service, { name: 'nobody' }) },
    { identity: passwordOf(service, { domain: { name: 'nowhere' } }) },
    { identity: passwordOf(service, { domain: {} }) },
    { identity: passwordOf(service, { id: 'f'.repeat(32) }) },
    { identity: { methods: ['token'], token: { id: 'nonsense' } } },
    { identity: passwordOf(service), scope: { project: { id: 'f'.repeat(32) } } },
    { identity: passwordOf(service), scope: { project: { name: 'elsewhere' } } },
    { identity: passwordOf(service), scope: { project: { name: bootstrap.project_name, domain: { name: 'nowhere' } } } },
    { identity: passwordOf(service), scope: { domain: { name: 'nowhere' } } },
  ]
  for (const auth of wrong) {
    const answer = await logIn<ErrorBody>(service, auth)
    assert.equal(answer.status, 401, JSON.stringify(auth))
    assert.deepEqual(answer.body, {
      error: { code: 401, message: 'The request you have made requires authentication.', title: 'Unauthorized' },
    })
    assert.equal(answer.headers.get('x-subject-token'), null)
  }
})

test('malformed logins get 400 and name what is missing', async () => {
  await using service = await startTestService({ agent: 'none' })
  const identity = passwordOf(service)
  const malformed: [unknown, RegExp][] = [
    [undefined, /body/],
    ['{', /not JSON/],
    [[], /body/],
    [{}, /Invalid auth provided/],
    [{ auth: {} }, /auth\.identity/],
    [{ auth: { identity: {} } }, /auth\.identity\.methods/],
    [{ auth: { identity: { methods: [] } } }, /auth\.identity\.methods/],
    [{ auth: { identity: { methods: ['password'] } } }, /password in auth\.identity/],
    [{ auth: { identity: { methods: ['token'] } } }, /token in auth\.identity/],
    [{ auth: { identity: { methods: ['password'], password: { user: { name: 'admin', password: 'x' } } } } }, /name and domain/],
    [{ auth: { identity, scope: 'all' } }, /auth\.scope/],
    [{ auth: { identity, scope: { project: {} } } }, /auth\.scope\.project/],
    [{ auth: { identity, scope: { project: { id: 'x' }, domain: { id: 'y' } } } }, /either project or domain/],
  ]
  for (const [body, text] of malformed) {
    const answer = await service.call<ErrorBody>('POST', '/v3/auth/tokens', body, NO_TOKEN)
    assert.equal(answer.status, 400, JSON.stringify(body))
    assert.match(answer.body.error.message, text)
    assert.equal(answer.body.error.title, 'Bad Request')
  }
  for (const methods of [['totp'], ['password', 'token']]) {
    assert.equal((await logIn(service, { identity: { ...identity, methods } })).status, 401)
  }
})

test('a token ends after 24 hours, and one that was got with it no later', async () => {
  await using service = await startTestService({ agent: 'none' })
  const get = () => service.call('GET', '/v3/auth/projects')
  service.clock.advanceSeconds(23 * HOURS)
  const later = await logIn(service, { identity: { methods: ['token'], token: { id: service.token } } })
  assert.equal(later.status, 201)
  assert.equal(later.body.token.expires_at, '2026-01-16T08:30:00.000000Z')
  assert.deepEqual(later.body.token.methods, ['password', 'token'])
  service.clock.advanceSeconds(HOURS - 1)
  assert.equal((await get()).status, 200)
  service.clock.advanceSeconds(1)
  assert.equal((await get()).status, 401)
  await logIn(service, { identity: passwordOf(service) })
  const { count } = await service.service.deps.db.selectFrom('tokens')
    .select(({ fn }) => fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  assert.equal(count, 1, 'expired tokens are forgotten')
})

test('no token can be read from the database', async () => {
  await using service = await startTestService({ agent: 'none' })
  const rows = await service.service.deps.db.selectFrom('tokens').selectAll().execute()
  assert.equal(rows.length, 1)
  assert.ok(!JSON.stringify(rows).includes(service.token))
  const keys = await service.service.deps.db.selectFrom('access_keys').selectAll().execute()
  assert.ok(!JSON.stringify(keys).includes(service.bootstrap.secret_key))
  const users = await service.service.deps.db.selectFrom('users').selectAll().execute()
  assert.ok(!JSON.stringify(users).includes(service.bootstrap.password))
})

test('a token is shown, checked and revoked', async () => {
  await using service = await startTestService({ agent: 'none' })
  const other = (await logIn(service, { identity: passwordOf(service) })).headers.get('x-subject-token') ?? ''
  const subject = { headers: { 'x-subject-token': other } }
  const shown = await service.call<TokenBody>('GET', '/v3/auth/tokens', undefined, subject)
  assert.equal(shown.status, 200)
  assert.equal(shown.headers.get('x-subject-token'), other)
  assert.ok(Value.Check(TokenResponse, shown.body))
  const lean = await service.call<TokenBody>('GET', '/v3/auth/tokens?nocatalog', undefined, subject)
  assert.equal(lean.body.token.catalog, undefined)
  assert.equal((await service.call('HEAD', '/v3/auth/tokens', undefined, subject)).status, 200)
  assert.equal((await service.call('DELETE', '/v3/auth/tokens', undefined, subject)).status, 204)
  for (const method of ['GET', 'HEAD', 'DELETE']) {
    assert.equal((await service.call(method, '/v3/auth/tokens', undefined, subject)).status, 404)
  }
  assert.equal((await service.call('GET', '/v3/auth/tokens')).status, 400)
  const unknown = await service.call<ErrorBody>('GET', '/v3/auth/tokens', undefined, { headers: { 'x-auth-token': other, 'x-subject-token': other } })
  assert.equal(unknown.status, 401)
  assert.equal(unknown.body.error.title, 'Unauthorized')
})

test('the lists show what is the caller\'s own', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { bootstrap } = service
  const lists: [string, TSchema, string, number][] = [
    ['/v3/projects', ProjectListResponse, 'projects', 1],
    ['/v3/projects?name=test-1', ProjectListResponse, 'projects', 1],
    ['/v3/projects?name=test-2', ProjectListResponse, 'projects', 0],
    [`/v3/projects?domain_id=${bootstrap.domain_id}`, ProjectListResponse, 'projects', 1],
    ['/v3/projects?domain_id=other', ProjectListResponse, 'projects', 0],
    ['/v3/auth/projects', ProjectListResponse, 'projects', 1],
    ['/v3/auth/domains', DomainListResponse, 'domains', 1],
    [`/v3/auth/domains?name=${bootstrap.domain_name}`, DomainListResponse, 'domains', 1],
    ['/v3/auth/domains?name=x', DomainListResponse, 'domains', 0],
    ['/v3/users', UserListResponse, 'users', 1],
    ['/v3/users?name=admin', UserListResponse, 'users', 1],
    ['/v3/users?name=x', UserListResponse, 'users', 0],
    ['/v3/users?domain_id=x', UserListResponse, 'users', 0],
    ['/v3/auth/catalog', CatalogResponse, 'catalog', 2],
  ]
  for (const [path, schema, member, count] of lists) {
    for (const prefix of ['', '/identity']) {
      const answer = await service.call<Record<string, unknown[]>>('GET', prefix + path)
      assert.equal(answer.status, 200, path)
      assert.ok(Value.Check(schema, answer.body), path)
      assert.equal(answer.body[member]?.length, count, path)
      assert.equal((await service.call('GET', prefix + path, undefined, NO_TOKEN)).status, 401)
    }
  }
  const projects = await service.call<{ projects: { id: string }[] }>('GET', '/v3/projects?name=test-1')
  assert.equal(projects.body.projects[0]?.id, bootstrap.project_id)
})

test('versions are listed without a token', async () => {
  await using service = await startTestService({ agent: 'none' })
  const v3 = { id: 'v3', status: 'CURRENT', links: [{ href: `${service.url}/v3/`, rel: 'self' }] }
  for (const path of ['/', '/identity', '/cbr', '/vbs', '/csbs']) {
    const answer = await service.call('GET', path, undefined, NO_TOKEN)
    assert.equal(answer.status, 300, path)
    assert.deepEqual(answer.body, { versions: [v3] })
  }
  for (const path of ['/v3', '/v3/', '/identity/v3']) {
    const answer = await service.call('GET', path, undefined, NO_TOKEN)
    assert.equal(answer.status, 200, path)
    assert.deepEqual(answer.body, { version: v3, versions: [v3] })
  }
  assert.equal((await service.call('GET', '/evs', undefined, NO_TOKEN)).status, 404)
})

/** Sends a signed request over a bare connection, so that nothing but the given headers is on the wire. */
async function sendSigned(
  service: TestService, target: string,
  { form = { kind: 'plain' }, atMs, headers = {}, body = '', secretKey = service.bootstrap.secret_key, accessKey = service.bootstrap.access_key }: {
    form?: SigningForm, atMs?: number, headers?: Record<string, string>, body?: string, secretKey?: string, accessKey?: string
  } = {},
): Promise<{ status: number, body: Record<string, unknown> }> {
  const url = new URL(service.url)
  const signed = { host: url.host, 'x-sdk-date': formatSdkDate(atMs ?? service.clock.now() / 1000) }
  const bytes = Buffer.from(body)
  const authorization = signRequest({ method: 'GET', target, headers: signed, body: bytes }, { accessKey, secretKey }, form)
  const call = httpRequest({
    host: url.hostname, port: url.port, path: target, method: 'GET',
    headers: { ...signed, authorization, ...headers, ...(body === '' ? {} : { 'content-length': bytes.length }) },
  })
  call.end(bytes)
  const [response] = await once(call, 'response') as [AsyncIterable<Buffer> & { statusCode: number }]
  let text = ''
  for await (const chunk of response) text += chunk.toString()
  return { status: response.statusCode, body: JSON.parse(text) as Record<string, unknown> }
}

test('requests signed with the access key are taken in all three forms', async () => {
  await using service = await startTestService({ agent: 'none' })
  const forms: SigningForm[] = [{ kind: 'plain' }, { kind: 'derived', region: 'test-1', service: 'cbr' }, { kind: 'scoped', region: '', service: '' }]
  for (const form of forms) {
    assert.equal((await sendSigned(service, '/v3/projects?name=test-1', { form })).status, 200)
    // The Node SDK's look-ups are GETs with the body {}, which is signed.
    assert.equal((await sendSigned(service, '/v3/projects?name=test-1', { form, body: '{}' })).status, 200)
    assert.equal((await sendSigned(service, '/v3/projects?name=test-1', { form, secretKey: 'x' })).status, 401)
    assert.equal((await sendSigned(service, '/v3/projects?name=test-1', { form, accessKey: 'x' })).status, 401)
  }
  const catalog = await sendSigned(service, '/v3/auth/catalog')
  assert.match(JSON.stringify(catalog.body), new RegExp(`${service.url}/v3/${service.projectId}"`))
})

test('a signature is good for the projects of its user, whatever X-Project-Id says', async () => {
  await using service = await startTestService({ agent: 'none' })
  assert.equal((await sendSigned(service, `/v3/${service.projectId}/vaults?limit=1`)).status, 200)
  assert.equal((await sendSigned(service, `/v3/${service.projectId}/vaults`, { headers: { 'x-project-id': 'f'.repeat(32) } })).status, 200)
  const foreign = await sendSigned(service, `/v3/${'f'.repeat(32)}/vaults`, { headers: { 'x-project-id': service.projectId } })
  assert.equal(foreign.status, 403)
  assert.equal(foreign.body['error_code'], 'APIGW.0302')
  const unknown = await sendSigned(service, `/v3/${service.projectId}/vaults`, { accessKey: 'UNKNOWN' })
  const wrong = await sendSigned(service, `/v3/${service.projectId}/vaults`, { secretKey: 'wrong' })
  assert.equal(unknown.status, 401)
  assert.equal(unknown.body['error_msg'], wrong.body['error_msg'])
})

test('a signature is good for 15 minutes, either way', async () => {
  await using service = await startTestService({ agent: 'none' })
  const now = service.clock.now() / 1000
  for (const [minutes, status] of [[-15, 200], [15, 200], [-15.1, 401], [15.1, 401]] as const) {
    const answer = await sendSigned(service, '/v3/auth/domains', { atMs: now + minutes * 60_000 })
    assert.equal(answer.status, status, String(minutes))
  }
})

test('what is wrong with signed credentials is told', async () => {
  await using service = await startTestService({ agent: 'none' })
  const messages: [Record<string, string>, RegExp][] = [
    [{ authorization: 'SDK-HMAC-SM3 Access=a, SignedHeaders=x-sdk-date, Signature=b' }, /SDK-HMAC-SM3 is not supported/],
    [{ authorization: 'SDK-HMAC-SHA256 nonsense' }, /malformed/],
    [{ authorization: 'SDK-ECDSA-P256-SHA256 Access=a, SignedHeaders=x-sdk-date, Signature=b' }, /SDK-ECDSA-P256-SHA256 is not supported, use SDK-HMAC-SHA256/],
    [{ authorization: 'AWS4-HMAC-SHA256 Credential=a/20260115/r/s/aws4_request, SignedHeaders=host, Signature=b' }, /AWS4-HMAC-SHA256 is not supported/],
    [{ authorization: 'Basic YTpi' }, /Basic is not supported/],
    [{ authorization: 'MIIFsecret' }, /algorithm is not supported/],
    [{ 'x-security-token': 'temporary' }, /X-Security-Token/],
    [{ 'x-sdk-date': 'yesterday' }, /X-Sdk-Date/],
  ]
  for (const [headers, text] of messages) {
    const answer = await sendSigned(service, '/v3/auth/domains', { headers })
    assert.equal(answer.status, 401)
    assert.match((answer.body['error'] as { message: string }).message, text)
  }
})

test('a path that cannot be decoded gets 400, not the framework\'s own answer', async () => {
  await using service = await startTestService({ agent: 'none' })
  const answer = await service.call('GET', '/v3/%zz/vaults')
  assert.equal(answer.status, 400)
  assert.equal(answer.body['error_code'], 'APIGW.0106')
  assert.match(answer.headers.get('x-request-id') ?? '', /^[0-9a-f]{32}$/)
})
