/**
 * Brings a catalogue's schema up to date when a server opens it.
 *
 * All that is missing runs in one transaction, which both databases can take back whole: a server that is
 * killed midway leaves the old schema. The transaction has the catalogue for itself, so of several servers that start at
 * once one migrates, and the others find it done. A catalogue that has seen a migration unknown to
 * this program belongs to a newer one, and is left alone.
 */
import { sql, type Kysely } from 'kysely'
import { StartRefusal } from '../data-directory.ts'
import { dialectOf } from './dialect.ts'
import { migrations } from './migrations/index.ts'

interface MigrationTables {
  kysely_migration: { name: string, timestamp: string }
}

export interface KnownMigration {
  readonly up: (db: Kysely<unknown>) => Promise<void>
}

/** Migrations that a catalogue has seen and this program does not know. */
export async function findUnknownMigrations<Tables>(
  catalogue: Kysely<Tables>, known: Readonly<Record<string, KnownMigration>> = migrations,
): Promise<string[]> {
  const db = catalogue as unknown as Kysely<MigrationTables>
  const done = await db.selectFrom('kysely_migration').select('name').orderBy('name').execute()
  return done.map(({ name }) => name).filter((name) => !Object.hasOwn(known, name))
}

/** `known` are the program's own, except in tests. */
export async function migrate<Tables>(
  catalogue: Kysely<Tables>, known: Readonly<Record<string, KnownMigration>> = migrations,
): Promise<void> {
  const db = catalogue as unknown as Kysely<MigrationTables>
  await db.transaction().execute(async (tx) => {
    // Indexes over many rows take their time, and a server that waits for its turn cannot serve anyway.
    if (dialectOf(tx) === 'postgres') await sql`set local statement_timeout = 0`.execute(tx)
    // The name is that of Kysely's own migrator, with which catalogues were made at first.
    await tx.schema.createTable('kysely_migration').ifNotExists()
      .addColumn('name', 'text', (c) => c.primaryKey().notNull())
      .addColumn('timestamp', 'text', (c) => c.notNull())
      .execute()
    const unknown = await findUnknownMigrations(tx as unknown as Kysely<unknown>, known)
    if (unknown.length > 0) {
      throw new StartRefusal(`The catalogue was used by a newer version of OpenCBR than this one: it has the changes ${unknown.join(', ')}, which this one does not know. `
        + 'Nothing was touched. Start the newer version, or restore a backup of the catalogue from before the update.')
    }
    const done = new Set((await tx.selectFrom('kysely_migration').select('name').execute()).map(({ name }) => name))
    for (const name of Object.keys(known).sort()) {
      if (done.has(name)) continue
      await known[name]?.up(tx as unknown as Kysely<unknown>)
      await tx.insertInto('kysely_migration').values({ name, timestamp: new Date().toISOString() }).execute()
    }
  })
}
