/**
 * Kysely over `pg`: a bounded pool of connections to one PostgreSQL.
 *
 * A transaction that may write begins by taking one advisory lock, and has the catalogue for itself
 * until it ends: exactly what `begin immediate` gives on SQLite, so a verb that reads and then writes is
 * right on both without a word about locks. Every statement in it sees what was committed before.
 * Transactions opened as read only take no lock and see one state of the catalogue throughout; single
 * statements neither wait nor are waited for.
 */
import {
  CompiledQuery, OperatorNode, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler, PrimitiveValueListNode, ValueListNode,
  type BinaryOperationNode, type ColumnDefinitionNode, type DatabaseConnection, type DataTypeNode, type Dialect, type Driver, type Kysely,
  type QueryResult, type TransactionSettings,
} from 'kysely'
import { Query, type Pool, type PoolClient } from 'pg'
import { CatalogueOutage, isPostgresOutage } from './outage.ts'
import { reasonOf } from './postgres-pool.ts'

/** Any number will do; advisory locks are counted per database. */
export const WRITE_LOCK_KEY = 7_268_431_902

export function nodePostgresDialect(pool: Pool): Dialect {
  return {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new NodePostgresDriver(pool),
    createIntrospector: (db: Kysely<unknown>) => new PostgresIntrospector(db),
    createQueryCompiler: () => new CatalogueQueryCompiler(),
  }
}

/** What columns are on SQLite: text in the order of its bytes, integers of 64 bits. */
const columnTypes: Readonly<Record<string, string>> = { text: 'text collate "C"', integer: 'bigint' }

const emptyListTruth: Readonly<Record<string, string>> = { in: 'false', 'not in': 'true' }

class CatalogueQueryCompiler extends PostgresQueryCompiler {
  #inColumn = false

  protected override visitColumnDefinition(node: ColumnDefinitionNode): void {
    this.#inColumn = true
    super.visitColumnDefinition(node)
    this.#inColumn = false
  }

  /** SQLite reads `in ()` as what it says: nothing is in there. To PostgreSQL it is a mistake. */
  protected override visitBinaryOperation(node: BinaryOperationNode): void {
    const { operator, rightOperand: list } = node
    const isEmpty = (PrimitiveValueListNode.is(list) || ValueListNode.is(list)) && list.values.length === 0
    const word = isEmpty && OperatorNode.is(operator) ? emptyListTruth[operator.operator] : undefined
    if (word === undefined) super.visitBinaryOperation(node)
    else this.append(word)
  }

  protected override visitDataType(node: DataTypeNode): void {
    const type = this.#inColumn ? columnTypes[node.dataType] : undefined
    if (type === undefined) super.visitDataType(node)
    else this.append(type)
  }
}

/** What `pg` has of COPY, and does not declare. */
interface CopyConnection {
  readonly sendCopyFromChunk: (chunk: Uint8Array) => void
  readonly endCopyFrom: () => void
}

/** `pg` calls this member when the server waits for the rows. */
class CopyQuery extends Query {
  readonly #rows: Uint8Array

  constructor(copy: string, rows: Uint8Array, done: (error: Error | null | undefined) => void) {
    super(copy, done)
    this.#rows = rows
  }

  handleCopyInResponse(connection: CopyConnection): void {
    connection.sendCopyFromChunk(this.#rows)
    connection.endCopyFrom()
  }
}

/** Appends many rows to a table of PostgreSQL, in the transaction or by themselves; `rows` are in the text form of COPY. */
export async function copyRows<Tables>(db: Kysely<Tables>, table: string, columns: readonly string[], rows: Uint8Array): Promise<void> {
  const copy = `copy ${escapeName(table)} (${columns.map(escapeName).join(', ')}) from stdin`
  await db.getExecutor().provideConnection((connection) => ours(connection).copy(copy, rows))
}

function escapeName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

interface QueryAnswer {
  readonly command: string
  readonly rowCount: number | null
  readonly rows: unknown[]
}

class NodePostgresConnection implements DatabaseConnection {
  readonly #client: PoolClient
  /** Whether it must not be used again. */
  isBroken = false

  constructor(client: PoolClient) {
    this.#client = client
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    const { command, rowCount, rows } = await this.query(query.sql, [...query.parameters])
    if (command === 'INSERT' || command === 'UPDATE' || command === 'DELETE') {
      return { rows: rows as Row[], numAffectedRows: BigInt(rowCount ?? 0) }
    }
    return { rows: (rows ?? []) as Row[] }
  }

  async query(text: string, parameters?: unknown[]): Promise<QueryAnswer> {
    try {
      return await this.#client.query(text, parameters)
    } catch (error) {
      // A statement that the server refuses says how severe it is; all else is about the connection.
      if ((error as { severity?: unknown }).severity !== 'ERROR') this.isBroken = true
      throw outageOr(error)
    }
  }

  /** Appends rows to a table; `copy` is a COPY … FROM STDIN, and `rows` are in its text form. */
  async copy(copy: string, rows: Uint8Array): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#client.query(new CopyQuery(copy, rows, (error) => (error === undefined || error === null ? resolve() : reject(error))))
      })
    } catch (error) {
      this.isBroken = true
      throw outageOr(error)
    }
  }

  release(): void {
    this.#client.release(this.isBroken)
  }

  streamQuery(): never {
    throw new Error('PostgreSQL is not read as a stream: read in pages.')
  }
}

class NodePostgresDriver implements Driver {
  readonly #pool: Pool

  constructor(pool: Pool) {
    this.#pool = pool
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    try {
      return new NodePostgresConnection(await this.#pool.connect())
    } catch (error) {
      throw outageOr(error)
    }
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    ours(connection).release()
  }

  async beginTransaction(connection: DatabaseConnection, { accessMode }: TransactionSettings): Promise<void> {
    const own = ours(connection)
    if (accessMode === 'read only') {
      await own.query('start transaction isolation level repeatable read read only')
      return
    }
    try {
      await own.query(`begin; select pg_advisory_xact_lock(${WRITE_LOCK_KEY})`)
    } catch (error) {
      // Begun, but not alone: the connection must not come back from the pool inside a transaction.
      own.isBroken = true
      throw error
    }
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    const { command } = await ours(connection).query('commit')
    // What PostgreSQL says when a statement had failed, and the failure was caught and forgotten.
    if (command === 'ROLLBACK') throw new Error('The transaction could not be committed: one of its statements had failed.')
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    const own = ours(connection)
    try {
      await own.query('rollback')
    } catch {
      // Why it is rolled back matters more, and is thrown already; without its connection it ends by itself.
      own.isBroken = true
    }
  }

  async destroy(): Promise<void> {
    await this.#pool.end()
  }
}

/** What a statement or a connection failed with, for callers. */
export function outageOr(error: unknown): unknown {
  return isPostgresOutage(error) ? new CatalogueOutage(reasonOf(error as Error), { cause: error }) : error
}

function ours(connection: DatabaseConnection): NodePostgresConnection {
  if (!(connection instanceof NodePostgresConnection)) throw new TypeError('a connection of another driver')
  return connection
}
