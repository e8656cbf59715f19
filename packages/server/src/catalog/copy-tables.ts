/** All rows of one catalogue into another, whichever databases they lie in. */
import { CompiledQuery, sql, type Kysely, type Transaction as KyselyTransaction } from 'kysely'
import { dialectOf } from '../db/dialect.ts'

type AnyTables = Record<string, Record<string, unknown>>
type AnyTransaction = KyselyTransaction<AnyTables>

/** Not copied: who was alive then is not alive now, and what the schema's changes were each catalogue knows itself. */
const OWN_TABLES = new Set(['servers', 'kysely_migration', 'kysely_migration_lock'])

const ROWS_AT_ONCE = 500
/** SQLite takes 32,766 in one statement. */
const PARAMETERS_MAX = 30_000

/** The tables that a copy holds, by name. */
export async function listCopiedTables<Tables>(db: Kysely<Tables>): Promise<string[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: false })
  return tables.filter(({ name, isView }) => !isView && !name.startsWith('sqlite_') && !OWN_TABLES.has(name)).map(({ name }) => name).sort()
}

/**
 * Makes the tables of `to` hold what those of `from` hold, and nothing else. Both have the same schema. Neither triggers
 * nor anything else of the target acts on the rows: what they keep up to date is copied too. Answers the rows
 * by table.
 */
export async function copyTables<From, To>(from: KyselyTransaction<From>, to: KyselyTransaction<To>): Promise<Record<string, number>> {
  const source = from as unknown as AnyTransaction
  const target = to as unknown as AnyTransaction
  const tables = await listCopiedTables(target)
  const copied: Record<string, number> = {}
  await withoutTriggers(target, tables, async () => {
    for (const table of tables) {
      await target.deleteFrom(table).execute()
      copied[table] = 0
      for await (const rows of readTable(source, table)) {
        await insertRows(target, table, rows)
        copied[table] += rows.length
      }
    }
    if (dialectOf(target) === 'sqlite') await target.deleteFrom('servers').execute()
  })
  return copied
}

async function* readTable(source: AnyTransaction, table: string): AsyncGenerator<Record<string, unknown>[]> {
  if (dialectOf(source) === 'sqlite') {
    let rows: Record<string, unknown>[] = []
    for await (const row of source.selectFrom(table).selectAll().stream()) {
      rows.push(row)
      if (rows.length < ROWS_AT_ONCE) continue
      yield rows
      rows = []
    }
    if (rows.length > 0) yield rows
    return
  }
  await sql`declare copied no scroll cursor for select * from ${sql.table(table)}`.execute(source)
  for (;;) {
    const { rows } = await source.executeQuery<Record<string, unknown>>(CompiledQuery.raw(`fetch ${ROWS_AT_ONCE} from copied`))
    if (rows.length === 0) break
    yield rows
  }
  await sql`close copied`.execute(source)
}

async function insertRows(target: AnyTransaction, table: string, rows: readonly Record<string, unknown>[]): Promise<void> {
  const [first] = rows
  if (first === undefined) return
  const rowsPerStatement = Math.floor(PARAMETERS_MAX / Object.keys(first).length)
  for (let at = 0; at < rows.length; at += rowsPerStatement) await target.insertInto(table).values(rows.slice(at, at + rowsPerStatement)).execute()
}

async function withoutTriggers(target: AnyTransaction, tables: readonly string[], work: () => Promise<void>): Promise<void> {
  if (dialectOf(target) === 'postgres') {
    await sql`set local statement_timeout = 0`.execute(target)
    for (const table of tables) await sql`alter table ${sql.table(table)} disable trigger user`.execute(target)
    await work()
    for (const table of tables) await sql`alter table ${sql.table(table)} enable trigger user`.execute(target)
    return
  }
  const { rows: triggers } = await sql<{ name: string, sql: string }>`select name, sql from sqlite_schema where type = 'trigger'`.execute(target)
  for (const { name } of triggers) await sql`drop trigger ${sql.ref(name)}`.execute(target)
  await work()
  for (const trigger of triggers) await sql.raw(trigger.sql).execute(target)
}
