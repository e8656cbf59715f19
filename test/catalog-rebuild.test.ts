/** A lost catalogue is made again from the vaults' storage and the master key, and compared row by row. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  DEPLOYMENT_TABLES, LEFT_OUT_TABLES, openDatabase, readManifest, rebuildCatalogue, StartRefusal, VAULT_TABLES, writeManifests, type Rebuilt, type ServerConfig,
} from '@opencbr/server'
import { localStorage, memoryStorage, withFaults } from '@opencbr/storage'
import { makePostgresDatabase, runsOnPostgres, type TestDatabase } from '@opencbr/testkit'
import { sql } from 'kysely'
import { compareTrees } from './support/compare-trees.ts'
import { startBackupService, until, type BackupService } from './support/backup-service.ts'

const MIB = 1024 * 1024

interface Places extends AsyncDisposable {
  readonly root: string
  readonly dataDir: string
  /** Where the catalogue is: a file, or the URL of a database. */
  readonly catalogue: string
  readonly rebuild: () => Promise<Rebuilt>
  /** Takes the catalogue away, and answers where it is now. */
  readonly loseCatalogue: () => Promise<string>
}

async function makePlaces(): Promise<Places> {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-rebuild-')))
  const dataDir = join(base, 'data')
  const database = runsOnPostgres() ? await makePostgresDatabase(dataDir) : undefined
  const lost: TestDatabase[] = []
  const config: ServerConfig = {
    dataDir, database: database?.url, listen: { host: '127.0.0.1', port: 0 }, region: 'test-1', allowPaths: [], strictResources: false, logLevel: 'silent',
  }
  return {
    root: join(base, 'root'),
    dataDir,
    catalogue: database?.url ?? join(dataDir, 'catalogue.db'),
    rebuild: () => rebuildCatalogue(config),
    async loseCatalogue() {
      if (database !== undefined) {
        const old = await database.replace()
        lost.push(old)
        return old.url
      }
      const away = join(base, 'lost.db')
      for (const suffix of ['', '-wal', '-shm']) {
        await fs.rm(away + suffix, { force: true })
        await fs.rename(join(dataDir, `catalogue.db${suffix}`), away + suffix).catch(() => undefined)
      }
      return away
    },
    async [Symbol.asyncDispose]() {
      for (const each of [...lost, ...(database === undefined ? [] : [database])]) await each[Symbol.asyncDispose]()
      await fs.rm(base, { recursive: true, force: true })
    },
  }
}

async function makeFolder(root: string, name: string): Promise<string> {
  const folder = join(root, name)
  await fs.mkdir(folder, { recursive: true })
  await fs.writeFile(join(folder, 'data'), randomBytes(MIB))
  await fs.writeFile(join(folder, 'name'), name)
  return folder
}

/** Everything that a client can ask for, as JSON. */
async function look({ steps, service }: BackupService): Promise<Record<string, unknown>> {
  const shown: Record<string, unknown> = {}
  for (const path of ['/v3/{project_id}/vaults', '/v3/{project_id}/backups?sort=id', '/v3/{project_id}/policies', '/x/v1/{project_id}/resources', '/v3/projects', '/v3/users']) {
    shown[path] = await steps.get(path)
  }
  for (const { id, checkpoint_id } of (shown['/v3/{project_id}/backups?sort=id'] as { backups: { id: string, checkpoint_id: string }[] }).backups) {
    shown[id] = await steps.get(`/v3/{project_id}/backups/${id}`)
    shown[checkpoint_id] = await steps.get(`/v3/{project_id}/checkpoints/${checkpoint_id}`)
  }
  // Links name the port, which is another one at each start.
  return JSON.parse(JSON.stringify(shown).replaceAll(service.url, '')) as Record<string, unknown>
}

