/**
 * Which database a test runs on: SQLite, or PostgreSQL where OPENCBR_TEST_DATABASE=postgres. Each test has a database
 * of its own, on the server of OPENCBR_TEST_POSTGRES or on one that is started when the first test asks.
 */
import { createHash, randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { startPostgresServer } from './postgres-server.ts'

export interface TestDatabase extends AsyncDisposable {
  /** What `openDatabase` and a server's `database` take. */
  readonly url: string
}

export interface PostgresDatabase extends TestDatabase {
  /** Puts an empty database in its place. Nobody may be connected. Answers where the old one is now. */
  readonly replace: () => Promise<TestDatabase>
}

export function runsOnPostgres(): boolean {
  return process.env['OPENCBR_TEST_DATABASE'] === 'postgres'
}

let ownServer: Promise<{ readonly url: string }> | undefined

async function serverUrl(): Promise<string> {
  const given = process.env['OPENCBR_TEST_POSTGRES']
  if (given !== undefined && given !== '') return given
  ownServer ??= startPostgresServer()
  return (await ownServer).url
}

function randomName(): string {
  return `opencbr_${randomBytes(12).toString('hex')}`
}

/** A new database in PostgreSQL. With a name, the one that has been made under this name. With a locale, texts sort by it. */
export async function makePostgresDatabase(name?: string, { icuLocale }: { readonly icuLocale?: string } = {}): Promise<PostgresDatabase> {
  const server = await serverUrl()
  const database = name === undefined ? randomName() : `opencbr_${createHash('sha256').update(name).digest('hex').slice(0, 24)}`
  await administer(server, async (client) => {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [database])
    if (rowCount === 0) await client.query(`create database ${database} template template0${icuLocale === undefined ? '' : ` locale_provider icu icu_locale '${icuLocale}'`}`)
  })
  return {
    ...databaseOn(server, database),
    async replace() {
      const old = randomName()
      await administer(server, async (client) => {
        await client.query(`alter database ${database} rename to ${old}`)
        await client.query(`create database ${database} template template0`)
      })
      return databaseOn(server, old)
    },
  }
}

function databaseOn(server: string, name: string): TestDatabase {
  const url = new URL(server)
  url.pathname = `/${name}`
  return {
    url: url.href,
    async [Symbol.asyncDispose]() {
      await administer(server, (client) => client.query(`drop database if exists ${name} with (force)`))
    },
  }
}

/** For tests of stores: an empty catalogue of the kind that the run is about. */
export async function chooseTestDatabase(): Promise<TestDatabase> {
  if (runsOnPostgres()) return makePostgresDatabase()
  return { url: ':memory:', async [Symbol.asyncDispose]() {} }
}

async function administer(server: string, work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: server })
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}
