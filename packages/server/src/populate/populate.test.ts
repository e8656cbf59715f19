import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import type { ServerConfig } from '../config.ts'
import { openService } from '../service.ts'
import { populate, populateDirectory } from './populate.ts'

function configOf(dataDir: string): ServerConfig {
  return { dataDir, listen: { host: '127.0.0.1', port: 0 }, region: 'test-1', allowPaths: [], strictResources: false, logLevel: 'silent' }
}

async function withDirectories(count: number, run: (...folders: string[]) => Promise<void>): Promise<void> {
  const base = await mkdtemp(join(tmpdir(), 'opencbr-test-'))
  try {
    await run(...Array.from({ length: count }, (_, index) => join(base, String(index))))
  } finally {
    await rm(base, { recursive: true })
  }
}

const TABLES = ['checkpoints', 'backups', 'backup_members', 'replication_records', 'vaults', 'vault_resources'] as const

/** All rows of the populated tables, without what each server chooses by itself: its project, and sealed passwords. */
function rowsIn(dataDir: string): Record<string, unknown[]> {
  using database = new DatabaseSync(join(dataDir, 'catalogue.db'), { readOnly: true })
  const project = database.prepare('select projects.id from projects join users on users.domain_id = projects.domain_id').get()?.['id']
  return Object.fromEntries(TABLES.map((table) => [table, database.prepare(`select * from ${table} order by 1, 2`).all().map((row) => (
    Object.entries(row).map(([name, value]) => name === 'password_sealed' ? 'sealed' : typeof value === 'string' ? value.replace(String(project), 'own') : value)
  ))]))
}

test('the same seed gives the same rows, beside a running server as on a directory of its own', async () => {
  await withDirectories(3, async (first = '', second = '', third = '') => {
    await populateDirectory(configOf(first), { backups: 300, seed: 5 })
    await using service = await openService(configOf(second))
    await populateDirectory(configOf(second), { backups: 300, seed: 5 })
    await populateDirectory(configOf(third), { backups: 300, seed: 6 })
    assert.ok(service.deps.db !== undefined)
    assert.deepEqual(rowsIn(second), rowsIn(first))
    assert.notDeepEqual(rowsIn(third)['backups']?.length, 0)
    const [one, other] = [first, third].map((folder) => new Set(rowsIn(folder)['backups']?.map((row) => (row as unknown[])[0])))
    assert.ok(one?.isDisjointFrom(other ?? new Set()), 'another seed gives other rows')
  })
})

test('a small catalogue has every status, every image type and several kinds of resources', async () => {
  await withDirectories(1, async (folder = '') => {
    const { projectId, rows } = await populateDirectory(configOf(folder), { backups: 100, vaults: 3, resources: 9 })
    using database = new DatabaseSync(join(folder, 'catalogue.db'), { readOnly: true })
    const distinct = (column: string): number => database.prepare(`select distinct ${column} from backups where project_id = ? and parent_id is null`).all(projectId).length
    assert.deepEqual([distinct('id'), distinct('status'), distinct('image_type')], [100, 8, 2])
    assert.ok(distinct('resource_type') >= 3)
    assert.equal(database.prepare('select count(*) as rows from backups').get()?.['rows'], rows.backups)
    for (const table of ['jobs', 'operation_logs']) {
      assert.deepEqual(database.prepare(`select * from ${table}`).all(), [], `${table}: nothing that a server would work on`)
    }
  })
})

