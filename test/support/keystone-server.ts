/**
 * A real Keystone for one test file: on SQLite, on a free port of the loopback interface, behind the plain WSGI server
 * that comes with it, its data in a directory that goes away with it.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { findFreePort } from '@opencbr/testkit'

export interface KeystoneServer extends AsyncDisposable {
  /** With `/v3` at its end. */
  readonly url: string
  readonly region: string
  /** Of the user that its bootstrap made, who administers it. */
  readonly adminToken: string
  /** Calls Keystone as that user. Fails unless the answer is of the 2xx. */
  readonly call: <Body = Record<string, unknown>>(method: string, path: string, body?: unknown) => Promise<Body>
  /** Logs a user of the domain `default` in; without a project the token is for nothing. */
  readonly logIn: (name: string, projectName?: string) => Promise<string>
  readonly logInWith: (identity: unknown, scope?: unknown) => Promise<{ readonly token: string, readonly issuedAtMs: number }>
  /** Ends it, as a crash would. */
  readonly kill: () => Promise<void>
}

/** Of every user in it. */
export const KEYSTONE_PASSWORD = 'word of the test'

const REGION = 'local-1'
const START_MS_MAX = 120_000
const POLL_MS = 200
/** The packages are for it; another one that comes first in PATH does not see them. */
const PYTHON = '/usr/bin/python3'

/** Brings Keystone's programs. Returns the folder they lie in, or the reason why there are none. */
export function bringKeystone(): { readonly root: string } | { readonly unavailable: string } {
  const brought = spawnSync('bash', [join(import.meta.dirname, '../../scripts/install-keystone.sh')], { encoding: 'utf8' })
  const root = brought.stdout.trim()
  if (brought.status === 0 && root !== '') return { root }
  return { unavailable: brought.stderr.trim().split('\n').at(-1) ?? 'no Keystone can be brought' }
}

/** Starts Keystone from the programs below `root`. Throws with the end of its output when it does not come up. */
export async function startKeystone(root: string): Promise<KeystoneServer> {
  // In memory where there is such a place: a new Keystone commits hundreds of times, and nothing of it is to last.
  const directory = fs.mkdtempSync(join(fs.existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'opencbr-keystone-'))
  const inRoot = root === '/' ? {} : { PYTHONPATH: join(root, 'usr/lib/python3/dist-packages') }
  const env = { PATH: process.env['PATH'], HOME: directory, LC_ALL: 'C.UTF-8', ...inRoot }
  const configuration = join(directory, 'keystone.conf')
  let child: ChildProcess | undefined

  function manage(...commandLine: string[]): void {
    const result = spawnSync(PYTHON, [join(root, 'usr/bin/keystone-manage'), '--config-file', configuration, ...commandLine], {
      cwd: directory, env, encoding: 'utf8', timeout: START_MS_MAX,
    })
    if (result.status !== 0) throw new Error(`keystone-manage ${commandLine[0]} ended with ${result.status}: ${result.stderr.slice(-2000)}`)
  }

  async function kill(): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  async function stop(): Promise<void> {
    await kill()
    fs.rmSync(directory, { recursive: true, force: true })
  }

  try {
    const port = await findFreePort()
    const url = `http://127.0.0.1:${port}/v3`
    fs.writeFileSync(configuration, configurationIn(directory))
    fs.mkdirSync(join(directory, 'keys'), { mode: 0o700 })
    // Two keys, as `fernet_setup` makes them: the next one and the one in use.
    for (const name of ['0', '1']) fs.writeFileSync(join(directory, 'keys', name), randomBytes(32).toString('base64').replaceAll('+', '-').replaceAll('/', '_'), { mode: 0o600 })
    manage('db_sync')
    shareDatabase(join(directory, 'keystone.db'))
    manage('bootstrap', '--bootstrap-password', KEYSTONE_PASSWORD, '--bootstrap-public-url', url, '--bootstrap-region-id', REGION)
    const output = fs.openSync(join(directory, 'output'), 'a')
    // The kernel ends it with this process, however this one ends.
    child = spawn('setpriv', [
      '--pdeathsig', 'KILL', PYTHON, join(root, 'usr/bin/keystone-wsgi-public'), '--host', '127.0.0.1', '--port', String(port), '--', '--config-file', configuration,
    ], { cwd: directory, env, stdio: ['ignore', output, output] })
    fs.closeSync(output)
    await answers(url, child)
    const admin = await logIn(url, passwordOf('admin'), scopeOf('admin'))
    return {
      url,
      region: REGION,
      adminToken: admin.token,
      call: (method, path, body) => callKeystone(url + path, method, admin.token, body),
      logIn: async (name, projectName) => (await logIn(url, passwordOf(name), projectName === undefined ? 'unscoped' : scopeOf(projectName))).token,
      logInWith: (identity, scope) => logIn(url, identity, scope),
      kill,
      [Symbol.asyncDispose]: stop,
    }
  } catch (error) {
    const seen = fs.globSync(join(directory, '{output,keystone.log}')).map((file) => fs.readFileSync(file, 'utf8').slice(-2000)).join('\n')
    await stop()
    throw new Error(`Keystone does not start.\n${seen}`, { cause: error })
  }
}

/** Its connections come from a pool: one that reads must not keep another from writing. The file remembers it. */
function shareDatabase(path: string): void {
  const database = new DatabaseSync(path)
  database.exec('pragma journal_mode = wal')
  database.close()
}

/** Few rounds of hashing: these passwords guard nothing. */
function configurationIn(directory: string): string {
  return `[DEFAULT]
log_file = ${directory}/keystone.log
[database]
connection = sqlite:///${directory}/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = ${directory}/keys
[fernet_receipts]
key_repository = ${directory}/keys
[identity]
password_hash_rounds = 4
`
}

const DEFAULT_DOMAIN = { id: 'default' }
const passwordOf = (name: string) => ({ methods: ['password'], password: { user: { name, domain: DEFAULT_DOMAIN, password: KEYSTONE_PASSWORD } } })
const scopeOf = (name: string) => ({ project: { name, domain: DEFAULT_DOMAIN } })

async function logIn(url: string, identity: unknown, scope?: unknown): Promise<{ token: string, issuedAtMs: number }> {
  const response = await fetch(`${url}/auth/tokens`, {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ auth: { identity, ...(scope === undefined ? {} : { scope }) } }),
  })
  const token = response.headers.get('x-subject-token')
  const text = await response.text()
  if (response.status !== 201 || token === null) throw new Error(`Keystone answers ${response.status} to a login: ${text}`)
  return { token, issuedAtMs: Date.parse((JSON.parse(text) as { token: { issued_at: string } }).token.issued_at) }
}

async function callKeystone<Body>(url: string, method: string, token: string, body: unknown): Promise<Body> {
  const response = await fetch(url, {
    method, headers: { 'x-auth-token': token, 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`Keystone answers ${response.status} to ${method} ${url}: ${text}`)
  return (text === '' ? undefined : JSON.parse(text)) as Body
}

async function answers(url: string, child: ChildProcess): Promise<void> {
  for (let waitedMs = 0; waitedMs < START_MS_MAX; waitedMs += POLL_MS) {
    if (child.exitCode !== null) throw new Error(`Keystone ended with ${child.exitCode}`)
    const answered = await fetch(url, { signal: AbortSignal.timeout(30_000) }).then((response) => response.ok, () => false)
    if (answered) return
    // It tells nobody when it is ready.
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  throw new Error(`Nothing answers at ${url}.`)
}
