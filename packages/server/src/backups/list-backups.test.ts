import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openDatabase, type Database } from '../db/database.ts'
import type { BackupId, DomainId, ProjectId, UserId } from '../ids.ts'
import { populate } from '../populate/index.ts'
import { listBackups, openBackupCounter, type CountBackups } from './index.ts'

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

async function idsAt(offset: number, countBackups: CountBackups = openBackupCounter()): Promise<{ ids: BackupId[], count: number }> {
  const { backups, count } = await listBackups({ db }, countBackups, PROJECT, { offset, limit: 40, sort: 'status,created_at:asc' })
  return { ids: backups.map(({ id }) => id), count }
}

test('pages of the far half are the same as those of the near half would be', async () => {
  const { backups } = await listBackups({ db }, openBackupCounter(), PROJECT, { limit: 1000, sort: 'status:asc,created_at' })
  const farthestFirst = backups.map(({ id }) => id)
  for (const offset of [2000, 2500, 2960, 2961, 2999]) {
    const expected = farthestFirst.slice(Math.max(0, 3000 - offset - 40), 3000 - offset).toReversed()
    assert.deepEqual(await idsAt(offset), { ids: expected, count: 3000 }, String(offset))
  }
  for (const offset of [3000, 3001, 999_999_999_999_999]) assert.deepEqual(await idsAt(offset), { ids: [], count: 3000 })
})

test('a backup that is removed while a far page is read is in neither its rows nor its count', async () => {
  const { ids: [removed] } = await idsAt(2900)
  assert.ok(removed !== undefined)
  const kept = await db.selectFrom('backups').selectAll().where('id', '=', removed).executeTakeFirstOrThrow()
  const count = openBackupCounter()
  const page = await idsAt(2900, async (...call) => {
    const counted = await count(...call)
    await db.deleteFrom('backups').where('id', '=', kept.id).execute()
    return counted
  })
  assert.deepEqual(page, await idsAt(2900))
  assert.deepEqual([page.count, page.ids.includes(kept.id)], [2999, false])
  await db.insertInto('backups').values(kept).execute()
})
