import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { chooseTestDatabase } from '@opencbr/testkit'
import { openDatabase, type Database } from '../db/database.ts'
import type { KeystoneToken } from './keystone-token.ts'
import { mirrorKeystone } from './mirror-keystone.ts'
import { verifyPassword } from './password.ts'
import { findIdentityRevision } from './token-memory.ts'

const clock = { now: () => 1 }
const id = (digit: string) => digit.repeat(32)
const home = { id: 'default', name: 'Default' }
const token = (change: Partial<KeystoneToken> = {}): KeystoneToken => ({
  user: { id: id('a'), name: 'ann', domain: home }, project: { id: id('1'), name: 'backups', domain: home },
  roles: ['member'], expiresAt: 2, accessRules: undefined, ...change,
})

async function openCatalogue(t: TestContext): Promise<Database> {
  const database = await chooseTestDatabase()
  t.after(() => database[Symbol.asyncDispose]())
  const db = await openDatabase(database.url)
  t.after(() => db.destroy())
  return db
}

const namesIn = async (db: Database, table: 'domains' | 'projects' | 'users') =>
  (await db.selectFrom(table).select(['id', 'name']).orderBy('id').execute()).map((row) => [row.id, row.name])

test('what a token names is there afterwards, once, and what has not changed is not written again', async (t) => {
  const db = await openCatalogue(t)
  const found = await mirrorKeystone({ db, clock }, token({ project: { id: id('1'), name: 'backups', domain: { id: id('d'), name: 'Elsewhere' } } }))
  assert.deepEqual([found?.owner.user.name, found?.owner.domain.name, found?.project?.name, found?.project?.domain_id], ['ann', 'Default', 'backups', id('d')])
  assert.deepEqual(await namesIn(db, 'domains'), [[id('d'), 'Elsewhere'], ['default', 'Default']])
  const revision = await findIdentityRevision(db)
  await Promise.all(Array.from({ length: 5 }, () => mirrorKeystone({ db, clock }, token({ project: { id: id('1'), name: 'backups', domain: { id: id('d'), name: 'Elsewhere' } } }))))
  assert.equal(await findIdentityRevision(db), revision)
  assert.equal(await verifyPassword('', found?.owner.user.password_hash), false)
})

test('names follow, and one that somebody else has is told apart by the id', async (t) => {
  const db = await openCatalogue(t)
  await mirrorKeystone({ db, clock }, token())
  await mirrorKeystone({ db, clock }, token({ user: { id: id('a'), name: 'anna', domain: home } }))
  assert.deepEqual(await namesIn(db, 'users'), [[id('a'), 'anna']])
  // Deleted in Keystone, and made again under the same name.
  const again = token({ user: { id: id('b'), name: 'anna', domain: home }, project: { id: id('2'), name: 'backups', domain: home } })
  for (let time = 0; time < 2; time += 1) assert.equal((await mirrorKeystone({ db, clock }, again))?.project?.id, id('2'))
  assert.deepEqual(await namesIn(db, 'users'), [[id('a'), 'anna'], [id('b'), `anna (${id('b')})`]])
  assert.deepEqual(await namesIn(db, 'projects'), [[id('1'), 'backups'], [id('2'), `backups (${id('2')})`]])
  const other = { id: id('e'), name: 'Default' }
  assert.equal((await mirrorKeystone({ db, clock }, token({ user: { id: id('c'), name: 'anna', domain: other }, project: undefined })))?.owner.user.name, 'anna')
})

test('who was disabled here stays out', async (t) => {
  const db = await openCatalogue(t)
  for (const table of ['users', 'projects', 'domains'] as const) {
    await mirrorKeystone({ db, clock }, token())
    await db.updateTable(table).set({ enabled: 0 }).execute()
    assert.equal(await mirrorKeystone({ db, clock }, token()), undefined, table)
    await db.updateTable(table).set({ enabled: 1 }).execute()
  }
  assert.notEqual(await mirrorKeystone({ db, clock }, token()), undefined)
})
