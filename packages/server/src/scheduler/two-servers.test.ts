import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePostgresDatabase } from '@opencbr/testkit'
import type { ServerConfig } from '../config.ts'
import { openDatabase } from '../db/database.ts'
import type { FromTestServer, ToTestServer } from './test-server.ts'
import { HOUR, MASTER_KEY, makeWorld } from './test-world.ts'

const STARTS_AT = '2026-01-15T08:30:00Z'
const VAULTS = 20
const HOURS = 50
const HOURLY = [`FREQ=DAILY;BYHOUR=${Array.from({ length: 24 }, (_, hour) => hour).join(',')};BYMINUTE=0`]

interface ServerProcess extends AsyncDisposable {
  readonly url: string
  readonly pid: number
  /** Turns its clock, and lets its scheduler look once. */
  readonly tick: (at: number) => Promise<unknown>
}

async function startServer(config: ServerConfig): Promise<ServerProcess> {
  const child = fork(join(import.meta.dirname, 'test-server.ts'), { execArgv: ['--disable-warning=ExperimentalWarning'] })
  const ended = once(child, 'exit')
  const endedEarly = ended.then(([code]): readonly [FromTestServer] => [{ error: `the server ended with ${code}` }])
  async function tell(message: ToTestServer): Promise<FromTestServer> {
    child.send(message)
    const answered = new Promise<readonly [FromTestServer]>((resolve) => child.once('message', (answer) => resolve([answer as FromTestServer])))
    const [answer] = await Promise.race([answered, endedEarly])
    assert.equal(answer.error, undefined)
    return answer
  }
  const { url = '' } = await tell({ type: 'open', config, at: STARTS_AT })
  return {
    url,
    pid: child.pid ?? 0,
    tick: (at) => tell({ type: 'tick', at }),
    async [Symbol.asyncDispose]() {
      child.send({ type: 'close' } satisfies ToTestServer)
      assert.deepEqual(await ended, [0, null])
    },
  }
}

test('two server processes on one PostgreSQL, with one scheduler each: 1,000 due times, 1,000 runs, none twice', async () => {
  await using database = await makePostgresDatabase()
  const base = await fs.mkdtemp(join(tmpdir(), 'opencbr-two-servers-'))
  const db = await openDatabase(database.url)
  try {
    const masterKeyFile = join(base, 'master.key')
    await fs.writeFile(masterKeyFile, MASTER_KEY)
    const start = (name: string): Promise<ServerProcess> => startServer({
      dataDir: join(base, name), database: database.url, masterKeyFile, storage: join(base, 'vaults'), listen: { host: '127.0.0.1', port: 0 }, region: 'test-1',
      allowPaths: [], strictResources: false, logLevel: 'error',
    })
    await using one = await start('one')
    await using two = await start('two')
    assert.equal(new Set([one.pid, two.pid, process.pid]).size, 3)
    for (const { url } of [one, two]) assert.equal((await fetch(`${url}/healthz`)).status, 200)
    assert.equal((await db.selectFrom('servers').selectAll().execute()).length, 2)

    const world = makeWorld(db, STARTS_AT)
    const policy = await world.addPolicy(HOURLY)
    for (let vault = 0; vault < VAULTS; vault += 1) await world.addVault(policy)
    for (let hour = 0; hour < HOURS; hour += 1) {
      world.clock.at += HOUR
      // Each is alone now and then, so that a server that does nothing is found out.
      const ticking = hour % 10 === 0 ? [one] : hour % 10 === 5 ? [two] : [one, two]
      await Promise.all(ticking.map((server) => server.tick(world.clock.at)))
      assert.equal(await world.work(), VAULTS)
    }
    const runs = await world.runs()
    assert.equal(runs.length, VAULTS * HOURS)
    assert.equal(new Set(runs.map((run) => `${run.vault_id} ${run.due_at}`)).size, VAULTS * HOURS)
    assert.deepEqual([...new Set(runs.map((run) => run.outcome))], ['started'])
    assert.equal(new Set(runs.map((run) => run.checkpoint_id)).size, VAULTS * HOURS)
    assert.equal((await world.backups()).length, VAULTS * HOURS)
    assert.equal((await world.tasks()).length, VAULTS * HOURS)
  } finally {
    await db.destroy()
    await fs.rm(base, { recursive: true, force: true })
  }
})
