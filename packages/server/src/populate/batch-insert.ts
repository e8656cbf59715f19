import { CompiledQuery } from 'kysely'
import type { Transaction } from '../db/database.ts'
import type { NewRow, Schema } from '../db/schema.ts'

/** SQLite takes at most 32,766 parameters in one statement, PostgreSQL 65,535. */
const PARAMETERS_MAX = 30_000
const ROWS_MAX = 200

export type BatchInsert = <Table extends keyof Schema>(tx: Transaction, table: Table, rows: readonly NewRow<Table>[]) => Promise<void>

/**
 * Inserts many rows with few statements; all rows of one call have the same members. The text of a
 * statement is made once and used again: making it anew takes longer than the insert.
 */
export function openBatchInsert(): BatchInsert {
  const texts = new Map<string, string>()

  return async (tx, table, rows) => {
    const [first] = rows
    if (first === undefined) return
    const columns = Object.keys(first) as (keyof typeof first)[]
    const rowsPerBatch = Math.min(ROWS_MAX, Math.floor(PARAMETERS_MAX / columns.length))
    for (let start = 0; start < rows.length; start += rowsPerBatch) {
      const batch = rows.slice(start, start + rowsPerBatch)
      const key = `${table} ${batch.length}`
      const text = texts.get(key) ?? tx.insertInto(table).values(batch).compile().sql
      texts.set(key, text)
      await tx.executeQuery(CompiledQuery.raw(text, batch.flatMap((row) => columns.map((column) => row[column]))))
    }
  }
}
