import { sql } from 'kysely'
import type { Transaction } from '../db/database.ts'
import { dialectOf } from '../db/dialect.ts'
import { countSharedBytes, countUsage } from '../db/migrations/003-vaults.ts'
import { countAllBackups, fillSharedBackups } from '../db/migrations/019-smaller-lists.ts'

/** Tables that are filled with many rows. */
const TABLES: readonly string[] = ['backups', 'backup_members', 'checkpoints', 'replication_records']

/**
 * Takes the indexes and triggers of what is filled away while `load` runs, and makes anew from the
 * finished tables what they keep, which is several times faster than keeping it up to date row by row. The
 * rows that are loaded bring their documents. On PostgreSQL whoever reads meanwhile waits.
 */
export async function loadWithoutIndexes(tx: Transaction, load: () => Promise<void>): Promise<void> {
  await (dialectOf(tx) === 'sqlite' ? loadIntoSqlite(tx, load) : loadIntoPostgres(tx, load))
  await tx.deleteFrom('shared_backups').execute()
  await tx.deleteFrom('backup_counts').execute()
  await tx.deleteFrom('backup_cells').execute()
  await countAllBackups(tx)
  await fillSharedBackups(tx)
  await tx.deleteFrom('vault_usage').execute()
  await countUsage(tx)
  await countSharedBytes(tx)
  await sql`insert into backup_revisions (project_id, revision) select distinct project_id, 1 from backups where true
    on conflict (project_id) do update set revision = backup_revisions.revision + 1`.execute(tx)
}

async function loadIntoPostgres(tx: Transaction, load: () => Promise<void>): Promise<void> {
  await sql`set local statement_timeout = 0`.execute(tx)
  const { rows: indexes } = await sql<{ name: string, sql: string }>`
    select indexname as name, indexdef as sql from pg_indexes
    where schemaname = current_schema() and tablename in (${sql.join(TABLES)})
      and indexname not in (select conname from pg_constraint where connamespace = current_schema()::regnamespace)`.execute(tx)
  for (const { name } of indexes) await tx.schema.dropIndex(name).execute()
  for (const table of TABLES) await sql`alter table ${sql.table(table)} disable trigger user`.execute(tx)
  await load()
  for (const index of indexes) await sql.raw(index.sql).execute(tx)
  for (const table of TABLES) await sql`alter table ${sql.table(table)} enable trigger user`.execute(tx)
}

async function loadIntoSqlite(tx: Transaction, load: () => Promise<void>): Promise<void> {
  const { rows: indexes } = await sql<{ name: string, sql: string }>`
    select name, sql from sqlite_schema where type = 'index' and tbl_name in (${sql.join(TABLES)}) and sql is not null`.execute(tx)
  // Dropping an index takes away what the planner was told about it.
  const { rows: statistics } = await sql<{ tbl: string, idx: string | null, stat: string }>`
    select tbl, idx, stat from sqlite_stat1 where tbl in (${sql.join(TABLES)})`.execute(tx)
  const { rows: triggers } = await sql<{ name: string, sql: string }>`
    select name, sql from sqlite_schema where type = 'trigger' and tbl_name in (${sql.join(TABLES)})`.execute(tx)
  for (const { name } of indexes) await tx.schema.dropIndex(name).execute()
  for (const { name } of triggers) await sql`drop trigger ${sql.ref(name)}`.execute(tx)
  await load()
  for (const each of [...indexes, ...triggers]) await sql.raw(each.sql).execute(tx)
  await sql`delete from sqlite_stat1 where tbl in (${sql.join(TABLES)})`.execute(tx)
  for (const { tbl, idx, stat } of statistics) {
    await sql`insert into sqlite_stat1 (tbl, idx, stat) values (${tbl}, ${idx}, ${stat})`.execute(tx)
  }
  await sql`analyze sqlite_schema`.execute(tx)
}
