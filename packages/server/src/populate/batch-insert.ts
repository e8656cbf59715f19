import { CompiledQuery } from 'kysely'
import type { Transaction } from '../db/database.ts'
import { dialectOf } from '../db/dialect.ts'
import { copyRows } from '../db/node-postgres-dialect.ts'
import type { NewRow, Schema } from '../db/schema.ts'

/** SQLite takes at most 32,766 parameters in one statement. */
const PARAMETERS_MAX = 30_000
const ROWS_MAX = 200

export type BatchInsert = <Table extends keyof Schema>(tx: Transaction, table: Table, rows: readonly NewRow<Table>[]) => Promise<void>

/**
 * Inserts many rows with few statements; all rows of one call have the same members. On SQLite the text of a
 * statement is made once and used again: making it anew takes longer than the insert.
 */
export function openBatchInsert(): BatchInsert {
  const texts = new Map<string, string>()

  return async (tx, table, rows) => {
    const [first] = rows
    if (first === undefined) return
    const columns = Object.keys(first) as (keyof typeof first)[]
    if (dialectOf(tx) === 'postgres') {
      const lines = rows.map((row) => `${columns.map((column) => copyText(row[column])).join('\t')}\n`)
      await copyRows(tx, table, columns.map(String), Buffer.from(lines.join('')))
      return
    }
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

const copyEscapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** A value as COPY reads it. */
function copyText(value: unknown): string {
  if (value === null || value === undefined) return String.raw`\N`
  return String(value).replaceAll(/[\\\n\r\t]/g, (character) => copyEscapes[character] ?? character)
}