test('backups are spread over projects, each with shares of its own, and the user of the first start lists every one', async () => {
  await withDirectories(2, async (folder = '', again = '') => {
    const made = await populateDirectory(configOf(folder), { backups: 101, projects: 3, vaults: 7, resources: 20, seed: 2 })
    assert.equal(new Set(made.projectIds).size, 3)
    assert.equal(made.projectIds[0], made.projectId)
    using database = new DatabaseSync(join(folder, 'catalogue.db'), { readOnly: true })
    const count = (what: string, projectId: string): unknown => database.prepare(`select count(*) as rows from ${what} = ?`).get(projectId)?.['rows']
    const counts = made.projectIds.map((id) => [
      count('backups where parent_id is null and project_id', id), count('vaults where project_id', id), count('vault_resources where project_id', id),
    ])
    assert.deepEqual(counts, [[34, 3, 7], [34, 2, 7], [33, 2, 6]])
    for (const id of made.projectIds) assert.ok(Number(count('backup_members where dest_project_id', id)) > 0)

    await populateDirectory(configOf(again), { backups: 101, projects: 3, vaults: 7, resources: 20, seed: 2 })
    assert.deepEqual(rowsIn(again), rowsIn(folder))

    await using service = await openService(configOf(folder))
    const { url } = await service.listen()
    const bootstrap = JSON.parse(await readFile(join(folder, 'bootstrap.json'), 'utf8')) as Record<string, string>
    for (const [index, id] of made.projectIds.entries()) {
      const user = { name: bootstrap['user_name'], password: bootstrap['password'], domain: { name: bootstrap['domain_name'] } }
      const login = await fetch(`${url}/v3/auth/tokens`, {
        method: 'POST', headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ auth: { identity: { methods: ['password'], password: { user } }, scope: { project: { id } } } }),
      })
      const listed = await fetch(`${url}/v3/${id}/backups?limit=1`, { headers: { 'x-auth-token': login.headers.get('x-subject-token') ?? '' } })
      assert.equal((await listed.json() as { count: number }).count, counts[index]?.[0])
    }
  })
})

test('a directory that is in use already is filled further, and nothing is left beside its catalogue', async () => {
  await withDirectories(1, async (folder = '') => {
    const one = await populateDirectory(configOf(folder), { backups: 30, seed: 1 })
    // What a run leaves that was killed.
    await writeFile(join(folder, 'catalogue.db.populating'), 'half')
    const other = await populateDirectory(configOf(folder), { backups: 30, seed: 2 })
    assert.equal(rowsIn(folder)['backups']?.length, one.rows.backups + other.rows.backups)
    assert.deepEqual((await readdir(folder)).sort(), ['bootstrap.json', 'catalogue.db', 'master.key', 'server.lock'])
    assert.equal((await stat(join(folder, 'catalogue.db'))).mode & 0o777, 0o600)
    await assert.rejects(populateDirectory(configOf(folder), { backups: 30, seed: 2 }), /holds rows of the seed 2 already/)
    assert.deepEqual((await readdir(folder)).length, 4)
  })
})

test('filling a directory leaves its indexes and what the planner knows of them as they were', async () => {
  await withDirectories(2, async (filled = '', empty = '') => {
    await populateDirectory(configOf(filled), { backups: 20 })
    await (await openService(configOf(empty))).close()
    const [one, other] = [filled, empty].map((folder) => {
      using database = new DatabaseSync(join(folder, 'catalogue.db'), { readOnly: true })
      return [
        database.prepare('select type, name, tbl_name, sql from sqlite_schema order by type, name').all(),
        database.prepare('select tbl, idx, stat from sqlite_stat1 order by tbl, idx').all(),
      ]
    })
    assert.deepEqual(one, other)
  })
})

test('a seed that is there already and sizes that make no sense are refused', async () => {
  await withDirectories(1, async (folder = '') => {
    await using service = await openService(configOf(folder))
    await populate(service.deps, { backups: 10, seed: 1 })
    await populate(service.deps, { backups: 10, seed: 2 })
    const before = rowsIn(folder)
    await assert.rejects(populate(service.deps, { backups: 10, seed: 2 }), /holds rows of the seed 2 already/)
    for (const options of [{ backups: 0 }, { backups: 1.5 }, { backups: Number.NaN }, { backups: 10, vaults: 0 }, { backups: 10, projects: 0 }, { backups: 10, projects: 11 }, { backups: 10, vaults: 1, resources: 257 }]) {
      await assert.rejects(populate(service.deps, options), { name: 'PopulateRefusal', message: /must be an integer from 1 to/ })
    }
    assert.deepEqual(rowsIn(folder), before)
  })
})
