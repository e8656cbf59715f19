import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { ListBackupsQuery, ListBackupsResponse } from '@opencbr/contract'
import { sql } from 'kysely'
import { openDatabase, type Database } from '../db/database.ts'
import { countAllBackups, fillSharedBackups } from '../db/migrations/019-smaller-lists.ts'
import type { Row } from '../db/schema.ts'
import type { BackupId, DomainId, ProjectId, UserId, VaultId } from '../ids.ts'
import { populate } from '../populate/index.ts'
import { backupPageToWire, documentOf } from './backup-wire.ts'
import { openBackupLists, openBackupPages } from './index.ts'
import { listBackups, openListMemory, parseListing } from './list-backups.ts'

const PROJECT = 'f'.repeat(32) as ProjectId
const USER = 'e'.repeat(32) as UserId

let db: Database

before(async () => {
  db = await openDatabase(':memory:')
  await db.insertInto('users').values({ id: USER, domain_id: 'd' as DomainId, name: 'a', password_hash: '', created_at: 0 }).execute()
  await db.insertInto('projects').values({ id: PROJECT, domain_id: 'd' as DomainId, name: 'p' }).execute()
  await populate({ db, secrets: { seal: (_purpose, secret) => secret, unseal: (_purpose, sealed) => sealed } }, { backups: 3000 })
})

after(async () => {
  await db.destroy()
})

interface Listed { readonly ids: BackupId[], readonly count: number }

async function idsAt(query: ListBackupsQuery, memory = openListMemory()): Promise<Listed> {
  const page = await listBackups({ db }, memory, PROJECT, parseListing(query))
  const { backups, count } = JSON.parse(backupPageToWire(page).toString()) as ListBackupsResponse
  return { ids: backups.map(({ id }) => id as BackupId), count }
}

for (const sort of ['created_at', 'name:asc', 'protected_at', 'status,created_at:asc']) {
  test(`far pages by ${sort} follow each other as near ones do`, async () => {
    const memory = openListMemory()
    const all: BackupId[] = []
    for (let offset = 0; offset < 3000; offset += 300) all.push(...(await idsAt({ sort, offset, limit: 300 }, memory)).ids)
    assert.equal(new Set(all).size, 3000)
    // From where pages ended, and from between.
    for (const limit of [70, 33]) {
      for (let offset = 0; offset < 2000; offset += limit) {
        assert.deepEqual(await idsAt({ sort, offset, limit }, memory), { ids: all.slice(offset, offset + limit), count: 3000 }, String(offset))
      }
    }
    for (const offset of [999, 1000, 1001, 1999, 2000, 2500, 2960, 2999]) {
      for (const each of [memory, openListMemory()]) {
        assert.deepEqual(await idsAt({ sort, offset, limit: 40 }, each), { ids: all.slice(offset, offset + 40), count: 3000 }, String(offset))
      }
    }
    for (const offset of [3000, 3001, 999_999_999_999_999]) assert.deepEqual(await idsAt({ sort, offset, limit: 40 }, memory), { ids: [], count: 3000 })
  })
}

test('a far page follows a change, whether it comes before the call or in the middle of it', async () => {
  const memory = openListMemory()
  const query = { offset: 2900, limit: 40 }
  await idsAt({ offset: 2860, limit: 40 }, memory)
  const { ids: [removed] } = await idsAt(query, memory)
  assert.ok(removed !== undefined)
  const kept = await db.selectFrom('backups').selectAll().where('id', '=', removed).executeTakeFirstOrThrow()
  const middle = await idsAt(query, {
    ...openListMemory(),
    async findStart(...call) {
      const start = await openListMemory().findStart(...call)
      await db.deleteFrom('backups').where('id', '=', kept.id).execute()
      return start
    },
  })
  assert.deepEqual(middle, await idsAt(query))
  assert.deepEqual(await idsAt(query, memory), middle)
  assert.deepEqual([middle.count, middle.ids.includes(kept.id)], [2999, false])
  await db.insertInto('backups').values(kept).execute()
  assert.deepEqual((await idsAt(query, memory)).ids[0], removed)
})

function timeOf(micros: number): string {
  return `${new Date(Math.floor(micros / 1_000_000) * 1000).toISOString().slice(0, 19)}Z`
}

