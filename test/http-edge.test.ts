/** What the server is towards clients it knows nothing of: TLS, proxies, headers, limits, and a log without secrets. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { AuditRecord } from '@opencbr/contract'
import { openService, StartRefusal, type ServerConfig, type Service } from '@opencbr/server'
import { startTestService } from '@opencbr/testkit'

const program = join(resolve(import.meta.dirname, '..'), 'packages/cli/src/main.ts')

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'opencbr-edge-'))
  try {
    await run(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

interface Pair { readonly certFile: string, readonly keyFile: string }

function makeCertificate(folder: string, name: string): Pair {
  const [certFile, keyFile] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)]
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30', '-subj', `/CN=${name}`,
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', keyFile, '-out', certFile,
  ], { stdio: 'ignore' })
  return { certFile, keyFile }
}

function openTlsService(folder: string, tls: Pair): Promise<Service> {
  const config: ServerConfig = {
    dataDir: join(folder, 'data'), listen: { host: '127.0.0.1', port: 0 }, region: 'test-1', allowPaths: [], strictResources: false, logLevel: 'silent', tls,
  }
  return openService(config, { agent: 'none', scheduler: { timer: 'manual' } })
}

async function get(socket: Socket | TLSSocket, path: string, headers = ''): Promise<string> {
  socket.write(`GET ${path} HTTP/1.1\r\nhost: a.example\r\n${headers}\r\n`)
  let answer = ''
  for await (const [part] of on(socket)) {
    answer += part
    if (/\r\n\r\n.+/s.test(answer)) return answer
  }
  return answer
}

async function* on(socket: Socket): AsyncGenerator<[string]> {
  for (;;) yield [String((await once(socket, 'data') as [Buffer])[0])]
}

async function shake(port: number): Promise<TLSSocket> {
  const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  return socket
}

const nameOf = (socket: TLSSocket): unknown => socket.getPeerCertificate().subject.CN

test('TLS by files: a new pair serves new connections, a broken one is refused, and commands trust a CA file', () => withFolder(async (folder) => {
  const [first, second] = [makeCertificate(folder, 'first'), makeCertificate(folder, 'second')]
  const used = { certFile: join(folder, 'used.pem'), keyFile: join(folder, 'used.key') }
  const use = (certificate: string, key: string): void => {
    copyFileSync(certificate, used.certFile)
    copyFileSync(key, used.keyFile)
  }
  use(first.certFile, first.keyFile)
  await using service = await openTlsService(folder, used)
  const { url } = await service.listen()
  assert.match(url, /^https:\/\/127\.0\.0\.1:\d+$/)
  assert.equal((JSON.parse(readFileSync(join(folder, 'data/bootstrap.json'), 'utf8')) as { endpoint: string }).endpoint, url)
  const port = Number(new URL(url).port)
  const early = await shake(port)
  assert.equal(nameOf(early), 'first')
  assert.equal(service.reloadCertificate(), 'same')

  use(second.certFile, first.keyFile)
  assert.equal(service.reloadCertificate(), 'refused')
  await writeFile(used.certFile, 'no certificate')
  assert.equal(service.reloadCertificate(), 'refused')
  const between = await shake(port)
  assert.equal(nameOf(between), 'first')
  between.destroy()

  use(second.certFile, second.keyFile)
  assert.equal(service.reloadCertificate(), 'taken')
  const late = await shake(port)
  assert.equal(nameOf(late), 'second')
  late.destroy()
  // It was there before, and goes on.
  const answer = await get(early, '/healthz')
  assert.match(answer, /^HTTP\/1\.1 200 /)
  assert.match(answer, /\r\nstrict-transport-security: max-age=31536000\r\n/)
  early.destroy()

  const list = async (...options: string[]): Promise<{ code: number | null, errors: string }> => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, '--data', join(folder, 'data'), ...options, 'vault', 'list', '--json'], {
      env: { PATH: dirname(process.execPath) }, stdio: ['ignore', 'ignore', 'pipe'],
    })
    const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit') as Promise<[number | null]>])
    return { code, errors }
  }
  assert.deepEqual(await list('--ca-file', second.certFile), { code: 0, errors: '' })
  assert.equal((await list()).code, 6)
  assert.equal((await list('--ca-file', join(folder, 'nowhere'))).code, 2)
}))

test('a certificate that cannot be used keeps the server from starting', () => withFolder(async (folder) => {
  const [one, other] = [makeCertificate(folder, 'one'), makeCertificate(folder, 'other')]
  await assert.rejects(openTlsService(folder, { certFile: one.certFile, keyFile: other.keyFile }), (error) => error instanceof StartRefusal && /the key is not the one/.test(error.message))
  await assert.rejects(openTlsService(folder, { certFile: join(folder, 'none.pem'), keyFile: other.keyFile }), StartRefusal)
}))

test('plain HTTP carries no HSTS; identity answers are not stored, and no answer is sniffed', async () => {
  await using service = await startTestService({ agent: 'none' })
  const health = await service.call('GET', '/healthz')
  assert.deepEqual(['x-content-type-options', 'strict-transport-security', 'cache-control'].map((name) => health.headers.get(name)), ['nosniff', null, null])
  for (const path of ['/v3/auth/tokens', '/x/v1/users', '/x/v1/access-keys']) {
    const { headers } = await service.call('GET', path, undefined, { headers: { 'x-subject-token': service.token } })
    assert.deepEqual([headers.get('cache-control'), headers.get('x-content-type-options')], ['no-store', 'nosniff'], path)
  }
  const unknown = await service.call('GET', '/nowhere')
  assert.deepEqual([unknown.status, unknown.headers.get('x-content-type-options')], [404, 'nosniff'])
  const large = await service.call('POST', '/v3/{project_id}/vaults', 'x'.repeat(1024 * 1024 + 1))
  assert.equal(large.status, 413)
})

async function addressOfDenied(trustProxy: readonly string[]): Promise<{ address: string | undefined, link: string, hsts: string | null }> {
  await using service = await startTestService({ agent: 'none', config: { trustProxy } })
  const headers = { 'x-forwarded-for': '203.0.113.7', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'cbr.example' }
  await service.call('GET', '/v3/{project_id}/vaults', undefined, { headers: { ...headers, 'x-auth-token': 'wrong' } })
  const root = await service.call<{ versions: { links: { href: string }[] }[] }>('GET', '/', undefined, { headers })
  const { body } = await service.call<{ records: AuditRecord[] }>('GET', '/x/v1/audit?outcome=denied')
  return { address: body.records[0]?.address, link: root.body.versions[0]?.links[0]?.href ?? '', hsts: root.headers.get('strict-transport-security') }
}

test('what a proxy says counts when the operator trusts it, and else not', async () => {
  assert.deepEqual(await addressOfDenied(['127.0.0.0/8']), { address: '203.0.113.7', link: 'https://cbr.example/v3/', hsts: 'max-age=31536000' })
  for (const trusted of [[], ['10.0.0.0/8']]) {
    const { address, link, hsts } = await addressOfDenied(trusted)
    assert.equal(address, '127.0.0.1')
    assert.match(link, /^http:\/\/127\.0\.0\.1:/)
    assert.equal(hsts, null)
  }
})

/** Sends a byte every now and then, which keeps a connection from being idle, until it is cut off. */
async function trickle(url: string, beginning: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.write(beginning)
  const timer = setInterval(() => socket.write('x'), 20)
  // What is written after the cut goes nowhere.
  socket.on('error', () => {})
  let answer = ''
  socket.on('data', (part) => {
    answer += String(part)
    clearInterval(timer)
  })
  await once(socket, 'close')
  clearInterval(timer)
  return answer
}

