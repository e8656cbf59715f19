import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const PROGRAM = join(import.meta.dirname, '../../packages/cli/bin/opencbr')

export interface ServedDirectory extends AsyncDisposable {
  readonly host: string
  readonly port: number
  readonly pid: number
  /** The project of the first start, and the others of its domain. */
  readonly projects: readonly ServedProject[]
}

export interface ServedProject {
  readonly id: string
  readonly token: string
  /** Calls the API and answers the body. Throws when the answer is not 200. */
  readonly get: (target: string) => Promise<string>
}

/** Starts the real server, as an operator does, in a process of its own, and logs in. `options` are those of `opencbr serve`. */
export async function serveDirectory(dataDir: string, options: readonly string[] = []): Promise<ServedDirectory> {
  const server = spawn(PROGRAM, ['serve', '--data', dataDir, '--listen', '127.0.0.1:0', ...options], { stdio: ['ignore', 'inherit', 'pipe'] })
  const ended = new Promise((resolve) => server.once('exit', resolve))
  try {
    const url = await new Promise<URL>((resolve, reject) => {
      server.once('exit', (code) => reject(new Error(`the server ended with ${code}`)))
      createInterface(server.stderr).on('line', (line) => {
        const address = /serves on (\S+);/.exec(line)?.[1]
        if (address === undefined) process.stderr.write(`${line}\n`)
        else resolve(new URL(address))
      })
    })
    return {
      host: url.hostname,
      port: Number(url.port),
      pid: server.pid ?? 0,
      projects: await logInEverywhere(url, dataDir),
      async [Symbol.asyncDispose]() {
        server.kill('SIGTERM')
        await ended
      },
    }
  } catch (error) {
    server.kill('SIGKILL')
    throw error
  }
}

/** Opens every project of the first user's domain. */
export async function logInEverywhere(url: URL, dataDir: string): Promise<ServedProject[]> {
  const bootstrap = JSON.parse(await readFile(join(dataDir, 'bootstrap.json'), 'utf8')) as Record<string, string>
  const first = await openProject(url, bootstrap, bootstrap['project_id'] ?? '')
  const { projects } = JSON.parse(await first.get('/v3/auth/projects')) as { projects: { id: string, domain_id: string }[] }
  const others = projects.filter(({ id, domain_id: domainId }) => id !== first.id && domainId === bootstrap['domain_id'])
  return [first, ...await Promise.all(others.map(({ id }) => openProject(url, bootstrap, id)))]
}

async function openProject(url: URL, bootstrap: Record<string, string>, id: string): Promise<ServedProject> {
  const token = await logIn(url, bootstrap, id)
  return {
    id,
    token,
    async get(target) {
      const answer = await fetch(new URL(target, url), { headers: { 'x-auth-token': token } })
      const body = await answer.text()
      if (answer.status !== 200) throw new Error(`${target}: ${answer.status} ${body}`)
      return body
    },
  }
}

async function logIn(url: URL, bootstrap: Record<string, string>, projectId: string): Promise<string> {
  const answer = await fetch(new URL('/v3/auth/tokens', url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      auth: {
        identity: {
          methods: ['password'],
          password: { user: { name: bootstrap['user_name'], password: bootstrap['password'], domain: { name: bootstrap['domain_name'] } } },
        },
        scope: { project: { id: projectId } },
      },
    }),
  })
  const token = answer.headers.get('x-subject-token')
  if (token === null) throw new Error(`no token: ${answer.status} ${await answer.text()}`)
  return token
}
