/** What both databases give, so that nobody else needs to think of which one it is. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sql, type Kysely } from 'kysely'
import { makePostgresDatabase } from '@opencbr/testkit'
import { StartRefusal } from '../data-directory.ts'
import { openDatabase, preparedReadsOf, type Database } from './database.ts'
import { createRowTrigger, dropRowTrigger, isUniqueViolation } from './dialect.ts'
import { migrate, type KnownMigration } from './migrate.ts'
import { CatalogueOutage } from './outage.ts'
import { runStatement } from './statements.ts'

interface Place {
  readonly location: string
  readonly open: () => Promise<Database>
}

async function onBoth(run: (place: Place) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'opencbr-database-'))
  const opened: Database[] = []
  const placeAt = (location: string): Place => ({
    location,
    async open() {
      const db = await openDatabase(location)
      opened.push(db)
      return db
    },
  })
  try {
    await run(placeAt(join(folder, 'catalogue.db')))
    // Its collation is one that is not by bytes, as most have.
    await using database = await makePostgresDatabase(undefined, { icuLocale: 'en-US' })
    await run(placeAt(database.url))
  } finally {
    await Promise.all(opened.map((db) => db.destroy().catch(() => {})))
    await rm(folder, { recursive: true, force: true })
  }
}

function known(names: readonly string[]): Record<string, KnownMigration> {
  return Object.fromEntries(names.map((name) => [name, { async up() {} }]))
}

test('servers that start at once migrate a new catalogue once', async () => {
  // SQLite's is in a data directory that one server at a time has.
  await using database = await makePostgresDatabase()
  const databases = await Promise.all(Array.from({ length: 4 }, () => openDatabase(database.url)))
  for (const db of databases) {
    assert.equal((await db.selectFrom('vaults').selectAll().execute()).length, 0)
    await db.destroy()
  }
})

test('a catalogue of a newer program is refused in words, and left as it is', () => onBoth(async ({ location, open }) => {
  const db = await open()
  const migrations = async () => (await sql<{ name: string }>`select name from kysely_migration order by name`.execute(db)).rows.map(({ name }) => name)
  const before = await migrations()
  await migrate(db, known([...before, '900-newer', '901-newest']))
  await assert.rejects(openDatabase(location), (error) => {
    assert.ok(error instanceof StartRefusal)
    assert.match(error.message, /newer version of OpenCBR.*900-newer, 901-newest/)
    return true
  })
  assert.deepEqual(await migrations(), [...before, '900-newer', '901-newest'])
}))

function makeTable(name: string): KnownMigration['up'] {
  return async (tx) => {
    await tx.schema.createTable(name).addColumn('id', 'text').execute()
  }
}

test('a migration that fails leaves nothing of itself, nor of those before it in the same start', () => onBoth(async ({ open }) => {
  const db = await open()
  const done = (await sql<{ name: string }>`select name from kysely_migration`.execute(db)).rows.map(({ name }) => name)
  const steps = {
    ...known(done),
    '900-first': { up: makeTable('first_made') },
    '901-second': { up: async (tx: Kysely<unknown>) => {
      await makeTable('second_made')(tx)
      throw new Error('out of luck')
    } },
  }
  await assert.rejects(migrate(db, steps), /out of luck/)
  const tables = (await db.introspection.getTables()).map(({ name }) => name)
  assert.ok(!tables.includes('first_made') && !tables.includes('second_made'))
  await migrate(db, { ...steps, '901-second': { up: makeTable('second_made') } })
  assert.ok((await db.introspection.getTables()).some(({ name }) => name === 'second_made'))
}))

test('text sorts by bytes, integers hold 64 bits, sums and counts are numbers, and truth is 0 and 1', () => onBoth(async ({ open }) => {
  const db = await open() as unknown as Kysely<{ things: { name: string, size: number } }>
  await db.schema.createTable('things').addColumn('name', 'text', (c) => c.notNull()).addColumn('size', 'integer', (c) => c.notNull()).execute()
  await db.schema.alterTable('things').addColumn('note', 'text').execute()
  const names = ['b', 'B', 'a', 'Z', 'ä', 'a-b', 'ab', '_', '']
  await db.insertInto('things').values(names.map((name) => ({ name, size: 2 ** 40 }))).execute()
  const sorted = await db.selectFrom('things').select('name').orderBy('name').execute()
  assert.deepEqual(sorted.map(({ name }) => name), names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
  const figures = await db.selectFrom('things')
    .select(({ fn, eb }) => [fn.countAll().as('count'), fn.sum('size').as('sum'), fn.max('size').as('max'), eb(fn.max('size'), '>', 5).as('large')])
    .executeTakeFirstOrThrow()
  assert.deepEqual({ ...figures }, { count: 9, sum: 9 * 2 ** 40, max: 2 ** 40, large: 1 })
  assert.equal((await db.selectFrom('things').select('name').where('name', '>', 'Z').where('name', '<', 'a').execute()).length, 1)
}))

test('an empty list is nothing to look for, and everything is not in it', () => onBoth(async ({ open }) => {
  const db = await open()
  await db.insertInto('domains').values({ id: 'd' as never, name: 'n' }).execute()
  assert.equal((await db.selectFrom('domains').selectAll().where('id', 'in', []).execute()).length, 0)
  assert.equal((await db.selectFrom('domains').selectAll().where('id', 'not in', []).execute()).length, 1)
}))

async function count(reader: Pick<Database, 'selectFrom'>): Promise<number> {
  const { value } = await reader.selectFrom('catalogue_facts').select('value').where('name', '=', 'counter' as never).executeTakeFirstOrThrow()
  return Number(value)
}

test('a transaction that writes has the catalogue for itself; who only reads waits for nobody and sees one state', () => onBoth(async ({ open, location }) => {
  const db = await open()
  await db.insertInto('catalogue_facts').values({ name: 'counter' as never, value: '0' }).execute()
  // Read, then written: without being alone some of these would be lost.
  await Promise.all(Array.from({ length: 40 }, () => db.transaction().execute(async (tx) => {
    await tx.updateTable('catalogue_facts').set({ value: String(await count(tx) + 1) }).where('name', '=', 'counter' as never).execute()
  })))
  assert.equal(await count(db), 40)
  // With SQLite one connection does one thing at a time.
  if (!location.startsWith('postgres')) return
  await db.transaction().execute(async (writer) => {
    await writer.updateTable('catalogue_facts').set({ value: '41' }).where('name', '=', 'counter' as never).execute()
    assert.equal(await count(db), 40)
    await db.transaction().setAccessMode('read only').execute(async (reader) => assert.equal(await count(reader), 40))
  })
  await db.transaction().setAccessMode('read only').execute(async (reader) => {
    assert.equal(await count(reader), 41)
    await db.updateTable('catalogue_facts').set({ value: '42' }).where('name', '=', 'counter' as never).execute()
    assert.equal(await count(reader), 41)
  })
}))

test('a transaction in which a statement failed changes nothing, and its connection goes on', () => onBoth(async ({ open }) => {
  const db = await open()
  await db.insertInto('domains').values({ id: 'd' as never, name: 'n' }).execute()
  await assert.rejects(db.transaction().execute(async (tx) => {
    await tx.insertInto('domains').values({ id: 'e' as never, name: 'n2' }).execute()
    await tx.insertInto('domains').values({ id: 'd' as never, name: 'n3' }).execute()
  }), isUniqueViolation)
  for (let attempt = 0; attempt < 20; attempt += 1) assert.equal((await db.selectFrom('domains').selectAll().execute()).length, 1)
}))

function add(amount: string): string {
  return `insert into totals (id, size) values ('all', ${amount}) on conflict (id) do update set size = totals.size + excluded.size;`
}

test('a trigger runs after each row, for the columns and under the condition that it names', () => onBoth(async ({ open }) => {
  const db = await open() as unknown as Kysely<{ items: { id: string, size: number, note: string }, totals: { id: string, size: number } }>
  await db.schema.createTable('items').addColumn('id', 'text').addColumn('size', 'integer').addColumn('note', 'text').execute()
  await db.schema.createTable('totals').addColumn('id', 'text', (c) => c.primaryKey()).addColumn('size', 'integer').execute()
  await createRowTrigger(db, { name: 'items_in', table: 'items', event: 'insert', statements: add('new.size') })
  await createRowTrigger(db, { name: 'items_change', table: 'items', event: 'update', columns: ['size'], when: 'new.size <> old.size', statements: add('new.size - old.size') })
  await createRowTrigger(db, { name: 'items_out', table: 'items', event: 'delete', statements: add('-old.size') })
  const total = async () => (await db.selectFrom('totals').select('size').executeTakeFirst())?.size
  await db.insertInto('items').values([{ id: 'a', size: 3, note: '' }, { id: 'b', size: 4, note: '' }]).execute()
  assert.equal(await total(), 7)
  await db.updateTable('items').set({ size: 10 }).where('id', '=', 'a').execute()
  await db.updateTable('items').set({ note: 'other' }).execute()
  assert.equal(await total(), 14)
  await db.deleteFrom('items').where('id', '=', 'b').execute()
  assert.equal(await total(), 10)
  await dropRowTrigger(db, { name: 'items_out', table: 'items' })
  await db.deleteFrom('items').execute()
  assert.equal(await total(), 10)
}))

test('connections that were cut are made anew', async () => {
  await using database = await makePostgresDatabase()
  const db = await openDatabase(database.url)
  try {
    await db.selectFrom('vaults').selectAll().execute()
    const killer = await openDatabase(database.url)
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`.execute(killer)
    await killer.destroy()
    // One call may meet the dead connection; the next does not.
    await db.selectFrom('vaults').selectAll().execute().catch(() => undefined)
    assert.deepEqual(await db.selectFrom('vaults').selectAll().execute(), [])
  } finally {
    await db.destroy()
  }
})

test('what connections to PostgreSQL keep of a statement may get lost or old', async () => {
  await using database = await makePostgresDatabase()
  const db = await openDatabase(database.url)
  const list = () => runStatement(db, 'all domains', {}, () => db.selectFrom('domains').selectAll())
  const kept = async () => Number((await sql<{ number: number }>`select count(*) as number from pg_prepared_statements`.execute(db)).rows[0]?.number)
  try {
    await db.insertInto('domains').values({ id: 'd' as never, name: 'n' }).execute()
    const [before] = await list()
    assert.equal(await kept(), 1)
    await sql`alter table domains add column added text default 'x'`.execute(db)
    assert.deepEqual(await list(), [{ ...before, added: 'x' }])
    await list()
    assert.equal(await kept(), 1, 'it is kept again')
    // As a pooler does that gives every transaction another connection.
    await sql`deallocate all`.execute(db)
    assert.deepEqual(await list(), [{ ...before, added: 'x' }])
    assert.deepEqual(await list(), [{ ...before, added: 'x' }])
    assert.equal(await kept(), 0, 'nothing is kept any more')
    await assert.rejects(runStatement(db, 'no table', {}, () => db.selectFrom('no_such_table' as 'domains').selectAll()), { code: '42P01' })
  } finally {
    await db.destroy()
  }
})

test('rows of PostgreSQL are joined as bytes, however they come', async () => {
  await using database = await makePostgresDatabase()
  const db = await openDatabase(database.url)
  const reads = preparedReadsOf(db) ?? assert.fail()
  const read = async (query: string, ...parameters: (string | number | null)[]) => {
    const { bytes, rows, last } = await reads.join({ sql: query, parameters }, 100)
    return { text: Buffer.from(bytes).toString(), rows, last }
  }
  try {
    const texts = Array.from({ length: 300 }, (_, index) => `${index} ü€😀 ${'x'.repeat(index * 17)}`)
    const some = "select n || ' ü€😀 ' || repeat('x', n * 17), $2::bigint from generate_series(0, $1::int - 1) n"
    assert.deepEqual(await read(some, 300, 7), { text: texts.join(','), rows: 300, last: '7' })
    assert.deepEqual(await read(some, 1, null), { text: texts[0], rows: 1, last: undefined })
    assert.deepEqual(await read(some, 0, 7), { text: '', rows: 0, last: undefined })
    // Fails behind rows that have been sent, and tells something before.
    await sql`create function reciprocal(n int) returns text language plpgsql as 'begin raise notice ''of %'', n; return 1 / n; end'`.execute(db)
    const failing = 'select reciprocal(n), 1 from generate_series(10000, $1::int, -1) n'
    await assert.rejects(read(failing, 0), { code: '22012' })
    assert.deepEqual(await read(failing, 9_999), { text: '0,0', rows: 2, last: '1' })
    assert.deepEqual(await read(some, 2, 1), { text: texts.slice(0, 2).join(','), rows: 2, last: '1' })
    await assert.rejects(read('select no_such_column, 1'), { code: '42703' })
    const cut = read('select pg_sleep(600)::text, 1')
    const killer = await openDatabase(database.url)
    for (let ended = 0; ended === 0;) {
      const { rows } = await sql<{ ended: number }>`select pg_terminate_backend(pid) as ended from pg_stat_activity
        where datname = current_database() and query like '%pg_sleep(600)%' and pid <> pg_backend_pid()`.execute(killer)
      ended = rows.length
    }
    await killer.destroy()
    await assert.rejects(cut, CatalogueOutage)
    assert.deepEqual(await read(some, 1, 1), { text: texts[0], rows: 1, last: '1' })
  } finally {
    await db.destroy()
  }
})