/** Of each table its rows, as texts in an order of their own. */
async function rowsOf(catalogue: string, tables: readonly string[]): Promise<Record<string, string[]>> {
  const db = await openDatabase(catalogue)
  try {
    const found: Record<string, string[]> = {}
    for (const table of tables) {
      const { rows } = await sql<Record<string, unknown>>`select * from ${sql.table(table)}`.execute(db)
      found[table] = rows.map((row) => JSON.stringify(Object.entries(row).toSorted())).toSorted()
    }
    return found
  } finally {
    await db.destroy()
  }
}

test('a lost catalogue comes back with every row that matters, and the service goes on with it', async () => {
  await using places = await makePlaces()
  let before: Record<string, unknown> = {}
  let vaultId = ''
  let backupId = ''
  const mail = await makeFolder(places.root, 'mail')
  {
    await using world = await startBackupService(places)
    const { steps } = world
    const disk = join(places.root, 'disk.img')
    await fs.writeFile(disk, randomBytes(2 * MIB))
    const [mailId, wikiId, diskId] = [
      await steps.declare(mail), await steps.declare(await makeFolder(places.root, 'wiki')), await steps.declare(disk, 'OS::Cinder::Volume'),
    ]
    vaultId = await steps.createVault('turbo', [mailId, wikiId], 'docs')
    await steps.createVault('disk', [diskId], 'disks').then((id) => steps.backUp(id))
    await steps.createVault('turbo', [], 'empty')
    const gone = await steps.createVault('turbo', [], 'gone')
    await steps.send('DELETE', `/v3/{project_id}/vaults/${gone}`, undefined, 204)
    const [first] = await steps.backUp(vaultId, { name: 'first', description: 'the first one' })
    await fs.appendFile(join(mail, 'data'), 'more')
    await steps.backUp(vaultId, { auto_trigger: true })
    backupId = first?.id ?? ''
    await steps.send('PUT', `/v3/{project_id}/backups/${backupId}`, { backup: { name: 'renamed' } }, 200)
    await steps.send('POST', `/v3/{project_id}/vault/${vaultId}/tags`, { tag: { key: 'team', value: 'mail' } }, 204)
    await steps.send('PUT', `/x/v1/{project_id}/vaults/${vaultId}/scrub`, { scrub: { every_days: 30 } }, 200)
    const { policy } = await steps.send<{ policy: { id: string } }>('POST', '/v3/{project_id}/policies', {
      policy: {
        name: 'nightly', operation_type: 'backup', operation_definition: { max_backups: 7 },
        trigger: { properties: { pattern: ['FREQ=DAILY;INTERVAL=1;BYHOUR=14;BYMINUTE=00'] } },
      },
    }, 200)
    await steps.send('POST', `/v3/{project_id}/vaults/${vaultId}/associatepolicy`, { policy_id: policy.id }, 200)
    await until('the end of the scrub', async () => (
      (await steps.get<{ count: number, verifications: { status: string }[] }>('/x/v1/{project_id}/verifications')).verifications[0]?.status === 'success' ? true : undefined))
    await until('the deletion', async () => ((await world.service.call('GET', `/v3/{project_id}/vaults/${gone}`)).status === 404 ? true : undefined))
    before = await look(world)
  }
  const lost = await places.loseCatalogue()
  const rebuilt = await places.rebuild()
  assert.deepEqual(rebuilt.vaults.map(({ name, backups, lost: none, found }) => [name, backups, none.length, found.length]).toSorted(), [
    ['disks', 1, 0, 0], ['docs', 4, 0, 0], ['empty', 0, 0, 0],
  ])
  assert.deepEqual([rebuilt.projects, rebuilt.users, rebuilt.resources, rebuilt.policies, rebuilt.skipped], [1, 1, 3, 1, []])
  // What triggers count is counted again.
  const tables = [...DEPLOYMENT_TABLES, ...VAULT_TABLES, 'vault_usage'].filter((table) => table !== 'vault_scrubs')
  assert.deepEqual(await rowsOf(places.catalogue, tables), await rowsOf(lost, tables))
  assert.equal((await rowsOf(places.catalogue, ['vault_scrubs']))['vault_scrubs']?.length, 1)

  // The password in bootstrap.json is still good: the service of the test logs in with it.
  await using world = await startBackupService(places)
  const { steps } = world
  assert.deepEqual(await look(world), before)
  const back = join(places.root, 'back')
  assert.equal((await steps.restore(backupId, { details: { destination_path: back } })).status, 'success')
  const [, ...more] = await steps.backUp(vaultId)
  assert.ok(more.every((each) => each.status === 'available'))
  assert.equal((await steps.get<{ count: number }>(`/v3/{project_id}/backups?vault_id=${vaultId}`)).count, 6)
  await steps.send('DELETE', `/v3/{project_id}/backups/${backupId}`, undefined, 204)
  await until('the deletion', async () => ((await world.service.call('GET', `/v3/{project_id}/backups/${backupId}`)).status === 404 ? true : undefined))
})

