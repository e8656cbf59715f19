/** Copies of the catalogue: made beside a running server, brought back, and compared row by row; and a damaged one. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { listCopiedTables, openDatabase, populate, restoreCatalogue, StartRefusal, systemClock, writeCatalogueFile, type Database, type ServerConfig } from '@opencbr/server'
import { makePostgresDatabase, startTestService } from '@opencbr/testkit'
import { sql } from 'kysely'
import { compareTrees } from './support/compare-trees.ts'
import { startServerProcess } from './support/server-process.ts'

const CLI = join(import.meta.dirname, '../packages/cli/src/main.ts')

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-catalog-')))
  try {
    await run(folder)
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

function configOf(dataDir: string, database?: string): ServerConfig {
  return { dataDir, database, listen: { host: '127.0.0.1', port: 0 }, region: 'test-1', allowPaths: [], strictResources: false, logLevel: 'silent' }
}

function opencbr(...args: string[]): { code: number | null, stdout: string, stderr: string } {
  const { PATH, HOME } = process.env
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', CLI, ...args], { encoding: 'utf8', env: { PATH, HOME } })
  return { code: status, stdout, stderr }
}

/** Every row of every table, as texts in an order of their own. */
async function rowsOf(db: Database): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {}
  for (const table of await listCopiedTables(db)) {
    const { rows } = await sql<Record<string, unknown>>`select * from ${sql.table(table)}`.execute(db)
    found[table] = rows.map((row) => JSON.stringify(Object.entries(row).toSorted(([a], [b]) => (a < b ? -1 : 1)))).toSorted()
  }
  return found
}

async function rowsAt(location: string): Promise<Record<string, string[]>> {
  const db = await openDatabase(location)
  try {
    return await rowsOf(db)
  } finally {
    await db.destroy()
  }
}

for (const kind of ['SQLite', 'PostgreSQL'] as const) {
  test(`a copy from ${kind} has one state, whatever is written meanwhile`, () => withFolder(async (folder) => {
    await using database = kind === 'PostgreSQL' ? await makePostgresDatabase() : undefined
    await using service = await startTestService({ dataDir: join(folder, 'data'), agent: 'none', config: { database: database?.url } })
    const { db } = service.service.deps
    await populate(service.service.deps, { backups: 2000, seed: 3 })
    const stopping = new AbortController()
    let written = 0
    // Each transaction writes a row and its twin: a copy with one of them only has seen half of it.
    const writer = (async () => {
      while (!stopping.signal.aborted) {
        const id = randomUUID()
        await db.transaction().execute(async (tx) => {
          await tx.insertInto('tokens').values({
            token_hash: id, user_id: 'u' as never, project_id: null, domain_id: null, methods: '', issued_at: 0, expires_at: 0,
          }).execute()
          await tx.insertInto('catalogue_facts').values({ name: id as never, value: '' }).execute()
        })
        written += 1
        await new Promise(setImmediate)
      }
    })()
    const sizes: number[] = []
    for (let copy = 0; copy < 3; copy += 1) {
      const path = join(folder, `copy-${copy}.db`)
      await writeCatalogueFile(service.service.deps.config, path)
      const rows = await rowsAt(path)
      const twins = (rows['catalogue_facts'] ?? []).filter((row) => /-.*-.*-.*-/.test(row)).length
      assert.equal((rows['tokens'] ?? []).filter((row) => row.includes('"u"')).length, twins)
      sizes.push(twins)
    }
    stopping.abort()
    await writer
    assert.ok(written > (sizes[0] ?? 0), 'something was written while copies were made')
  }))

  test(`a copy of ${kind} comes back as it was, into either database`, () => withFolder(async (folder) => {
    await using source = kind === 'PostgreSQL' ? await makePostgresDatabase() : undefined
    const dataDir = join(folder, 'data')
    const config = configOf(dataDir, source?.url)
    const copy = join(folder, 'copy.db')
    let expected: Record<string, string[]>
    {
      await using service = await startTestService({ dataDir, agent: 'none', config: { database: source?.url } })
      await populate(service.service.deps, { backups: 500, seed: 4 })
      await writeCatalogueFile(config, copy)
      expected = await rowsOf(service.service.deps.db)
      assert.ok((expected['backups']?.length ?? 0) > 500)
      const refused = restoreCatalogue(config, systemClock(), { file: copy }, { replace: true })
      await assert.rejects(refused, (error) => error instanceof StartRefusal && /Another server is using/.test(error.message))
    }
    await using target = await makePostgresDatabase()
    for (const database of [undefined, target.url]) {
      const other = join(folder, database === undefined ? 'into-sqlite' : 'into-postgres')
      await fs.mkdir(other)
      const into = configOf(other, database)
      await assert.rejects(restoreCatalogue(into, systemClock(), { file: copy }, { replace: false }), /master\.key is missing/)
      await fs.copyFile(join(dataDir, 'master.key'), join(other, 'master.key'))
      await restoreCatalogue(into, systemClock(), { file: copy }, { replace: false })
      assert.deepEqual(await rowsAt(database ?? join(other, 'catalogue.db')), expected)
      await assert.rejects(restoreCatalogue(into, systemClock(), { file: copy }, { replace: false }), /There is a catalogue already/)
      // It is alive: its triggers and its users are there.
      await fs.copyFile(join(dataDir, 'bootstrap.json'), join(other, 'bootstrap.json'))
      await using service = await startTestService({ dataDir: other, agent: 'none', config: { database } })
      const { db } = service.service.deps
      const revision = async () => (await db.selectFrom('backup_revisions').select('revision').where('project_id', '=', service.projectId as never).executeTakeFirst())?.revision ?? 0
      const before = await revision()
      await db.updateTable('backups').set({ description: 'changed' }).where('project_id', '=', service.projectId as never).execute()
      assert.ok(await revision() > before)
    }
    // In its own place, the one that was there stays beside it.
    const { keptAs } = await restoreCatalogue(config, systemClock(), { file: copy }, { replace: true })
    assert.deepEqual(await rowsAt(source?.url ?? join(dataDir, 'catalogue.db')), expected)
    if (source === undefined) assert.deepEqual(await rowsAt(keptAs ?? ''), expected)
  }))
}

