/**
 * A throw-away PostgreSQL: its data lies in a temporary directory, nothing of it is synced to disk, and it ends with the
 * process that started it, however that ends.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chownSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { findFreePort } from './find-free-port.ts'

export interface PostgresServer extends AsyncDisposable {
  /** Of the database that every server has; its user may make others. */
  readonly url: string
  /** Breaks off what is under way, and stops; what was committed stays. */
  readonly stop: () => Promise<void>
  /** Starts again after `stop`, at the same URL. */
  readonly start: () => Promise<void>
}

/** It takes a second on an idle machine. */
const START_MS_MAX = 60_000
const POLL_MS = 50
const NOBODY = 65_534

/** `settings` come on top of its own, as `name=value`. */
export async function startPostgresServer(settings: readonly string[] = []): Promise<PostgresServer> {
  const programs = bringPostgres()
  const directory = mkdtempSync(join(tmpdir(), 'opencbr-postgres-'))
  const asUser = userChange()
  const password = randomBytes(12).toString('hex')
  const logFile = join(directory, 'log')
  const run = (program: string, args: readonly string[]): ChildProcess => {
    const [command = '', ...rest] = [...asUser, join(programs, program), ...args]
    // To a file and not through a pipe, which would keep this process from ending.
    const log = openSync(logFile, 'a', 0o600)
    try {
      return spawn(command, rest, { cwd: directory, stdio: ['ignore', log, log], env: { ...process.env, ...findLibraries(programs) } })
    } finally {
      closeSync(log)
    }
  }
  let server: ChildProcess | undefined
  try {
    if (asUser.includes('--reuid')) chownSync(directory, NOBODY, NOBODY)
    const passwordFile = join(directory, 'password')
    writeFileSync(passwordFile, password, { mode: 0o600 })
    if (asUser.includes('--reuid')) chownSync(passwordFile, NOBODY, NOBODY)
    const data = join(directory, 'data')
    await succeed(run('initdb', [
      '-D', data, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`, '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync',
    ]), logFile)
    const port = await findFreePort()
    const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`
    const start = async (): Promise<void> => {
      server = run('postgres', [
        '-D', data, '-k', directory, '-p', String(port),
        ...['listen_addresses=127.0.0.1', 'fsync=off', 'full_page_writes=off', 'synchronous_commit=off', 'max_connections=200', 'autovacuum=off', ...settings]
          .flatMap((setting) => ['-c', setting]),
      ])
      await answers(server, url, logFile)
      // Who uses it need not end it: it ends with the process, and does not keep that alive.
      server.unref()
    }
    const end = async (signal: NodeJS.Signals): Promise<void> => {
      if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
      server.ref()
      server.kill(signal)
      await once(server, 'exit')
    }
    await start()
    const remove = (): void => {
      server?.kill('SIGQUIT')
      rmSync(directory, { recursive: true, force: true })
    }
    process.once('exit', remove)
    return {
      url,
      start,
      // Nothing is synced while it runs; this signal makes it write everything down at its end.
      stop: () => end('SIGINT'),
      async [Symbol.asyncDispose]() {
        process.off('exit', remove)
        await end('SIGQUIT')
        rmSync(directory, { recursive: true, force: true })
      },
    }
  } catch (error) {
    server?.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
    throw error
  }
}

/** Finds the server's programs, or brings them. Throws with the reason when there are none. */
function bringPostgres(): string {
  const script = join(import.meta.dirname, '../../../scripts/install-postgres.sh')
  const brought = spawnSync('bash', [script], { encoding: 'utf8' })
  const folder = brought.stdout.trim()
  if (brought.status !== 0 || folder === '') throw new Error(brought.stderr.trim().split('\n').at(-1) ?? 'no PostgreSQL can be brought')
  return folder
}

/** PostgreSQL refuses to run as root; and it gets told when this process dies. */
function userChange(): string[] {
  const change = ['setpriv', '--pdeathsig', 'QUIT']
  return process.getuid?.() === 0 ? [...change, '--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'] : change
}

/** Programs that were unpacked have their libraries beside them. */
function findLibraries(programs: string): { LD_LIBRARY_PATH?: string } {
  const root = programs.replace(/\/usr\/lib\/postgresql\/.*$/, '')
  if (root === '') return {}
  const { status, stdout } = spawnSync('find', [join(root, 'usr/lib'), '-maxdepth', '2', '-name', 'libpq.so.5'], { encoding: 'utf8' })
  const [library] = status === 0 ? stdout.split('\n') : []
  return library === undefined || library === '' ? {} : { LD_LIBRARY_PATH: join(library, '..') }
}

async function succeed(child: ChildProcess, logFile: string): Promise<void> {
  const [code] = await once(child, 'close') as [number | null]
  if (code !== 0) throw new Error(`PostgreSQL's initdb failed: ${readLog(logFile)}`)
}

function readLog(logFile: string): string {
  return readFileSync(logFile, 'utf8').slice(-4_000).trim()
}

async function answers(server: ChildProcess, url: string, logFile: string): Promise<void> {
  const impatientAt = performance.now() + START_MS_MAX
  for (;;) {
    const client = new Client({ connectionString: url })
    try {
      await client.connect()
      await client.end()
      return
    } catch (error) {
      await client.end().catch(() => {})
      if (server.exitCode !== null || server.signalCode !== null || performance.now() > impatientAt) {
        throw new Error(`PostgreSQL does not start: ${readLog(logFile)}`, { cause: error })
      }
    }
    await sleep(POLL_MS)
  }
}