test('what the last manifest did not know is found by its tags, and what is gone since is not listed', async () => {
  await using places = await makePlaces()
  const manifests = join(places.dataDir, 'vaults', 'manifests')
  const folder = await makeFolder(places.root, 'mail')
  let vaultId = ''
  let [old, late] = ['', '']
  {
    await using world = await startBackupService(places)
    vaultId = await world.steps.createVault('turbo', [await world.steps.declare(folder)])
    old = (await world.steps.backUp(vaultId))[0]?.id ?? ''
  }
  await fs.cp(manifests, `${manifests}-old`, { recursive: true })
  let shown: unknown
  {
    await using world = await startBackupService(places)
    await fs.appendFile(join(folder, 'data'), 'more')
    const [backup] = await world.steps.backUp(vaultId)
    late = backup?.id ?? ''
    shown = [backup?.checkpoint_id, backup?.resource_id, backup?.extend_info['snapshot_id']]
    await world.steps.send('DELETE', `/v3/{project_id}/backups/${old}`, undefined, 204)
    await until('the deletion', async () => ((await world.service.call('GET', `/v3/{project_id}/backups/${old}`)).status === 404 ? true : undefined))
  }
  await fs.rm(manifests, { recursive: true })
  await fs.rename(`${manifests}-old`, manifests)
  await places.loseCatalogue()
  const [vault] = (await places.rebuild()).vaults
  assert.deepEqual([vault?.backups, vault?.lost, vault?.found], [1, [old], [late]])
  await using world = await startBackupService(places)
  const backup = await world.steps.backup(late)
  assert.deepEqual([backup.status, [backup.checkpoint_id, backup.resource_id, backup.extend_info['snapshot_id']]], ['available', shown])
  const back = join(places.root, 'back')
  assert.equal((await world.steps.restore(late, { details: { destination_path: back } })).status, 'success')
  assert.deepEqual(compareTrees(folder, back), [])
  assert.equal((await world.steps.get<{ checkpoint: { status: string } }>(`/v3/{project_id}/checkpoints/${backup.checkpoint_id}`)).checkpoint.status, 'available')
})

test('a rebuild touches nothing that is there, and says what it lacks', async () => {
  await using places = await makePlaces()
  const refused = (text: RegExp) => assert.rejects(places.rebuild(), (error) => error instanceof StartRefusal && text.test(error.message))
  await refused(/master key/)
  let vaultId = ''
  {
    await using world = await startBackupService(places)
    vaultId = await world.steps.createVault('turbo', [await world.steps.declare(await makeFolder(places.root, 'mail'))])
    await world.steps.backUp(vaultId)
  }
  await refused(runsOnPostgres() ? /There are rows in this catalogue/ : /There is a catalogue/)
  await places.loseCatalogue()
  const key = join(places.dataDir, 'master.key')
  await fs.rename(key, `${key}.right`)
  await fs.writeFile(key, randomBytes(32))
  await refused(/cannot be read/)
  await fs.rename(`${key}.right`, key)
  await places.loseCatalogue()
  const [project] = (await fs.readdir(join(places.dataDir, 'vaults'))).filter((name) => name !== 'manifests')
  await fs.rename(join(places.dataDir, 'vaults', project ?? ''), join(places.dataDir, 'vaults', 'away'))
  const rebuilt = await places.rebuild()
  assert.deepEqual([rebuilt.vaults, rebuilt.skipped], [[], [{ place: vaultId, reason: 'there is no repository at its place' }]])
})

