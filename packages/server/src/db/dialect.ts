/**
 * What the two databases do differently, in one place. Nearly all SQL is the same for both and goes
 * through Kysely; the dialects also make these the same, so that nobody else needs to think of them:
 *
 * - `text` columns compare and sort by bytes (PostgreSQL: `collate "C"`), `integer` columns hold 64 bits;
 * - integers, counts and sums are read as numbers, truth values as 0 and 1;
 * - a transaction that may write has the catalogue for itself until it ends (see `database.ts`).
 */
import { PostgresAdapter, sql, type AliasedRawBuilder, type Kysely, type Transaction } from 'kysely'

export type DialectName = 'sqlite' | 'postgres'

/** For the rare statement that only one of them has or needs. */
export function dialectOf<Tables>(db: Kysely<Tables> | Transaction<Tables>): DialectName {
  return db.getExecutor().adapter instanceof PostgresAdapter ? 'postgres' : 'sqlite'
}

/**
 * A table as `b` that is read through one of its indexes. SQLite plans by the form of a statement alone, so whoever knows how many
 * rows to expect tells it; PostgreSQL has counted, and chooses itself.
 */
export function readThrough<Columns>(dialect: DialectName, table: string, index: string): AliasedRawBuilder<Columns, 'b'> {
  return sql<Columns>`${sql.table(table)}`.as<'b'>(dialect === 'sqlite' ? sql`b indexed by ${sql.ref(index)}` : sql`b`)
}

export interface RowTrigger {
  /** Also names the function that PostgreSQL needs beside it. */
  readonly name: string
  readonly table: string
  readonly event: 'insert' | 'update' | 'delete'
  /** For updates: fires only when one of these columns is assigned. */
  readonly columns?: readonly string[]
  /** A condition over `new` and `old`, without which nothing is done. */
  readonly when?: string
  /**
   * What is done after each row: statements, each ended by `;`, that know the row as `new` (insert, update) and `old`
   * (update, delete). Write SQL that both databases read: `on conflict (…) do update set n = counters.n + 1`
   * names the table, since to PostgreSQL a bare `n` could be either row's.
   */
  readonly statements: string
}

/**
 * Makes a trigger that runs after each row. In migrations only; the texts go into the schema as they are.
 * A trigger that changes one and the same row for each of many rows makes bulk changes slow on PostgreSQL, which
 * keeps every version of that row until the transaction ends: migration 015 shows how to do it once per statement there.
 */
export async function createRowTrigger<Tables>(db: Kysely<Tables>, trigger: RowTrigger): Promise<void> {
  const { name, table, event, columns = [], when, statements } = trigger
  const happening = sql.raw(columns.length === 0 ? event : `${event} of ${columns.join(', ')}`)
  const condition = sql.raw(when === undefined ? '' : `when (${when})`)
  if (dialectOf(db) === 'sqlite') {
    await sql`create trigger ${sql.ref(name)} after ${happening} on ${sql.table(table)} for each row ${condition}
      begin ${sql.raw(statements)} end`.execute(db)
    return
  }
  await sql`create function ${sql.ref(name)}() returns trigger language plpgsql as ${sql.lit(`begin ${statements} return null; end`)}`.execute(db)
  await sql`create trigger ${sql.ref(name)} after ${happening} on ${sql.table(table)} for each row ${condition}
    execute function ${sql.ref(name)}()`.execute(db)
}

/** Takes away what `createRowTrigger` made. */
export async function dropRowTrigger<Tables>(db: Kysely<Tables>, trigger: Pick<RowTrigger, 'name' | 'table'>): Promise<void> {
  if (dialectOf(db) === 'sqlite') {
    await sql`drop trigger ${sql.ref(trigger.name)}`.execute(db)
    return
  }
  await sql`drop trigger ${sql.ref(trigger.name)} on ${sql.table(trigger.table)}`.execute(db)
  await sql`drop function ${sql.ref(trigger.name)}()`.execute(db)
}

const SQLITE_CONSTRAINT_UNIQUE = 2067
const SQLITE_CONSTRAINT_PRIMARYKEY = 1555
const POSTGRES_UNIQUE_VIOLATION = '23505'

/** Whether a statement failed because a row with such a key is there already. PostgreSQL's transaction cannot go on after it. */
export function isUniqueViolation(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { errcode, code } = error as Error & { errcode?: unknown, code?: unknown }
  return errcode === SQLITE_CONSTRAINT_UNIQUE || errcode === SQLITE_CONSTRAINT_PRIMARYKEY || code === POSTGRES_UNIQUE_VIOLATION
}
