/** Several server processes over one catalogue in PostgreSQL and one folder of vaults. */
import assert from 'node:assert/strict'
import { randomFillSync } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openDatabase, openService, StartRefusal } from '@opencbr/server'
import { makePostgresDatabase, startPostgresServer } from '@opencbr/testkit'
import { sql } from 'kysely'
import { until } from './support/backup-service.ts'
import { compareTrees } from './support/compare-trees.ts'
import { restic, resticBinaries } from './support/restic.ts'
import { startServerProcess, type ServerProcess } from './support/server-process.ts'

const MIB = 1024 * 1024

interface Site {
  readonly base: string
  readonly root: string
  readonly database: string
  readonly start: (name: string, first?: string) => Promise<ServerProcess>
}

async function withSite(run: (site: Site) => Promise<void>): Promise<void> {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-servers-')))
  await using database = await makePostgresDatabase()
  const root = join(base, 'root')
  await fs.mkdir(root)
  try {
    await run({
      base,
      root,
      database: database.url,
      start: (name, first = name) => startServerProcess({
        dataDir: join(base, name),
        firstDataDir: join(base, first),
        allowPaths: [root],
        options: [
          '--database', database.url, '--storage', join(base, 'vaults'), '--server-lease', '3', '--jobs-per-agent', '1',
          ...(first === name ? [] : ['--master-key-file', join(base, first, 'master.key')]),
        ],
      }),
    })
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
}

async function makeFolder(root: string, name: string, mib: number): Promise<string> {
  const folder = join(root, name)
  await fs.mkdir(folder)
  const content = Buffer.alloc(MIB)
  for (let part = 0; part < mib; part += 1) await fs.writeFile(join(folder, `part-${part}`), randomFillSync(content))
  return folder
}

/** The file that a restore of the test compares with, and the folder that it writes to. */
async function restoreAndCompare(server: ServerProcess, backupId: string, source: string, target: string): Promise<void> {
  await fs.mkdir(target)
  const task = await server.steps.restore(backupId, { details: { destination_path: target } })
  assert.equal(task.status, 'success', JSON.stringify(task.error_info))
  assert.deepEqual(compareTrees(source, target), [])
}

async function count(server: ServerProcess): Promise<number> {
  return (await server.steps.get<{ count: number }>('/v3/{project_id}/backups')).count
}

function refusal(pattern: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof StartRefusal && pattern.test(error.message)
}

test('what one server does the other sees, tokens included', () => withSite(async ({ root, start }) => {
  await using one = await start('one')
  await using two = await start('two', 'one')
  const source = await makeFolder(root, 'source', 4)
  const vault = await one.steps.createVault('turbo', [await one.steps.declare(source)])
  const { id } = await two.steps.startCheckpoint(vault)
  assert.equal((await one.steps.checkpointEnd(id)).status, 'available')
  const [backup] = await two.steps.backupsOf(id)
  assert.ok(backup !== undefined)
  assert.equal(backup.status, 'available')
  await restoreAndCompare(two, backup.id, source, join(root, 'restored'))
  // The count that a server remembers is not its own affair.
  assert.deepEqual([await count(one), await count(two)], [1, 1])
  await one.steps.backUp(vault)
  assert.deepEqual([await count(one), await count(two)], [2, 2])
  // Nor is the page that it remembers.
  for (const [writer, reader, name] of [[one, two, 'first-name'], [two, one, 'second-name'], [one, two, 'third-name']] as const) {
    assert.equal((await writer.call('PUT', `/v3/{project_id}/backups/${backup.id}`, { backup: { name } })).status, 200)
    const { backups } = await reader.steps.get<{ backups: { id: string, name: string }[] }>('/v3/{project_id}/backups')
    assert.equal(backups.find(({ id: each }) => each === backup.id)?.name, name)
  }
}))

test('when a server is killed in the middle, the other finishes its jobs, and loses none of its own', () => withSite(async ({ base, root, start }) => {
  await using one = await start('one')
  const sources = await Promise.all(['a', 'b', 'c', 'd'].map((name) => makeFolder(root, name, 24)))
  const vaults = await Promise.all(sources.map(async (source) => one.steps.createVault('turbo', [await one.steps.declare(source)], source.slice(-1))))
  await using two = await start('two', 'one')
  const checkpoints = await Promise.all(vaults.map(async (vault) => (await one.steps.startCheckpoint(vault)).id))
  await until('both work', async () => {
    const running = (await two.steps.tasks('status=running')).length
    return one.agentPids().length > 0 && (running >= 2 || (await two.steps.tasks('status=success')).length > 0) ? true : undefined
  })
  one.signal('SIGKILL')
  assert.equal(await one.ended, 'SIGKILL')
  for (const [place, id] of checkpoints.entries()) {
    const checkpoint = await two.steps.checkpointEnd(id)
    const task = await two.steps.taskOf(id)
    assert.equal(checkpoint.status, 'available', JSON.stringify(task.error_info))
    assert.equal(task.status, 'success')
    const [backup] = await two.steps.backupsOf(id)
    assert.ok(backup !== undefined)
    await restoreAndCompare(two, backup.id, sources[place] ?? '', join(root, `restored-${place}`))
    // Each snapshot is there once, whichever server has written it.
    const { repository, password } = await two.steps.recoveryKit(vaults[place] ?? '')
    assert.ok(repository.startsWith(join(base, 'vaults')))
    const stock = restic(resticBinaries().at(-1) ?? '', repository, password)
    assert.equal((JSON.parse(stock.run('snapshots', '--json', '--no-lock').stdout.toString('utf8')) as unknown[]).length, 1)
    stock.run('check', '--no-lock')
  }
  // A removal needs the repository for itself: what the dead server has left there is no obstacle.
  const removal = await two.steps.send<{ job_id?: string } | undefined>('DELETE', `/v3/{project_id}/vaults/${vaults[0]}`, undefined, 204).then(() => true)
  assert.equal(removal, true)
  await until('the vault is gone', async () => ((await two.call('GET', `/v3/{project_id}/vaults/${vaults[0]}`)).status === 404 ? true : undefined))
  await using again = await start('one')
  assert.equal((await again.steps.get<{ count: number }>('/v3/{project_id}/backups')).count, 3)
}))

test('of servers that start at once on a new catalogue one makes the first user', () => withSite(async ({ base, database }) => {
  const masterKeyFile = join(base, 'shared.key')
  await fs.writeFile(masterKeyFile, randomFillSync(Buffer.alloc(32)))
  const services = await Promise.all(['one', 'two', 'three'].map((name) => openService({
    dataDir: join(base, name), masterKeyFile, database, listen: { host: '127.0.0.1', port: 0 }, region: 'local-1', allowPaths: [], strictResources: false, logLevel: 'silent',
  })))
  try {
    const [first] = services
    assert.equal((await first?.deps.db.selectFrom('users').selectAll().execute())?.length, 1)
    const told = await Promise.all(['one', 'two', 'three'].map((name) => fs.readFile(join(base, name, 'bootstrap.json'), 'utf8').then(() => 1, () => 0)))
    assert.equal(told.reduce<number>((sum, one) => sum + one, 0), 1)
    assert.equal((await first?.deps.db.selectFrom('servers').selectAll().execute())?.length, 3)
  } finally {
    for (const service of services) await service.close()
  }
}))

test('a server whose catalogue a newer one has changed ends its work and says so to whoever calls', () => withSite(async ({ root, database, start }) => {
  await using one = await start('one')
  const source = await makeFolder(root, 'source', 1)
  const vault = await one.steps.createVault('turbo', [await one.steps.declare(source)])
  await one.steps.backUp(vault)
  assert.equal(one.agentPids().length, 1)
  const newer = await openDatabase(database)
  try {
    await sql`insert into kysely_migration (name, timestamp) values ('999-later', '')`.execute(newer)
    const { headers, text } = await until('a refusal', async () => {
      const answer = await fetch(`${one.url}/healthz`)
      const found = { headers: answer.headers, text: await answer.text() }
      return answer.status === 503 ? found : undefined
    })
    assert.match(headers.get('retry-after') ?? '', /^\d+$/)
    assert.match(text, /"error_code":"APIGW\.0202"/)
    assert.match(text, /A newer version of OpenCBR has changed the catalogue/)
    const { status, body } = await one.call<{ error_code: string }>('POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: vault } })
    assert.deepEqual([status, body.error_code], [503, 'APIGW.0202'])
    const login = await fetch(`${one.url}/v3/auth/tokens`, { method: 'POST', body: '{}' })
    assert.deepEqual(((await login.json()) as { error: { code: number, title: string } }).error.title, 'Service Unavailable')
    // The agent parks what it works on, and is not started again.
    await until('the end of the agent', async () => (one.agentPids().length === 0 ? true : undefined))
    assert.match(one.errorOutput(), /999-later/)
    assert.deepEqual(await newer.selectFrom('jobs').select('id').where('status', '=', 'leased').execute(), [])
    one.signal('SIGTERM')
    assert.equal(await one.ended, 0)
    assert.deepEqual(await newer.selectFrom('servers').select('id').execute(), [])
  } finally {
    await newer.destroy()
  }
}))

test('while PostgreSQL is away every call is told to come again, and afterwards the server goes on', async () => {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-outage-')))
  await using postgres = await startPostgresServer()
  try {
    await using one = await startServerProcess({ dataDir: join(base, 'one'), allowPaths: [], options: ['--database', postgres.url, '--server-lease', '3'] })
    const { id } = (await one.steps.send<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', {
      vault: { name: 'kept', billing: { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 100 }, resources: [] },
    }, 200)).vault
    // Some are caught in the middle; none may get anything but an answer of the service.
    const calls = Array.from({ length: 40 }, () => one.call<{ error_code?: string }>('GET', `/v3/{project_id}/vaults/${id}`))
    await postgres.stop()
    for (const { status, body } of await Promise.all(calls)) assert.ok(status === 200 || body.error_code === 'APIGW.0202', `${status} ${JSON.stringify(body)}`)
    for (const [method, path, body] of [
      ['GET', `/v3/{project_id}/vaults/${id}`, undefined],
      ['PUT', `/v3/{project_id}/vaults/${id}`, { vault: { name: 'changed' } }],
      ['GET', '/healthz', undefined],
    ] as const) {
      const answer = await one.call<{ error_code: string, error_msg: string }>(method, path, body)
      assert.deepEqual([answer.status, answer.body.error_code], [503, 'APIGW.0202'])
      assert.match(answer.body.error_msg, /try again in a few seconds/)
    }
    assert.match((await fetch(`${one.url}/healthz`)).headers.get('retry-after') ?? '', /^\d+$/)
    await postgres.start()
    assert.equal((await one.steps.get<{ vault: { name: string } }>(`/v3/{project_id}/vaults/${id}`)).vault.name, 'kept')
    await one.steps.send('PUT', `/v3/{project_id}/vaults/${id}`, { vault: { name: 'changed' } }, 200)
  } finally {
    await fs.rm(base, { recursive: true, force: true })
  }
})