test('manifests that are cut off at any call leave one that opens, and are completed by the next look', async () => {
  await using world = await startBackupService(undefined, { agent: 'none' })
  const { deps } = world.service.service
  const vaultId = await world.steps.createVault('turbo', [], 'first')
  const storage = memoryStorage()
  await writeManifests(deps, storage)
  assert.equal(await writeManifests(deps, storage), 0, 'what has not changed is not written')
  const nameOf = async (): Promise<unknown> => {
    const found = await readManifest(storage, deps.secrets, vaultId)
    assert.ok('manifest' in found)
    return found.manifest.tables.vaults?.[0]?.['name']
  }
  assert.equal(await nameOf(), 'first')
  let previous = 'first'
  let cuts = 0
  for (let call = 1; ; call += 1) {
    for (const kind of ['crash-before', 'crash-after'] as const) {
      const name = `name-${call}-${kind}`
      await world.steps.send('PUT', `/v3/{project_id}/vaults/${vaultId}`, { vault: { name } }, 200)
      const faulty = withFaults(storage, ({ number }) => (number === call ? { kind } : undefined))
      await writeManifests(deps, faulty).then(() => undefined, () => undefined)
      if (faulty.crashed) cuts += 1
      assert.ok([previous, name].includes(String(await nameOf())))
      await writeManifests(deps, storage)
      assert.equal(await nameOf(), name)
      previous = name
      const keys = (await Array.fromAsync(storage.list(`manifests/${vaultId}/`))).map(({ key }) => key)
      assert.equal(keys.length, 1)
      if (!faulty.crashed && kind === 'crash-after') {
        assert.ok(cuts >= 6, `only ${cuts} cuts`)
        return
      }
    }
  }
})

test('every table of the catalogue is in a manifest, with its triggers, or is left out on purpose', async () => {
  await using world = await startBackupService(undefined, { agent: 'none' })
  const { db } = world.service.service.deps
  const tables = (await db.introspection.getTables()).map(({ name }) => name).filter((name) => !name.startsWith('kysely_'))
  const triggers = runsOnPostgres()
    ? sql<{ tbl_name: string }>`select event_object_table as tbl_name from information_schema.triggers where trigger_name like 'manifest_%'`
    : sql<{ tbl_name: string }>`select tbl_name from sqlite_schema where type = 'trigger' and name like 'manifest_%'`
  const marked = Map.groupBy((await triggers.execute(db)).rows, (row) => row.tbl_name)
  const kept: string[] = [...DEPLOYMENT_TABLES, ...VAULT_TABLES]
  assert.deepEqual(tables.toSorted(), [...kept, ...LEFT_OUT_TABLES].toSorted())
  assert.deepEqual([...marked.keys()].toSorted(), kept.toSorted())
  assert.ok([...marked.values()].every((each) => each.length >= 3))
})

test('a manifest tells nothing to who lacks the key, and is no restic file', async () => {
  await using world = await startBackupService()
  const vaultId = await world.steps.createVault('turbo', [], 'confidential-name')
  await writeManifests(world.service.service.deps)
  const storage = localStorage(join(world.dataDir, 'vaults'))
  for await (const { key } of storage.list('manifests/')) {
    assert.ok(!Buffer.from(await storage.get(key)).includes('confidential'))
  }
  const [file] = await Array.fromAsync(storage.list(`manifests/${vaultId}/`))
  assert.ok(file !== undefined && file.size < 10_000)
})