test('a copy that is damaged, of another key or of a newer version is refused, and nothing is touched', () => withFolder(async (folder) => {
  const dataDir = join(folder, 'data')
  {
    await using _service = await startTestService({ dataDir, agent: 'none', config: { database: undefined } })
  }
  const config = configOf(dataDir)
  const copy = join(folder, 'copy.db')
  await writeCatalogueFile(config, copy)
  const before = await rowsAt(join(dataDir, 'catalogue.db'))
  const restore = (file: string, into = config) => restoreCatalogue(into, systemClock(), { file }, { replace: true })

  const damaged = join(folder, 'damaged.db')
  const bytes = await fs.readFile(copy)
  await fs.writeFile(damaged, Buffer.concat([bytes.subarray(0, 8192), Buffer.alloc(8192, 0xff), bytes.subarray(16_384)]))
  await assert.rejects(restore(damaged), /is no whole catalogue/)
  await assert.rejects(restore(join(folder, 'nowhere.db')), /cannot be read/)

  const newer = join(folder, 'newer.db')
  await fs.copyFile(copy, newer)
  const db = await openDatabase(newer)
  await sql`insert into kysely_migration (name, timestamp) values ('999-of-the-future', '')`.execute(db)
  await db.destroy()
  await assert.rejects(restore(newer), (error) => error instanceof StartRefusal && /newer version of OpenCBR.*999-of-the-future/.test(error.message))

  const other = join(folder, 'other')
  await fs.mkdir(other)
  await fs.writeFile(join(other, 'master.key'), Buffer.alloc(32, 1))
  await assert.rejects(restore(copy, configOf(other)), /is not the master key of this catalogue/)
  assert.deepEqual((await fs.readdir(other)).toSorted(), ['master.key', 'server.lock'])
  assert.deepEqual(await rowsAt(join(dataDir, 'catalogue.db')), before)
}))

test('a lost catalogue comes back out of a vault with its recovery kit, and its backups restore', () => withFolder(async (folder) => {
  const dataDir = join(folder, 'data')
  const root = join(folder, 'root')
  await fs.mkdir(join(root, 'source'), { recursive: true })
  await fs.writeFile(join(root, 'source', 'file'), 'content')
  let kit: { repository: string, password: string }
  let backupId: string
  {
    await using server = await startServerProcess({ dataDir, allowPaths: [root] })
    const vault = await server.steps.createVault('turbo', [await server.steps.declare(join(root, 'source'))], 'keeper')
    const unmade = opencbr('catalog', 'backup', '--data', dataDir, '--vault', 'keeper')
    assert.equal(unmade.code, 1)
    assert.match(unmade.stderr, /no repository before its first backup/)
    backupId = (await server.steps.backUp(vault))[0]?.id ?? ''
    kit = await server.steps.recoveryKit(vault)
    const made = opencbr('catalog', 'backup', '--data', dataDir, '--vault', 'keeper', '--json')
    assert.equal(made.code, 0, made.stderr)
    assert.match((JSON.parse(made.stdout) as { snapshot_id: string }).snapshot_id, /^[0-9a-f]{64}$/)
    server.signal('SIGTERM')
    assert.equal(await server.ended, 0)
  }
  await fs.rm(join(dataDir, 'catalogue.db'))
  await fs.writeFile(join(folder, 'password'), `${kit.password}\n`)
  const back = opencbr('catalog', 'restore', '--data', dataDir, '--repository', kit.repository, '--password-file', join(folder, 'password'))
  assert.equal(back.code, 0, back.stderr)
  await using server = await startServerProcess({ dataDir, allowPaths: [root] })
  assert.equal((await server.steps.backup(backupId)).status, 'available')
  await fs.mkdir(join(root, 'target'))
  assert.equal((await server.steps.restore(backupId, { details: { destination_path: join(root, 'target') } })).status, 'success')
  assert.deepEqual(compareTrees(join(root, 'source'), join(root, 'target')), [])
}))

test('a server that was killed looks its catalogue through, and does not start on a damaged one', () => withFolder(async (folder) => {
  const dataDir = join(folder, 'data')
  {
    await using server = await startServerProcess({ dataDir, allowPaths: [] })
    await server.steps.createVault('turbo', [])
    server.signal('SIGKILL')
    await server.ended
  }
  const path = join(dataDir, 'catalogue.db')
  assert.ok((await fs.stat(`${path}-wal`)).size > 0)
  {
    // Whole: it starts, and what was acknowledged is there.
    await using server = await startServerProcess({ dataDir, allowPaths: [] })
    assert.equal((await server.steps.get<{ count: number }>('/v3/{project_id}/vaults')).count, 1)
    server.signal('SIGKILL')
    await server.ended
  }
  const log = await fs.readFile(`${path}-wal`)
  const bytes = await fs.readFile(path)
  for (let page = 4096; page < bytes.length; page += 4096) bytes.fill(0xff, page, page + 64)
  await fs.writeFile(path, bytes)
  await fs.writeFile(`${path}-wal`, log)
  const refused = opencbr('serve', '--data', dataDir, '--listen', '127.0.0.1:0')
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /catalogue\.db was not closed in order, and is damaged/)
  assert.match(refused.stderr, /opencbr catalog restore/)
}))
