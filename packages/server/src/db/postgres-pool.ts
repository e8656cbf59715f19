/** Connections to PostgreSQL, and why a server does not start on one. */
import { Pool, types as defaultTypes, type PoolClient, type PoolConfig } from 'pg'
import { StartRefusal } from '../data-directory.ts'

/** Connections of one server. What waits for one waits in the server, in order. */
const CONNECTIONS_MAX = 10
const CONNECT_TIMEOUT_MS = 10_000
/** One statement; migrations and copies of the catalogue are exempt. */
const STATEMENT_TIMEOUT_MS = 60_000
/** Waiting for the turn to write. */
const LOCK_TIMEOUT_MS = 30_000
/** A server that hangs in the middle of a transaction must not keep the others from writing. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 20_000
const IDLE_TIMEOUT_MS = 30_000

const OLDEST_VERSION = 13

export function isPostgresUrl(location: string): boolean {
  return /^postgres(?:ql)?:\/\//.test(location)
}

/** Throws a `StartRefusal` when the database cannot be reached or used. */
export async function openPostgresPool(url: string): Promise<Pool> {
  const shown = withoutPassword(url)
  const pool = new Pool({
    connectionString: url,
    application_name: 'opencbr',
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    keepAlive: true,
    types: { getTypeParser: chooseParser },
  } as PoolConfig)
  // A connection that breaks while nobody uses it: the pool has thrown it away already.
  pool.on('error', () => {})
  // One that breaks while it is used: its query fails, which is enough; unheard, the event would end the server.
  pool.on('connect', (client) => client.on('error', () => {}))
  try {
    const client = await pool.connect().catch((error: Error) => {
      throw new StartRefusal(`The database ${shown} cannot be reached: ${reasonOf(error)}`, { cause: error })
    })
    try {
      await judgeServer(client, shown)
    } finally {
      client.release()
    }
    return pool
  } catch (error) {
    await pool.end()
    throw error
  }
}

async function judgeServer(client: PoolClient, shown: string): Promise<void> {
  const { rows: [found] } = await client.query<{ version: string, encoding: string }>(
    `select current_setting('server_version') as version, current_setting('server_encoding') as encoding`)
  if (found === undefined || Number.parseInt(found.version, 10) < OLDEST_VERSION) {
    throw new StartRefusal(`The database ${shown} is PostgreSQL ${found?.version}: version ${OLDEST_VERSION} or newer is needed.`)
  }
  if (found.encoding !== 'UTF8') {
    throw new StartRefusal(`The database ${shown} has the encoding ${found.encoding}: make one with the encoding UTF8.`)
  }
}

/** Several addresses behind one name fail in one error without a text of its own. */
export function reasonOf(error: Error): string {
  const reasons = error instanceof AggregateError ? error.errors.map((each) => (each as Error).message) : [error.message]
  return reasons.filter((reason) => reason !== '').join('; ') || String((error as { code?: unknown }).code ?? error.name)
}

/** For messages: how to find the database, without what opens it. */
export function withoutPassword(url: string): string {
  try {
    const parsed = new URL(url)
    parsed.password = ''
    parsed.searchParams.delete('password')
    return parsed.href
  } catch {
    return 'postgres://…'
  }
}

const OID_BOOL = 16
const OID_INT8 = 20
const OID_NUMERIC = 1700

/** The forms that SQLite gives: integers and sums as numbers, truth values as 0 and 1. */
const parsers: Readonly<Record<number, (text: string) => number>> = {
  [OID_BOOL]: (text) => (text === 't' ? 1 : 0),
  [OID_INT8]: parseInteger,
  [OID_NUMERIC]: Number,
}

function chooseParser(oid: number, format?: 'text' | 'binary'): (value: string) => unknown {
  return parsers[oid] ?? (defaultTypes.getTypeParser(oid, format as 'text') as (value: string) => unknown)
}

function parseInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`the database holds the integer ${text}, which is too large`)
  return value
}
