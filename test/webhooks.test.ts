/** Events, on their way to receivers that listen on loopback and verify what comes with the library of the scheme. */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mock, test } from 'node:test'
import type { Event, Vault } from '@opencbr/contract'
import { deliverEvents } from '@opencbr/server'
import { makePostgresDatabase, ManualClock, startTestService, type TestService } from '@opencbr/testkit'
import { Webhook } from 'standardwebhooks'
import { startServerProcess } from './support/server-process.ts'

const GB = 1024 ** 3
const MINUTE = 60
const HOUR = 60 * MINUTE

interface Message {
  readonly id: string
  readonly type: string
  readonly data: Event
}

interface Receiver extends AsyncDisposable {
  readonly url: string
  readonly secret: string
  /** What came, verified, whatever was answered. */
  readonly got: Message[]
  /** Statuses of the next answers; 204 when there is none. */
  readonly answers: number[]
  readonly next: () => Promise<Message>
  readonly stop: () => Promise<void>
}

/** By the clock of the service, or by the machine's when that is the service's. */
async function startReceiver(clock?: ManualClock): Promise<Receiver> {
  const secret = `whsec_${randomBytes(32).toString('base64')}`
  const got: Message[] = []
  const answers: number[] = []
  const waiting: ((message: Message) => void)[] = []
  const server = createServer((request, response) => {
    void request.toArray().then((parts) => {
      const body = Buffer.concat(parts as Buffer[]).toString()
      const message = { id: String(request.headers['webhook-id']), ...verify(body, request.headers as Record<string, string>) }
      got.push(message)
      response.writeHead(answers.shift() ?? 204, { location: '/elsewhere' }).end()
      waiting.shift()?.(message)
    }).catch((error: unknown) => {
      response.writeHead(401).end(String(error))
    })
  })
  function verify(body: string, headers: Record<string, string>): Omit<Message, 'id'> {
    if (clock !== undefined) mock.timers.enable({ apis: ['Date'], now: Math.floor(clock.now() / 1000) })
    try {
      return new Webhook(secret).verify(body, headers) as Omit<Message, 'id'>
    } finally {
      if (clock !== undefined) mock.timers.reset()
    }
  }
  async function stop(): Promise<void> {
    if (!server.listening) return
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?key=hidden`,
    secret,
    got,
    answers,
    next: () => new Promise((resolve) => {
      waiting.push(resolve)
    }),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

async function createVault(service: TestService, name: string, more: object = {}): Promise<string> {
  return (await service.call<{ vault: Vault }>('POST', '/v3/{project_id}/vaults', {
    vault: { name, resources: [], billing: { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 100 }, ...more },
  })).body.vault.id
}

/** Lets the vault reach its threshold of 80 percent. */
async function fillUp(service: TestService, id: string): Promise<void> {
  await service.service.deps.db.updateTable('vaults').set({ used_bytes: 90 * GB }).where('id', '=', id as never).execute()
  assert.equal((await service.call('PUT', `/v3/{project_id}/vaults/${id}`, { vault: { threshold: 80 } })).status, 200)
}

async function waitingDeliveries(service: TestService): Promise<number> {
  return (await service.service.deps.db.selectFrom('webhook_deliveries').select('id').execute()).length
}

test('a vault over its threshold is told to each receiver that wants it, signed, until it has arrived; a quiet one is not', async () => {
  const clock = new ManualClock()
  await using all = await startReceiver(clock)
  await using some = await startReceiver(clock)
  const dataDir = await fs.mkdtemp(join(tmpdir(), 'opencbr-webhooks-'))
  const options = { dataDir, clock, agent: 'none' as const, config: { webhooks: [{ url: all.url, secret: all.secret }, { url: some.url, secret: some.secret, events: ['task.failed'] }] } }
  const logged: string[] = []
  const look = (service: TestService) => deliverEvents(service.service.deps, (text) => logged.push(text))
  try {
    let vault: string
    {
      await using service = await startTestService(options)
      vault = await createVault(service, 'loud')
      await fillUp(service, await createVault(service, 'quiet', { smn_notify: false }))
      assert.equal(await look(service), 0)
      await fillUp(service, vault)
      all.answers.push(503)
      assert.equal(await look(service), 0)
      assert.equal(all.got.length, 1)
      // Not before its time.
      assert.equal(await look(service), 0)
      clock.advanceSeconds(5)
      all.answers.push(307)
      assert.equal(await look(service), 0)
      assert.equal(all.got.length, 2)
    }
    // A restart loses nothing, and begins nothing anew.
    await using service = await startTestService(options)
    assert.equal(await look(service), 0)
    clock.advanceSeconds(5 * MINUTE)
    assert.equal(await look(service), 1)
    const [listed] = (await service.call<{ events: Event[] }>('GET', '/x/v1/{project_id}/events')).body.events
    clock.advanceSeconds(48 * HOUR)
    assert.equal(await look(service), 0)
    assert.equal(await waitingDeliveries(service), 0)
    assert.deepEqual(all.got.map(({ type, data }) => [type, data.vault_id]), Array.from({ length: 3 }, () => ['vault.threshold_reached', vault]))
    assert.equal(new Set(all.got.map(({ id }) => id)).size, 1)
    assert.deepEqual(all.got[0]?.data, listed)
    assert.deepEqual(some.got, [])
    assert.deepEqual(logged, [])
  } finally {
    await fs.rm(dataDir, { recursive: true, force: true })
  }
})

interface Bench {
  readonly clock: ManualClock
  readonly receiver: Receiver
  readonly service: TestService
  readonly logged: string[]
  readonly look: () => Promise<number>
}

async function withBench(work: (bench: Bench) => Promise<void>): Promise<void> {
  const clock = new ManualClock()
  await using receiver = await startReceiver(clock)
  await using service = await startTestService({ clock, agent: 'none', config: { webhooks: [{ url: receiver.url, secret: receiver.secret }] } })
  const logged: string[] = []
  await work({ clock, receiver, service, logged, look: () => deliverEvents(service.service.deps, (text) => logged.push(text)) })
}

test('a delivery is given up after its tenth failure; the log tells of it without the address', () => withBench(async ({ clock, receiver, service, logged, look }) => {
  await fillUp(service, await createVault(service, 'one'))
  receiver.answers.push(...Array.from({ length: 10 }, () => 500))
  const startedAt = clock.now()
  await look()
  for (const wait of [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]) {
    assert.deepEqual(logged, [])
    clock.advanceSeconds(wait - 1)
    await look()
    const before = receiver.got.length
    clock.advanceSeconds(1)
    await look()
    assert.equal(receiver.got.length, before + 1, `after ${wait} s`)
  }
  assert.equal(receiver.got.length, 10)
  assert.ok((clock.now() - startedAt) / 1e6 / HOUR > 72)
  assert.equal(logged.length, 1)
  assert.match(logged[0] ?? '', /given up for http:\/\/127\.0\.0\.1:\d+ after 10 attempts: it answered 500$/)
  assert.equal(await waitingDeliveries(service), 0)
}))

test('a receiver that is gone is not asked again, one that cannot be reached is, and old news is no news', () => withBench(async ({ clock, receiver, service, logged, look }) => {
  await fillUp(service, await createVault(service, 'two'))
  receiver.answers.push(410)
  await look()
  assert.match(logged[0] ?? '', /after 1 attempts: it answered 410$/)
  await fillUp(service, await createVault(service, 'three'))
  await receiver.stop()
  await look()
  assert.equal(await waitingDeliveries(service), 1)
  // Nobody took it up in time.
  await fillUp(service, await createVault(service, 'four'))
  clock.advanceSeconds(25 * HOUR)
  await look()
  assert.equal(await waitingDeliveries(service), 1)
}))

test('of two servers each event is delivered by one, and what a dead one had in hand by the other', async () => {
  const clock = new ManualClock()
  await using receiver = await startReceiver(clock)
  await using database = await makePostgresDatabase()
  const base = await fs.mkdtemp(join(tmpdir(), 'opencbr-webhooks-'))
  try {
    const start = (name: string) => startTestService({
      dataDir: join(base, name), clock, agent: 'none',
      config: { webhooks: [{ url: receiver.url, secret: receiver.secret }], database: database.url, masterKeyFile: join(base, 'master.key'), storage: join(base, 'vaults') },
    })
    await fs.writeFile(join(base, 'master.key'), randomBytes(32))
    await fs.mkdir(join(base, 'two'))
    await using one = await start('one')
    await fs.copyFile(join(base, 'one/bootstrap.json'), join(base, 'two/bootstrap.json'))
    await using two = await start('two')
    for (let n = 0; n < 20; n += 1) await fillUp(one, await createVault(one, `vault-${n}`))
    const counts = await Promise.all([one, two].map(({ service }) => deliverEvents(service.deps, () => undefined)))
    assert.equal(counts.reduce((sum, count) => sum + count, 0), 20)
    assert.equal(receiver.got.length, 20)
    assert.equal(new Set(receiver.got.map(({ data }) => data.vault_id)).size, 20)

    // Cut short in the middle of an attempt, as by a server that stops.
    await fillUp(one, await createVault(one, 'late'))
    const stopping = new AbortController()
    const cut = deliverEvents(one.service.deps, () => undefined, stopping.signal)
    void receiver.next().then(() => stopping.abort())
    await cut
    const already = receiver.got.length
    clock.advanceSeconds(61)
    const again = await deliverEvents(two.service.deps, () => undefined)
    assert.equal(receiver.got.length, already + again)
    assert.equal(new Set(receiver.got.map(({ id }) => id)).size, 21)
    assert.equal(await waitingDeliveries(two), 0)
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
})

test('a server with a file of receivers tells them of a task that failed, by itself', async () => {
  await using receiver = await startReceiver()
  const base = await fs.mkdtemp(join(tmpdir(), 'opencbr-webhooks-'))
  try {
    const file = join(base, 'webhooks.json')
    await fs.writeFile(file, JSON.stringify([{ url: receiver.url, secret: receiver.secret, events: ['task.failed'] }]))
    await using server = await startServerProcess({ dataDir: join(base, 'data'), allowPaths: [], options: ['--webhooks', file] })
    const resourceId = randomUUID()
    const vault = await server.steps.createVault('turbo', [resourceId])
    const arrival = receiver.next()
    const { id } = await server.steps.startCheckpoint(vault)
    const message = await arrival
    const task = await server.steps.taskOf(id)
    assert.equal(message.type, 'task.failed')
    assert.deepEqual(
      [message.data.vault_id, message.data.resource_id, message.data.facts['task_id'], message.data.facts['error_code']],
      [vault, resourceId, task.id, 'BackupService.6215'],
    )
    assert.match(message.data.message, /^The task backup in the vault vault failed: No agent offers the resource/)
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
})