test('counts are those of the rows, for every facet, window and status', async () => {
  const rows = await db.selectFrom('backups').selectAll().where('project_id', '=', PROJECT).where('parent_id', 'is', null).execute()
  const some = (index: number) => rows[index % rows.length] ?? assert.fail()
  for (let index = 0; index < 90; index += 1) {
    const row = some(index * 911)
    const [from, to] = [some(index * 37).created_at, some(index * 53).created_at].toSorted((a, b) => a - b)
    const facets: ListBackupsQuery[] = [
      {}, { vault_id: row.vault_id }, { image_type: row.image_type as 'backup' }, { resource_type: row.resource_type as 'OS::Sfs::Turbo' },
      { incremental: row.incremental === 1 }, { resource_az: row.resource_az }, { enterprise_project_id: row.enterprise_project_id },
      { start_time: timeOf(from ?? 0) }, { end_time: timeOf(to ?? 0) }, { start_time: timeOf(from ?? 0), end_time: timeOf(to ?? 0) },
      { image_type: 'backup', resource_az: row.resource_az },
      ...[{ image_type: 'backup' as const }, { resource_type: row.resource_type as 'OS::Sfs::Turbo' }, { incremental: false }, { enterprise_project_id: row.enterprise_project_id }]
        .map((each, which) => ({ ...each, ...(which === 1 ? {} : { start_time: timeOf(from ?? 0) }), ...(which === 2 ? {} : { end_time: timeOf(to ?? 0) }) })),
    ]
    const statuses: ListBackupsQuery['status'][] = [undefined, [row.status], ['available', 'error']]
    const status = statuses[index % statuses.length]
    const query: ListBackupsQuery = { ...facets[index % facets.length], ...(status === undefined ? {} : { status }), limit: 1, offset: 100_000 }
    const { filter } = parseListing(query)
    const expected = rows.filter((each) => (filter.statuses?.includes(each.status) ?? true) && (filter.vaultId ?? each.vault_id) === each.vault_id
      && (filter.imageType ?? each.image_type) === each.image_type && (filter.resourceType ?? each.resource_type) === each.resource_type
      && (filter.incremental ?? each.incremental === 1) === (each.incremental === 1) && (filter.resourceAz ?? each.resource_az) === each.resource_az
      && (filter.enterpriseProjectId ?? each.enterprise_project_id) === each.enterprise_project_id
      && (filter.createdFrom ?? 0) <= each.created_at && each.created_at <= (filter.createdTo ?? Infinity)).length
    assert.equal((await idsAt(query)).count, expected, JSON.stringify(query))
  }
})

test('the counts that the catalogue keeps follow every change', async () => {
  const recount = async () => [
    ...(await sql<object>`select * from backup_counts where rows <> 0 and project_id = ${PROJECT} order by 2, 3, 4`.execute(db)).rows,
    ...(await sql<object>`select * from backup_cells where rows <> 0 and project_id = ${PROJECT} order by 2, 3, 4, 5, 6, 7, 8`.execute(db)).rows,
    ...(await sql<object>`select * from shared_backups order by project_id, role, id, member_status`.execute(db)).rows,
  ]
  const kept = await recount()
  const row = await db.selectFrom('backups').selectAll().where('project_id', '=', PROJECT).where('parent_id', 'is', null)
    .where('id', 'in', db.selectFrom('backup_members').select('backup_id').where('status', '=', 'accepted')).executeTakeFirstOrThrow()
  const changes: Partial<Row<'backups'>>[] = [
    { status: 'deleting' }, { created_at: row.created_at + 200 * 86_400_000_000 }, { vault_id: 'v' as VaultId }, { image_type: 'replication' },
    { resource_type: 'OS::Sfs::Turbo' }, { incremental: row.incremental === 1 ? 0 : 1 }, { resource_az: 'z' }, { enterprise_project_id: 'e' },
    { parent_id: row.id }, { name: 'n' },
  ]
  for (const change of changes) {
    await db.updateTable('backups').set(change as object).where('id', '=', row.id).execute()
    const seen = await recount()
    for (const table of ['shared_backups', 'backup_counts', 'backup_cells'] as const) await db.deleteFrom(table).execute()
    await countAllBackups(db)
    await fillSharedBackups(db)
    assert.deepEqual(seen, await recount(), JSON.stringify(change))
  }
  const { document: _, ...former } = row
  await db.updateTable('backups').set(former).where('id', '=', row.id).execute()
  assert.deepEqual(await recount(), kept)
})

test('the documents of rows are their wire form, whatever stands in them', async () => {
  const backups = await db.selectFrom('backups').selectAll().execute()
  for (const row of backups) assert.equal(row.document, row.parent_id === null ? documentOf(row) : null)
  const [first] = backups
  assert.ok(first !== undefined)
  const times = { created_at: 1_600_000_000_000_001, updated_at: 951_782_399_999_999, protected_at: null, expired_at: 4_102_444_800_000_000 }
  for (const change of [
    { name: 'ä"\\\u0001\n名', description: '<>&\u2028\ud83d\ude00', ...times },
    { bootable: 1 as const, encrypted: 1 as const, os_images_data: '[{"image_id":"i"}]', snapshot_id: 's', parent_id: first.id, version: 7 },
  ]) {
    await db.updateTable('backups').set(change).where('id', '=', first.id).execute()
    const row = await db.selectFrom('backups').selectAll().where('id', '=', first.id).executeTakeFirstOrThrow()
    assert.equal(row.document === null, row.parent_id !== null)
    const page = await listBackups({ db }, openListMemory(), PROJECT, parseListing(row.parent_id === null ? { checkpoint_id: row.checkpoint_id } : { parent_id: row.parent_id }))
    const { backups: listed } = JSON.parse(backupPageToWire(page).toString()) as ListBackupsResponse
    assert.deepEqual(listed.find(({ id }) => id === row.id), JSON.parse(documentOf(row)))
  }
  const { document: _, ...former } = first
  await db.updateTable('backups').set(former).where('id', '=', first.id).execute()
})

test('an answer is used again until something changes that it shows', async () => {
  const answer = openBackupLists(db, openBackupPages(db))
  const first = await answer(PROJECT, { limit: 3 })
  assert.equal(await answer(PROJECT, { limit: 3 }), first)
  assert.notEqual((await answer(PROJECT, { limit: 4 })).tag, first.tag)
  const [shown] = (JSON.parse(first.body.toString()) as ListBackupsResponse).backups
  await db.updateTable('backups').set({ name: 'renamed' }).where('id', '=', shown?.id as BackupId).execute()
  const second = await answer(PROJECT, { limit: 3 })
  assert.notEqual(second.tag, first.tag)
  assert.match(second.body.toString(), /"renamed"/)
})
