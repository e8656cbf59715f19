/**
 * Lists that are answered without the framework: as with it, never older than the call, and to nobody who may not have
 * them. Long ones are made in threads.
 */
import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { Agent, request, type IncomingHttpHeaders } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import type { AuditRecord, ListBackupsResponse } from '@opencbr/contract'
import { populate } from '@opencbr/server'
import { runsOnPostgres, startTestService, type TestService } from '@opencbr/testkit'

const BACKUPS = 300

let service: TestService
const threads: Worker[] = []
const keepThread = (thread: Worker): number => threads.push(thread)
/** Calls that the framework has handled. */
let framed = 0
const countFramed = (): void => {
  framed += 1
}

before(async () => {
  process.on('worker', keepThread)
  subscribe('tracing:fastify.request.handler:start', countFramed)
  service = await startTestService({ agent: 'none', config: { listThreads: 2, trustProxy: ['127.0.0.1'] } })
  await populate(service.service.deps, { backups: BACKUPS })
  // The first call with a token finds out whose it is.
  await get('backups?limit=1')
})

after(async () => {
  process.off('worker', keepThread)
  unsubscribe('tracing:fastify.request.handler:start', countFramed)
  await service[Symbol.asyncDispose]()
})

interface Got {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** Over a connection of its own unless an agent has one. */
async function get(list: string, headers: Readonly<Record<string, string>> = {}, agent: Agent | false = false): Promise<Got> {
  const target = list.startsWith('/') ? list : `/v3/${service.projectId}/${list}`
  const sent = request(service.url + target, { agent, headers: { 'x-auth-token': service.token, ...headers } })
  sent.end()
  const [answer] = await once(sent, 'response')
  return { status: answer.statusCode, headers: answer.headers, body: await buffer(answer) }
}

/** What a call is answered, and whether by the framework. */
async function watch(list: string, headers: Readonly<Record<string, string>> = {}): Promise<Got & { readonly isFramed: boolean }> {
  const framedBefore = framed
  return { ...await get(list, headers), isFramed: framed > framedBefore }
}

const namesOf = ({ body }: Got): string[] => (JSON.parse(body.toString()) as ListBackupsResponse).backups.map(({ name }) => name)

test('the short way answers as the framework does', async () => {
  const { headers: { etag } } = await get('backups?limit=7')
  const calls: [list: string, headers?: Record<string, string>][] = [
    ['backups'], ['backups?'], ['backups?limit=7'], ['backups?limit=7&offset=20&sort=name:asc'], ['backups?status=available&status=error&limit=200'],
    ['backups?name=%C3%A4+%26&x=y&x=z&'], ['backups?own_type=all_granted&show_replication=TRUE'], ['backups?limit=3&', { 'x-forwarded-proto': 'http,https' }],
    ['backups?limit=7', { 'if-none-match': `"other", ${etag}` }], ['backups?limit=7', { 'if-none-match': '*', 'accept-encoding': 'gzip' }],
    ['backups?limit=50', { 'accept-encoding': 'gzip;q=0.5, zstd' }], ['backups?limit=50', { 'accept-encoding': 'gzip' }], ['backups?limit=50', { 'accept-encoding': 'identity' }],
    ['vaults'], ['vaults?limit=2&status=available'], ['operation-logs?limit=5'], ['policies'], ['storage_usage?limit=3'],
  ]
  for (const [list, headers] of calls) {
    const short = await watch(list, headers)
    // Who announces a body, and be it an empty one, is sent the long way.
    const long = await watch(list, { ...headers, 'content-length': '0' })
    assert.deepEqual([short.isFramed, long.isFramed], [false, true], list)
    assert.ok(short.status === 200 || short.status === 304, list)
    assert.deepEqual(short.body, long.body, list)
    for (const { headers: answered } of [short, long]) {
      assert.match(String(answered['x-request-id']), /^[0-9a-f]{32}$/)
      delete answered['x-request-id']
      delete answered.date
    }
    assert.deepEqual(short.headers, long.headers, list)
  }
})

test('what is refused, and what is no list, goes the long way', async () => {
  const other = '0'.repeat(32)
  const calls: [status: number, list: string, headers?: Record<string, string>][] = [
    [400, 'backups?limit=x'], [400, 'backups?limit=1&limit=2'], [400, 'backups?start_time=soon'], [404, 'backup'], [200, 'backups/'],
    [403, `/v3/${other}/backups`], [401, 'backups', { 'x-auth-token': 'made-up' }], [401, 'backups', { 'x-auth-token': '' }], [404, '/v3/%62/nothing'], [200, '/healthz'],
  ]
  for (const [status, list, headers] of calls) {
    const got = await watch(list, headers)
    // The framework has no handler for what does not exist.
    assert.deepEqual([got.status, got.isFramed], [status, status !== 404], list)
  }
})

test('a change that was acknowledged is in the next list of any connection, short or long', async () => {
  const agents = Array.from({ length: 4 }, () => new Agent({ keepAlive: true, maxSockets: 1 }))
  const lists = ['backups?limit=1', 'backups', 'backups?status=available&limit=1000', 'backups?limit=1&offset=0&sort=created_at:desc']
  const all = (): Promise<string[]> => Promise.all(agents.flatMap((agent) => lists.map(async (list) => namesOf(await get(list, {}, agent)).join())))
  await service.service.deps.db.updateTable('backups').set({ status: 'available' }).execute()
  const { body: { backups: [newest] } } = await service.call<ListBackupsResponse>('GET', '/v3/{project_id}/backups?limit=1&status=available')
  assert.ok(newest !== undefined)
  await all()
  for (const name of ['renamed-once', 'renamed-again', 'renamed-at-last']) {
    assert.equal((await service.call('PUT', `/v3/{project_id}/backups/${newest.id}`, { backup: { name } })).status, 200)
    for (const names of await all()) assert.match(names, new RegExp(`(^|,)${name}(,|$)`))
  }
  for (const agent of agents) agent.destroy()
})

test('a token that is revoked, or has lost its role, is refused at once, and the trail has it once', async () => {
  const { db } = service.service.deps
  const denied = async (): Promise<number> =>
    (await service.call<{ records: AuditRecord[] }>('GET', '/x/v1/audit?outcome=denied&limit=1000')).body.records.length
  const { headers } = await service.call('POST', '/v3/auth/tokens', {
    auth: { identity: { methods: ['token'], token: { id: service.token } }, scope: { project: { id: service.projectId } } },
  })
  const token = headers.get('x-subject-token') ?? ''
  const mine = { 'x-auth-token': token }
  assert.deepEqual([(await watch('backups?limit=2', mine)).isFramed, (await watch('backups?limit=2', mine)).isFramed], [true, false])

  const deniedBefore = await denied()
  const assignments = await db.selectFrom('role_assignments').selectAll().execute()
  await db.deleteFrom('role_assignments').execute()
  assert.ok([401, 403].includes((await watch('backups?limit=2', mine)).status))
  await db.insertInto('role_assignments').values(assignments).execute()
  assert.equal(await denied(), deniedBefore + 1)
  assert.equal((await get('backups?limit=2', mine)).status, 200)

  assert.equal((await service.call('DELETE', '/v3/auth/tokens', undefined, { headers: { 'x-subject-token': token } })).status, 204)
  assert.equal((await get('backups?limit=2', mine)).status, 401)
  assert.equal(await denied(), deniedBefore + 2)
})

test('long pages are whole while others push them out of memory', async () => {
  // 260 backups take a third of a megabyte: these are more than is remembered.
  const limits = Array.from({ length: 80 }, (_, index) => 180 + index)
  for (const round of [limits, limits.toReversed()]) {
    const got = await Promise.all(round.flatMap((limit) => [1, 2].map(async () => namesOf(await get(`backups?limit=${limit}`)).length)))
    assert.deepEqual(got, round.flatMap((limit) => [limit, limit]))
  }
})

test('a thread that has died is started again, and what it was making is made', { skip: runsOnPostgres() ? 'there are no threads on PostgreSQL' : false }, async () => {
  assert.ok(threads.length > 0 && threads.length <= 2, `${threads.length} threads`)
  const running = Promise.all(Array.from({ length: 40 }, (_, index) => get(`backups?status=available&limit=${200 + index}`)))
  await Promise.all(threads.splice(0).map((thread) => thread.terminate()))
  for (const { status } of await running) assert.equal(status, 200)
  assert.equal((await get('backups?status=error&limit=999')).status, 200)
  assert.ok(threads.length > 0)
})

test('a token that runs out is refused, though nothing was written', async () => {
  const { headers } = await service.call('POST', '/v3/auth/tokens', {
    auth: { identity: { methods: ['token'], token: { id: service.token } }, scope: { project: { id: service.projectId } } },
  })
  assert.equal((await get('backups?limit=2', { 'x-auth-token': headers.get('x-subject-token') ?? '' })).status, 200)
  service.clock.advanceSeconds(7 * 86_400)
  assert.equal((await get('backups?limit=2')).status, 401)
})
