/**
 * `npm run demo [-- PATH] [--keep]`: backs up a real folder through the API, restores it elsewhere,
 * and compares the two, on a server that is started for this and thrown away afterwards.
 *
 * Prints every step with its call and how long it took. Ends with code 0 only if what came back is
 * what was there, byte for byte and attribute for attribute. With `--keep` the server goes on running.
 */
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, chmodSync, constants, existsSync, globSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Backup, Checkpoint, OperationLog } from '@opencbr/contract'
import { quoteForShell } from '../packages/cli/src/shell.ts'
import { compareTrees } from '../test/support/compare-trees.ts'

/** What the demonstration cannot go on with, in words for its user. */
class DemoFailure extends Error {
  override name = 'DemoFailure'
}

interface Bootstrap {
  readonly endpoint: string
  readonly domain_name: string
  readonly project_id: string
  readonly user_name: string
  readonly password: string
}

interface Answer<Body> {
  readonly status: number
  readonly body: Body
  readonly headers: Headers
}

const root = join(import.meta.dirname, '..')
const START_MS_MAX = 60_000
const STOP_MS_MAX = 20_000
const POLL_MS = 100

let stepCount = 0

/** Runs one step, and prints what it did, the calls it made and how long it took. */
async function step<Result>(title: string, run: (note: (line: string) => void) => Promise<Result>): Promise<Result> {
  stepCount += 1
  const lines: string[] = []
  const startedAt = performance.now()
  try {
    return await run((line) => lines.push(line))
  } finally {
    clearProgress()
    const ms = performance.now() - startedAt
    const time = ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`
    console.log(`\n${`${stepCount}. ${title}`.padEnd(64)}${time.padStart(10)}`)
    for (const line of lines) console.log(`   ${line}`)
  }
}

function showProgress(text: string): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\u001B[2K   ${text}`)
}

function clearProgress(): void {
  if (process.stdout.isTTY) process.stdout.write('\r\u001B[2K')
}

/** The API as this script uses it, with a token; notes every call that changes something or is asked to. */
class Client {
  readonly #endpoint: string
  readonly #projectId: string
  #token: string | undefined

  constructor(endpoint: string, projectId: string) {
    this.#endpoint = endpoint
    this.#projectId = projectId
  }