test('a server with another master key, and one whose catalogue cannot be reached, does not start and says why', () => withSite(async ({ base, database, start }) => {
  {
    await using _one = await start('one')
  }
  const config = {
    listen: { host: '127.0.0.1', port: 0 }, region: 'local-1', allowPaths: [], strictResources: false, logLevel: 'silent' as const, database,
  }
  await assert.rejects(openService({ ...config, dataDir: join(base, 'two') }), refusal(/master\.key is missing/))
  await fs.writeFile(join(base, 'other.key'), randomFillSync(Buffer.alloc(32)))
  await assert.rejects(openService({ ...config, dataDir: join(base, 'two'), masterKeyFile: join(base, 'other.key') }), refusal(/is not the master key of this catalogue/))
  await assert.rejects(openService({ ...config, dataDir: join(base, 'two'), masterKeyFile: join(base, 'no.key') }), refusal(/no\.key does not exist/))
  const nowhere = new URL(database)
  nowhere.pathname = '/nowhere'
  await assert.rejects(openService({ ...config, dataDir: join(base, 'two'), database: nowhere.href }), (error) => {
    assert.ok(error instanceof StartRefusal)
    assert.match(error.message, /cannot be reached: database "nowhere" does not exist/)
    assert.ok(!error.message.includes(nowhere.password), 'no password in a message')
    return true
  })
}))
