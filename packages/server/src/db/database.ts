import { DatabaseSync } from 'node:sqlite'
import { Kysely, type Transaction as KyselyTransaction } from 'kysely'
import { Migrator } from 'kysely/migration'
import { migrations } from './migrations/index.ts'
import { nodeSqliteDialect } from './node-sqlite-dialect.ts'
import type { Schema } from './schema.ts'

export type Database = Kysely<Schema>
/** What stores that write take, so that a verb's changes stand or fall together. */
export type Transaction = KyselyTransaction<Schema>
/** What stores that only read take. */
export type Reader = Database | Transaction

const BUSY_TIMEOUT_MS = 10_000

/**
 * Opens the catalogue in a file (or ':memory:') and brings its schema up to date.
 *
 * WAL with synchronous=FULL: a committed transaction survives a power cut, since a backup that was
 * once acknowledged must still be listed afterwards.
 */
export async function openDatabase(path: string): Promise<Database> {
  const file = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS })
  file.exec('pragma journal_mode = wal')
  file.exec('pragma synchronous = full')
  file.exec('pragma foreign_keys = on')
  file.exec('pragma temp_store = memory')
  file.exec('pragma cache_size = -65536')
  const db = new Kysely<Schema>({ dialect: nodeSqliteDialect(file) })
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } })
  const { error } = await migrator.migrateToLatest()
  if (error !== undefined) {
    await db.destroy()
    throw error
  }
  return db
}
