/** The service as an operator runs it: a process of its own, spoken to over HTTP, ended by signals. */
import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stepsOf, type Caller, type Steps } from './backup-service.ts'

export interface ServerProcess extends AsyncDisposable {
  readonly url: string
  readonly pid: number
  readonly steps: Steps
  readonly call: Caller['call']
  /** Process ids of the agents that run now; none while there has been nothing to do. */
  readonly agentPids: () => number[]
  readonly signal: (signal: NodeJS.Signals) => void
  /** Resolves when the process has ended: its exit code, or the signal that killed it. */
  readonly ended: Promise<number | NodeJS.Signals>
  /** What it wrote to its standard error so far. */
  readonly errorOutput: () => string
}

export interface ServerProcessOptions {
  readonly dataDir: string
  readonly allowPaths: readonly string[]
  /** A command line that the server's own is appended to, such as one that limits it. */
  readonly wrapper?: readonly string[]
  /** More of the command line. */
  readonly options?: readonly string[]
  /** The data directory whose bootstrap.json has the credentials: that of the server that used the catalogue first. */
  readonly firstDataDir?: string
}

const CLI = join(import.meta.dirname, '../../packages/cli/src/main.ts')
const START_MS = 30_000

export async function startServerProcess(
  { dataDir, allowPaths, wrapper = [], options = [], firstDataDir = dataDir }: ServerProcessOptions,
): Promise<ServerProcess> {
  const [program, ...rest] = [
    ...wrapper, process.execPath, '--disable-warning=ExperimentalWarning', CLI, 'serve', '--data', dataDir, '--listen', '127.0.0.1:0', '--log-level', 'error',
    ...allowPaths.flatMap((path) => ['--allow-path', path]), ...options,
  ]
  if (program === undefined) throw new TypeError('there is no program to start')
  const { PATH, HOME } = process.env
  const child = spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH, HOME } })
  let errorOutput = ''
  const ended = new Promise<number | NodeJS.Signals>((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal ?? 0)))
  try {
    const url = await addressOf(child, (text) => {
      errorOutput += text
    })
    const { pid } = child
    if (pid === undefined) throw new Error('the server has no process id')
    const call = await logIn(url, firstDataDir)
    return {
      url,
      pid,
      call,
      steps: stepsOf({ call }),
      agentPids: () => childrenOf(pid),
      signal: (signal) => void child.kill(signal),
      ended,
      errorOutput: () => errorOutput,
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL')
        await ended
      },
    }
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
}

function addressOf(child: ChildProcess, keep: (text: string) => void): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let text = ''
  const timer = setTimeout(() => reject(new Error(`the server did not start: ${text}`)), START_MS)
  child.stderr?.setEncoding('utf8').on('data', (part: string) => {
    text += part
    keep(part)
    const url = /serves on (http:\S+?);/.exec(text)?.[1]
    if (url !== undefined) resolve(url)
  })
  child.on('error', reject)
  child.on('exit', (code) => reject(new Error(`the server ended with ${code}: ${text}`)))
  return promise.finally(() => clearTimeout(timer))
}

async function logIn(url: string, dataDir: string): Promise<Caller['call']> {
  const bootstrap = JSON.parse(readFileSync(join(dataDir, 'bootstrap.json'), 'utf8')) as Record<'user_name' | 'password' | 'domain_name' | 'project_id', string>
  const answer = await fetch(`${url}/v3/auth/tokens`, {
    method: 'POST',
    body: JSON.stringify({
      auth: {
        identity: {
          methods: ['password'],
          password: { user: { name: bootstrap.user_name, password: bootstrap.password, domain: { name: bootstrap.domain_name } } },
        },
        scope: { project: { id: bootstrap.project_id } },
      },
    }),
  })
  const token = answer.headers.get('x-subject-token')
  await answer.text()
  if (token === null) throw new Error(`no token: ${answer.status}`)
  return async <Body>(method: string, path: string, body?: unknown) => {
    const response = await fetch(url + path.replaceAll('{project_id}', bootstrap.project_id), {
      method,
      headers: { 'x-auth-token': token, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as Body }
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter((each) => each !== '').map(Number)
  } catch {
    return []
  }
}
