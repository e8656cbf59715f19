/**
 * Statements of PostgreSQL that are run with many values: each connection is told a text once, and plans it once. Reading and planning one
 * of the listing's takes PostgreSQL as long as running it, or longer, since there are many indexes to choose from.
 *
 * From the sixth run on PostgreSQL takes one plan for all values, if that promises to be as good as plans for the single ones. So texts say
 * themselves how many rows are wanted at most: of a limit that is a value a plan for all values knows nothing.
 */
import { hash } from 'node:crypto'
import type { Pool, PoolClient } from 'pg'
import { outageOr } from './node-postgres-dialect.ts'
import { RowsAsBytes, type JoinedRows } from './rows-as-bytes.ts'

export interface Statement {
  readonly sql: string
  readonly parameters: readonly unknown[]
}

export interface PreparedReads {
  readonly run: <Row>(statement: Statement) => Promise<Row[]>
  /** `bytesExpected`: more are no mistake, but take longer. */
  readonly join: (statement: Statement, bytesExpected: number) => Promise<JoinedRows>
}

/** A connection that keeps more is replaced by one that keeps none: each takes some memory, and there are many rare ones. */
const KEPT_BY_CONNECTION_MAX = 200
const NAMES_MAX = 1000

/** Without a name nothing is kept. `isKept`: the connection knows the text. */
type Send<Answer> = (client: PoolClient, name: string | undefined, isKept: boolean) => Promise<Answer>

export function openPreparedReads(pool: Pool): PreparedReads {
  const names = new Map<string, string>()
  const kept = new WeakMap<PoolClient, Set<string>>()
  let isPreparing = true

  /** The same text has the same name in every process: behind a pooler they may meet in one connection. */
  function nameOf(text: string): string {
    let name = names.get(text)
    if (name === undefined) {
      name = hash('sha256', text, 'base64url')
      if (names.size >= NAMES_MAX) names.clear()
      names.set(text, name)
    }
    return name
  }

  async function sendOnce<Answer>(send: Send<Answer>, name: string | undefined): Promise<Answer> {
    const client = await pool.connect()
    let isBroken = false
    try {
      if (name === undefined) return await send(client, undefined, false)
      const ofClient = kept.get(client) ?? new Set()
      kept.set(client, ofClient)
      const isKept = ofClient.has(name)
      ofClient.add(name)
      isBroken = ofClient.size > KEPT_BY_CONNECTION_MAX
      return await send(client, name, isKept)
    } catch (error) {
      // Whatever it was: what the connection has kept, or whether it is one, is not sure any more.
      isBroken = true
      throw error
    } finally {
      client.release(isBroken)
    }
  }

  async function sendTo<Answer>(text: string, send: Send<Answer>): Promise<Answer> {
    try {
      if (isPreparing) {
        try {
          return await sendOnce(send, nameOf(text))
        } catch (error) {
          const { code } = error as { code?: unknown }
          if (!OUTDATED.includes(code)) throw error
          // A pooler that hands out connections anew for each transaction, and knows nothing of what they keep.
          if (code !== PLAN_OUTDATED) isPreparing = false
        }
      }
      return await sendOnce(send, undefined)
    } catch (error) {
      throw outageOr(error)
    }
  }

  return {
    run: <Row>({ sql: text, parameters }: Statement) => sendTo(text, async (client, name) => {
      const values = [...parameters]
      return (await client.query(name === undefined ? { text, values } : { name, text, values })).rows as Row[]
    }),
    join: ({ sql: text, parameters }, bytesExpected) => sendTo(text, (client, name = '', isKept) => new Promise((resolve, reject) => {
      const values = parameters.map((value) => (value === null ? null : String(value)))
      client.query(new RowsAsBytes({ name, text: isKept ? undefined : text, values, bytesExpected }, resolve, reject))
    })),
  }
}

/** Also: the columns have become others, as by a migration that another server has made. */
const PLAN_OUTDATED = '0A000'
/** No such statement is kept, or one of this name is, against expectation. */
const OUTDATED: readonly unknown[] = [PLAN_OUTDATED, '26000', '42P05']