test('a client that trickles its headers or its body is cut off, and others are served meanwhile', async () => {
  await using service = await startTestService({ agent: 'none', config: { requestSeconds: 0.4 } })
  const cut = Promise.all([
    trickle(service.url, 'GET /healthz HTTP/1.1\r\nhost: a\r\nx-slow: '),
    trickle(service.url, `POST /v3/${service.projectId}/vaults HTTP/1.1\r\nhost: a\r\nx-auth-token: ${service.token}\r\ncontent-length: 900000\r\n\r\n{`),
  ])
  assert.equal((await service.call('GET', '/healthz')).status, 200)
  for (const answer of await cut) assert.match(answer, /^HTTP\/1\.1 408 [^]*APIGW\.0106/)
})

test('headers that are too long are refused', async () => {
  await using service = await startTestService({ agent: 'none' })
  const socket = connect(Number(new URL(service.url).port), '127.0.0.1')
  assert.match(await get(socket, '/healthz', `x-long: ${'x'.repeat(20_000)}\r\n`), /^HTTP\/1\.1 431 /)
  socket.destroy()
})

test('the log at its most talkative has no secrets', () => withFolder(async (folder) => {
  const data = join(folder, 'data')
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, 'serve', '--data', data, '--listen', '127.0.0.1:0', '--log-level', 'debug'], {
    env: { PATH: process.env['PATH'] }, stdio: ['ignore', 'ignore', 'pipe'],
  })
  try {
    let log = ''
    const serves = Promise.withResolvers<string>()
    child.stderr.setEncoding('utf8').on('data', (part: string) => {
      log += part
      const url = /serves on (http:\S+?);/.exec(log)?.[1]
      if (url !== undefined) serves.resolve(url)
    })
    child.on('exit', () => serves.reject(new Error(`the server did not start: ${log}`)))
    const url = await serves.promise
    const bootstrap = JSON.parse(readFileSync(join(data, 'bootstrap.json'), 'utf8')) as Record<string, string>
    const post = async (path: string, body: unknown, headers: Record<string, string> = {}): Promise<{ token: string, body: string }> => {
      const answer = await fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) })
      return { token: answer.headers.get('x-subject-token') ?? '', body: await answer.text() }
    }
    const login = (password: string | undefined): unknown => ({
      auth: { identity: { methods: ['password'], password: { user: { name: 'admin', password, domain: { name: bootstrap['domain_name'] } } } } },
    })
    await post('/v3/auth/tokens', login('a-wrong-password-somebody-typed'))
    const { token } = await post('/v3/auth/tokens', login(bootstrap['password']))
    const made = JSON.parse((await post('/x/v1/access-keys', { access_key: {} }, { 'x-auth-token': token })).body) as { access_key: { secret_key: string } }
    await post('/x/v1/users', { user: { name: 'eva', password: 'the-password-of-eva' } }, { 'x-auth-token': token })
    await post('/v3/none/vaults', 'no JSON', { 'x-auth-token': 'a-token-that-is-wrong' })
    await fetch(`${url}/v3/auth/tokens`, { headers: { 'x-auth-token': token, 'x-subject-token': token } }).then((answer) => answer.text())
    child.kill('SIGTERM')
    await once(child, 'exit')
    assert.match(log, /"reqId":"[0-9a-f]{32}"/)
    assert.match(log, /\/x\/v1\/access-keys/)
    const secrets = [bootstrap['password'], bootstrap['secret_key'], token, made.access_key.secret_key, 'a-wrong-password-somebody-typed', 'the-password-of-eva', 'a-token-that-is-wrong']
    for (const secret of secrets) assert.ok(secret !== undefined && secret.length > 8 && !log.includes(secret))
  } finally {
    child.kill('SIGKILL')
  }
}))
