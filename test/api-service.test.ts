import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openService, StartRefusal } from '@opencbr/server'
import { makePostgresDatabase, runsOnPostgres, startTestService } from '@opencbr/testkit'

async function withDataDir(run: (dataDir: string) => Promise<void>): Promise<void> {
  const parent = await mkdtemp(join(tmpdir(), 'opencbr-test-'))
  try {
    await run(join(parent, 'data'))
  } finally {
    await rm(parent, { recursive: true, force: true })
  }
}

test('a service is ready, and answers every call with a request id', async () => {
  await using service = await startTestService()
  const answer = await service.call('GET', '/healthz', undefined, { headers: { 'x-auth-token': '' } })
  assert.equal(answer.status, 200)
  assert.deepEqual(answer.body, { status: 'ready' })
  assert.match(answer.headers.get('x-request-id') ?? '', /^[0-9a-f]{32}$/)
})

test('what lies in the data directory is for its owner alone', () => withDataDir(async (dataDir) => {
  await using service = await startTestService({ dataDir })
  const modeOf = async (name: string): Promise<number> => (await stat(join(dataDir, name))).mode & 0o777
  assert.equal(await modeOf('.'), 0o700)
  assert.equal(await modeOf('bootstrap.json'), 0o600)
  assert.equal(await modeOf('master.key'), 0o600)
  assert.equal(await modeOf('server.lock'), 0o600)
  if (!runsOnPostgres()) {
    assert.equal(await modeOf('catalogue.db'), 0o600)
    assert.equal(await modeOf('catalogue.db-wal'), 0o600)
  }
  assert.equal((await readFile(join(dataDir, 'master.key'))).length, 32)
  assert.equal(service.bootstrap.endpoint, service.url)
  assert.deepEqual(Object.keys(service.bootstrap), [
    'endpoint', 'region', 'domain_name', 'domain_id', 'project_name', 'project_id', 'user_name', 'password', 'access_key', 'secret_key',
  ])
}))

test('a second server on a data directory is refused, and a later one is welcome', () => withDataDir(async (dataDir) => {
  let first: string
  {
    await using service = await startTestService({ dataDir })
    first = service.bootstrap.password
    await assert.rejects(startTestService({ dataDir }), (error) => error instanceof StartRefusal && /Another server is using/.test(error.message))
  }
  await using again = await startTestService({ dataDir })
  assert.equal(again.bootstrap.password, first)
  assert.equal(again.bootstrap.endpoint, again.url)
}))

test('a bootstrap.json that was taken away stays away', () => withDataDir(async (dataDir) => {
  {
    await using _service = await startTestService({ dataDir })
  }
  await rm(join(dataDir, 'bootstrap.json'))
  await using database = runsOnPostgres() ? await makePostgresDatabase(dataDir) : undefined
  await using service = await openService({
    database: database?.url, dataDir, listen: { host: '127.0.0.1', port: 0 }, region: 'test-1', allowPaths: [], strictResources: false, logLevel: 'silent',
  })
  await service.listen()
  await assert.rejects(stat(join(dataDir, 'bootstrap.json')), { code: 'ENOENT' })
}))

test('a data directory keeps its region and its master key', () => withDataDir(async (dataDir) => {
  {
    await using _service = await startTestService({ dataDir })
  }
  await assert.rejects(startTestService({ dataDir, config: { region: 'test-2' } }), /belongs to another region/)
  const key = await readFile(join(dataDir, 'master.key'))
  await rm(join(dataDir, 'master.key'))
  await assert.rejects(startTestService({ dataDir }), /master\.key is missing/)
  await writeFile(join(dataDir, 'master.key'), 'short')
  await assert.rejects(startTestService({ dataDir }), /master\.key is damaged/)
  await writeFile(join(dataDir, 'master.key'), key)
  await using service = await startTestService({ dataDir })
  assert.equal(service.bootstrap.region, 'test-1')
}))

test('a data directory that is a file is refused', () => withDataDir(async (dataDir) => {
  await writeFile(dataDir, '')
  await assert.rejects(startTestService({ dataDir }), (error) => error instanceof StartRefusal && /cannot be used/.test(error.message))
}))

test('what no operation answers gets 404 in the gateway\'s form', async () => {
  await using service = await startTestService()
  const answer = await service.call('GET', '/v3/{project_id}/nothing')
  assert.equal(answer.status, 404)
  assert.equal(answer.body['error_code'], 'APIGW.0101')
})

test('what cannot be read as a request is answered in the gateway\'s form, and the server goes on', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { hostname, port } = new URL(service.url)
  const say = async (text: string): Promise<string> => {
    const socket = connect(Number(port), hostname)
    socket.end(text)
    let answer = ''
    for await (const part of socket) answer += String(part)
    return answer
  }
  for (const [text, status] of [[`GET /v3?${'x'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 431], ['no request at all\r\n\r\n', 400]] as const) {
    const [head = '', body = ''] = (await say(text)).split('\r\n\r\n')
    assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} [A-Z]`))
    const requestId = /^x-request-id: ([0-9a-f]{32})$/m.exec(head)?.[1]
    const { error_msg: message, ...rest } = JSON.parse(body) as { error_msg: string }
    assert.match(message, /\.$/)
    assert.deepEqual(rest, { error_code: 'APIGW.0106', request_id: requestId })
  }
  assert.equal((await service.call('GET', '/healthz')).status, 200)
})