  async logIn(bootstrap: Bootstrap, note: (line: string) => void): Promise<void> {
    const user = { name: bootstrap.user_name, password: bootstrap.password, domain: { name: bootstrap.domain_name } }
    const answer = await this.call<unknown>('POST', '/v3/auth/tokens', {
      body: { auth: { identity: { methods: ['password'], password: { user } }, scope: { project: { id: bootstrap.project_id } } } },
    })
    this.#token = answer.headers.get('x-subject-token') ?? undefined
    if (this.#token === undefined) throw new DemoFailure('The server sent no token.')
    note(`POST /v3/auth/tokens → ${answer.status}, the token in X-Subject-Token`)
  }

  /** `{project_id}` in the path stands for the project. Throws unless the server says yes. */
  async call<Body>(method: string, path: string, { body, note }: { body?: unknown, note?: (line: string) => void } = {}): Promise<Answer<Body>> {
    const target = path.replaceAll('{project_id}', this.#projectId)
    const response = await fetch(this.#endpoint + target, {
      method,
      headers: { 'content-type': 'application/json', ...(this.#token === undefined ? {} : { 'x-auth-token': this.#token }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new DemoFailure(`${method} ${target} was answered ${response.status}: ${text}`)
    note?.(`${method} ${target}${body === undefined ? '' : ` ${JSON.stringify(body)}`} → ${response.status}`)
    return { status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as Body, headers: response.headers }
  }

  /** Asks for a task until it has ended; throws unless it ended well. */
  async waitForTask(id: string, note: (line: string) => void): Promise<void> {
    const path = `/v3/{project_id}/operation-logs/${id}`
    for (let asked = 1; ; asked += 1) {
      const { operation_log: task } = (await this.call<{ operation_log: OperationLog }>('GET', path)).body
      showProgress(`${task.operation_type}: ${task.status} ${task.extra_info.common.progress} %`)
      if (task.status === 'waiting' || task.status === 'running') {
        await delay(POLL_MS)
        continue
      }
      note(`GET ${path.replace('{project_id}', this.#projectId)}, asked ${asked} times → ${task.status}`)
      if (task.status === 'success') return
      throw new DemoFailure(`The task ended as ${task.status}: ${task.error_info.code} ${task.error_info.message}`)
    }
  }
}

interface Server {
  readonly pid: number
  readonly bootstrap: Bootstrap
  /** Asks it to stop and waits until it has. */
  readonly stop: () => Promise<void>
}

/** Starts a server in a process of its own, which outlives this one if nobody stops it. */
async function startServer(work: string, allowPaths: readonly string[], note: (line: string) => void): Promise<Server> {
  const data = join(work, 'data')
  const log = join(work, 'server.log')
  const args = ['serve', '--data', data, '--listen', '127.0.0.1:0', ...allowPaths.flatMap((path) => ['--allow-path', path])]
  note(`opencbr ${args.join(' ')}`)
  const descriptor = openSync(log, 'w')
  const child = spawn(
    process.execPath, ['--disable-warning=ExperimentalWarning', join(root, 'packages/cli/src/main.ts'), ...args],
    { detached: true, stdio: ['ignore', descriptor, descriptor] },
  )
  const { pid } = child
  if (pid === undefined) throw new DemoFailure('The server cannot be started.')
  const ended = new Promise<void>((done) => {
    child.once('exit', () => done())
  })
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
    await ended
    clearTimeout(late)
  }
  const giveUpAt = performance.now() + START_MS_MAX
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new DemoFailure(`The server did not start:\n${readFileSync(log, 'utf8')}`)
    }
    const bootstrap = await findReadyServer(join(data, 'bootstrap.json'))
    if (bootstrap !== undefined) {
      note(`GET ${bootstrap.endpoint}/healthz → 200`)
      child.unref()
      return { pid, bootstrap, stop }
    }
    if (performance.now() > giveUpAt) {
      await stop()
      throw new DemoFailure(`The server was not ready after ${START_MS_MAX / 1000} s:\n${readFileSync(log, 'utf8')}`)
    }
    await delay(POLL_MS)
  }
}

/** What bootstrap.json says, once it names an address at which a server is ready. */
async function findReadyServer(path: string): Promise<Bootstrap | undefined> {
  if (!existsSync(path)) return undefined
  const bootstrap = JSON.parse(readFileSync(path, 'utf8')) as Bootstrap
  if (bootstrap.endpoint === '') return undefined
  try {
    return (await fetch(`${bootstrap.endpoint}/healthz`)).ok ? bootstrap : undefined
  } catch {
    return undefined
  }
}

/** Everything from the first call to the comparison. Returns what stock restic needs to open the vault. */
async function demonstrate(server: Server, source: string, destination: string): Promise<{ repository: string, password: string }> {
  const client = new Client(server.bootstrap.endpoint, server.bootstrap.project_id)
  await step('Log in', (note) => client.logIn(server.bootstrap, note))

  const resource = await step('Declare the folder as a resource', async (note) => {
    const body = { resource: { type: 'OS::Sfs::Turbo', name: 'demo', path: source } }
    return (await client.call<{ resource: { id: string } }>('POST', '/x/v1/{project_id}/resources', { body, note })).body.resource
  })

  const vault = await step('Create a vault that protects it', async (note) => {
    const body = {
      vault: {
        name: 'demo',
        billing: { object_type: 'turbo', protect_type: 'backup', consistent_level: 'crash_consistent', size: 100 },
        resources: [{ id: resource.id, type: 'OS::Sfs::Turbo', name: 'demo' }],
      },
    }
    return (await client.call<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', { body, note })).body.vault
  })

  await step('Back it up', async (note) => {
    const body = { checkpoint: { vault_id: vault.id, parameters: { name: 'demo-backup' } } }
    const { checkpoint } = (await client.call<{ checkpoint: Checkpoint }>('POST', '/v3/{project_id}/checkpoints', { body, note })).body
    const tasks = await client.call<{ operation_logs: OperationLog[] }>('GET', `/v3/{project_id}/operation-logs?vault_id=${vault.id}&operation_type=backup`, { note })
    const task = tasks.body.operation_logs.find((each) => each.checkpoint_id === checkpoint.id)
    if (task === undefined) throw new DemoFailure('The backup has no task.')
    await client.waitForTask(task.id, note)
  })

  const backup = await step('List the backups', async (note) => {
    const path = `/v3/{project_id}/backups?vault_id=${vault.id}&status=available&sort=created_at:desc`
    const { backups, count } = (await client.call<{ backups: Backup[], count: number }>('GET', path, { note })).body
    note(`count: ${count}`)
    for (const { id, name, status, resource_name, created_at } of backups) note(`${id}  ${name}  ${status}  ${resource_name}  ${created_at}`)
    const [newest] = backups
    if (newest === undefined) throw new DemoFailure('The listing does not show the backup.')
    return newest
  })

  await step('Restore it to another folder', async (note) => {
    const body = { restore: { details: { destination_path: destination } } }
    const { job_id } = (await client.call<{ job_id: string }>('POST', `/v3/{project_id}/backups/${backup.id}/restore`, { body, note })).body
    await client.waitForTask(job_id, note)
  })

  await step('Compare the two folders', async (note) => {
    note(`${source} and ${destination}: names, contents, links, modes, owners, times, attributes`)
    const differences = compareTrees(source, destination)
    if (differences.length === 0) {
      note('identical')
      return
    }
    for (const difference of differences.slice(0, 20)) note(difference)
    throw new DemoFailure(`What came back is not what was there: ${differences.length} differences.`)
  })

  return step('Ask for what stock restic needs to open the vault', async (note) => {
    const path = `/x/v1/{project_id}/vaults/${vault.id}/recovery-kit`
    const { recovery_kit: kit } = (await client.call<{ recovery_kit: { repository: string, password: string } }>('GET', path, { note })).body
    return kit
  })
}

/** A restic of this machine, else the newest that the tests have brought. */
function findRestic(): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(':').map((folder) => join(folder, 'restic'))
  const brought = globSync(join(root, '.cache/restic/*/restic')).sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  return [...onPath, ...brought].find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Opens the vault with a program that knows nothing of this project. */
async function openWithRestic(binary: string, kit: { repository: string, password: string }, work: string): Promise<void> {
  for (const command of ['snapshots', 'check']) {
    await step(`Open the vault with stock restic: restic ${command}`, async (note) => {
      const run = spawnSync(binary, [command], {
        encoding: 'utf8',
        env: { ...process.env, RESTIC_REPOSITORY: kit.repository, RESTIC_PASSWORD: kit.password, RESTIC_CACHE_DIR: join(work, 'restic-cache') },
      })
      for (const line of `${run.stdout}${run.stderr}`.trim().split('\n')) note(line)
      if (run.status !== 0) throw new DemoFailure(`restic ${command} ended with code ${run.status}.`)
    })
  }
}

function printRecovery(kit: { repository: string, password: string }): void {
  console.log('\nThe vault is a restic repository. With these, the stock program opens it, without this service:\n')
  console.log(`   export RESTIC_REPOSITORY=${quoteForShell(kit.repository)}`)
  console.log(`   export RESTIC_PASSWORD=${quoteForShell(kit.password)}`)
  console.log('   restic snapshots')
  console.log('   restic check --read-data')
  console.log('   restic restore latest --target /tmp/restored')
}

function printHowToGoOn(server: Server, work: string): void {
  const cli = relative(process.env['INIT_CWD'] ?? process.cwd(), join(root, 'node_modules/.bin/opencbr'))
  console.log(`\nThe server goes on running at ${server.bootstrap.endpoint} (process ${server.pid}, log ${join(work, 'server.log')}).`)
  console.log(`   ${cli.startsWith('.') ? cli : `./${cli}`} backup list --data ${join(work, 'data')}`)
  console.log(`To end it:  kill ${server.pid}   and then, to remove everything:  rm -rf ${work}`)
}

/** Removes a tree. Who is not root cannot remove what lies in directories that were restored as not writable. */
function removeTree(path: string): void {
  const openUp = (directory: string): void => {
    chmodSync(directory, 0o700)
    for (const entry of readdirSync(directory, { withFileTypes: true })) if (entry.isDirectory()) openUp(join(directory, entry.name))
  }
  openUp(path)
  rmSync(path, { recursive: true, force: true })
}

/** Undefined when the command line is not understood. */
function readArguments(): { path: string | undefined, keep: boolean } | undefined {
  try {
    const { values, positionals } = parseArgs({ options: { keep: { type: 'boolean' } }, allowPositionals: true })
    return positionals.length > 1 ? undefined : { path: positionals[0], keep: values.keep === true }
  } catch {
    return undefined
  }
}

async function main(): Promise<number> {
  const asked = readArguments()
  if (asked === undefined) {
    console.error('Usage: npm run demo [-- [PATH] [--keep]]\nBacks up the folder PATH (default: packages), restores it elsewhere and compares the two.')
    return 2
  }
  // npm changes into the checkout before it starts us; a relative path counts from where the user is.
  const given = asked.path === undefined ? join(root, 'packages') : resolve(process.env['INIT_CWD'] ?? process.cwd(), asked.path)
  if (!existsSync(given) || !statSync(given).isDirectory()) throw new DemoFailure(`${given} is not a folder.`)
  const source = realpathSync(given)

  // The real path, as the server compares paths without links in them.
  const work = realpathSync(mkdtempSync(join(tmpdir(), 'opencbr-demo-')))
  const destination = join(work, 'restored')
  mkdirSync(destination)
  let server: Server | undefined
  let kept = false
  const cleanUp = async (): Promise<void> => {
    if (kept) return
    await server?.stop()
    removeTree(work)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void cleanUp().finally(() => process.exit(1)))
  }
  try {
    console.log(`Backs up ${source}, restores it to another folder, and compares the two.`)
    server = await step('Start a throwaway server', (note) => startServer(work, [source, destination], note))
    const kit = await demonstrate(server, source, destination)
    const restic = findRestic()
    if (restic !== undefined) await openWithRestic(restic, kit, work)
    printRecovery(kit)
    kept = asked.keep
    if (kept) printHowToGoOn(server, work)
    else {
      console.log('\nThat was a throwaway server: it stops now, and its data goes. With --keep both stay.')
      if (restic === undefined) console.log('There is no restic on this machine to show it with.')
    }
    return 0
  } finally {
    await cleanUp()
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  console.error(error instanceof DemoFailure ? `\n${error.message}` : error)
  process.exitCode = 1
}
