import { DatabaseSync } from 'node:sqlite'
import { Kysely, type Transaction as KyselyTransaction } from 'kysely'
import { migrate } from './migrate.ts'
import { nodePostgresDialect } from './node-postgres-dialect.ts'
import { nodeSqliteDialect, type RunNow } from './node-sqlite-dialect.ts'
import { isPostgresUrl, openPostgresPool } from './postgres-pool.ts'
import { openPreparedReads, type PreparedReads } from './prepared-reads.ts'
import type { Schema } from './schema.ts'

export type Database = Kysely<Schema>
/** What stores that write take, so that a verb's changes stand or fall together. */
export type Transaction = KyselyTransaction<Schema>
/** What stores that only read take. */
export type Reader = Database | Transaction

const BUSY_TIMEOUT_MS = 10_000

/**
 * Opens the catalogue in a file (or ':memory:') or in the PostgreSQL database of a URL, and brings its schema up to
 * date. Throws a `StartRefusal` when that cannot be.
 *
 * On both a transaction has the catalogue for itself from its beginning to its end, unless it is opened
 * with `setAccessMode('read only')`. It must await nothing but the database.
 */
export async function openDatabase(location: string): Promise<Database> {
  const pool = isPostgresUrl(location) ? await openPostgresPool(location) : undefined
  const db = new Kysely<Schema>({ dialect: pool === undefined ? nodeSqliteDialect(openSqliteFile(location)) : nodePostgresDialect(pool) })
  if (pool !== undefined) prepared.set(db, openPreparedReads(pool))
  try {
    await migrate(db)
    return db
  } catch (error) {
    await db.destroy()
    throw error
  }
}

const prepared = new WeakMap<object, PreparedReads>()

/** How statements run that PostgreSQL keeps; undefined in transactions, and on SQLite. */
export function preparedReadsOf(db: Reader): PreparedReads | undefined {
  return prepared.get(db)
}

const immediate = new WeakMap<object, RunNow>()

/** How statements run at once on a connection of `openSqliteReader`; undefined on all others. */
export function runNowOf(db: Reader): RunNow | undefined {
  return immediate.get(db)
}

const READER_CACHE_KB = 4 * 1024

/**
 * A further connection to a catalogue in a file, that only reads: it sees what is committed, waits for no transaction of
 * another connection, and has none itself, so `runStatement` needs no queue for it. The file has been opened by
 * `openDatabase` before.
 */
export async function openSqliteReader(path: string): Promise<Database> {
  const file = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS, readOnly: true })
  file.exec('pragma temp_store = memory')
  file.exec(`pragma cache_size = -${READER_CACHE_KB}`)
  const dialect = nodeSqliteDialect(file)
  const db = new Kysely<Schema>({ dialect })
  immediate.set(db, dialect.runNow)
  // Kysely closes what it has used, and nothing else.
  await db.connection().execute(async () => {})
  return db
}

/**
 * Opens a catalogue in a file that is of no use unless it was filled to the end: nothing is kept for taking changes back, and
 * no other process may look at it. Many rows and their indexes are written several times faster.
 */
export function openScratchDatabase(path: string): Database {
  // What SQLite calls defensive keeps the journal on.
  const file = new DatabaseSync(path, { defensive: false })
  file.exec('pragma locking_mode = exclusive')
  file.exec('pragma journal_mode = off')
  file.exec('pragma synchronous = off')
  file.exec('pragma cache_size = -262144')
  // Each index is made by reading a whole table, and sorted beside that.
  file.exec('pragma mmap_size = 0x7fff0000')
  file.exec('pragma threads = 2')
  return new Kysely<Schema>({ dialect: nodeSqliteDialect(file) })
}

/**
 * WAL with synchronous=FULL: a committed transaction survives a power cut, since a backup that was
 * once acknowledged must still be listed afterwards.
 */
function openSqliteFile(path: string): DatabaseSync {
  const file = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS })
  file.exec('pragma journal_mode = wal')
  file.exec('pragma synchronous = full')
  file.exec('pragma foreign_keys = on')
  file.exec('pragma temp_store = memory')
  file.exec('pragma cache_size = -16384')
  return file
}
