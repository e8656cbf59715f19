/**
 * Kysely over `node:sqlite`. One connection, handed to one caller at a time: SQLite has one writer
 * anyway, and the calls are synchronous. So a transaction must await nothing but the database.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import {
  CompiledQuery, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler,
  type DatabaseConnection, type Dialect, type Driver, type Kysely, type QueryResult,
} from 'kysely'

/** Beyond this many, rarely used statements are prepared anew; a server uses about a hundred. */
const STATEMENTS_KEPT_MAX = 500
/** A transaction that goes on for longer lets others have the event loop. */
const TURN_MS_MAX = 4

/** Runs a compiled statement at once, without Kysely between. */
export type RunNow = <Row>(query: Pick<CompiledQuery, 'sql' | 'parameters'>) => QueryResult<Row>

export interface NodeSqliteDialect extends Dialect {
  /** For connections that only read: nothing waits for its turn, so nothing may be in a transaction. */
  readonly runNow: RunNow
}

export function nodeSqliteDialect(database: DatabaseSync): NodeSqliteDialect {
  const connection = new NodeSqliteConnection(database)
  return {
    runNow: (query) => connection.run(query),
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new NodeSqliteDriver(database, connection),
    createIntrospector: (db: Kysely<unknown>) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  }
}

interface PreparedStatement {
  readonly statement: StatementSync
  /** Asking the statement each time costs as much as running a short one. */
  readonly answersRows: boolean
}

class NodeSqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, PreparedStatement>()
  /** When others had their turn, or no transaction was going on. */
  #turnAt = 0

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    // Statements that follow each other leave the event loop no turn; in a long transaction others get theirs between two of them.
    if (this.#database.isTransaction) {
      if (performance.now() - this.#turnAt > TURN_MS_MAX) {
        await new Promise(setImmediate)
        this.#turnAt = performance.now()
      }
    } else {
      this.#turnAt = performance.now()
    }
    return this.run<Row>(query)
  }

  async *streamQuery<Row>(query: CompiledQuery): AsyncIterableIterator<QueryResult<Row>> {
    const statement = this.#database.prepare(query.sql)
    for (const row of statement.iterate(...(query.parameters as SQLInputValue[]))) yield { rows: [row as Row] }
  }

  run<Row>(query: Pick<CompiledQuery, 'sql' | 'parameters'>): QueryResult<Row> {
    const { statement, answersRows } = this.#prepare(query.sql)
    const parameters = query.parameters as SQLInputValue[]
    if (answersRows) return { rows: statement.all(...parameters) as Row[] }
    const { changes, lastInsertRowid } = statement.run(...parameters)
    return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) }
  }

  #prepare(sql: string): PreparedStatement {
    const known = this.#statements.get(sql)
    if (known !== undefined) return known
    const statement = this.#database.prepare(sql)
    if (this.#statements.size >= STATEMENTS_KEPT_MAX) this.#statements.clear()
    const prepared = { statement, answersRows: statement.columns().length > 0 }
    this.#statements.set(sql, prepared)
    return prepared
  }
}

class NodeSqliteDriver implements Driver {
  readonly #database: DatabaseSync
  readonly #connection: NodeSqliteConnection
  readonly #waiting: (() => void)[] = []
  #taken = false

  constructor(database: DatabaseSync, connection: NodeSqliteConnection) {
    this.#database = database
    this.#connection = connection
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    if (this.#taken) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#taken = true
    return this.#connection
  }

  async releaseConnection(): Promise<void> {
    const next = this.#waiting.shift()
    if (next === undefined) this.#taken = false
    else next()
  }

  async beginTransaction(): Promise<void> {
    // Immediate: a transaction that turned from reading to writing could fail with SQLITE_BUSY
    // when another process wrote in between, whatever the timeout.
    this.#database.exec('begin immediate')
  }

  async commitTransaction(): Promise<void> {
    this.#database.exec('commit')
  }

  async rollbackTransaction(): Promise<void> {
    if (this.#database.isTransaction) this.#database.exec('rollback')
  }

  async destroy(): Promise<void> {
    this.#database.close()
  }
}
