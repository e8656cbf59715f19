/**
 * A server as an operator runs it, for programs that others wrote: two projects with a user and an access key
 * each, folders to back up, and a runner for the programs. They sign with the time of day, so its clock is real.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pseudoRandomBytes } from './nasty-tree.ts'
import { startServerProcess, type ServerProcess } from './server-process.ts'

/** Whoever acts in one project. The region is the name of the first project, as clients expect. */
export interface ClientProject {
  readonly projectId: string
  readonly projectName: string
  readonly userName: string
  readonly password: string
  readonly accessKey: string
  readonly secretKey: string
}

export interface ClientServer extends AsyncDisposable {
  readonly server: ServerProcess
  readonly region: string
  readonly domainName: string
  readonly first: ClientProject
  readonly second: ClientProject
  /** A folder that is declared in the first project, and the resource's id. */
  readonly source: string
  readonly resourceId: string
  /** A disk image that is declared there, another one to restore it onto, and the ids of both. */
  readonly image: string
  readonly target: string
  readonly imageId: string
  readonly targetId: string
  /** Where the server was started: its data are in ./data. */
  readonly directory: string
  /** A directory for the client's own files and for restores; allowed to the server. */
  readonly work: string
  /** What every program is told, by variables of its environment; nothing of the machine's but PATH. */
  readonly environment: Readonly<Record<string, string>>
}

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const REGION = 'local-1'
const IMAGE_BYTES = 1 << 20

/**
 * Installs a client by `scripts/install-clients.sh`. Returns the directory it is in, or why it cannot be had on this machine.
 * A client that the registry offers and that does not install fails the test.
 */
export function bringClient(name: 'python' | 'openstack' | 'go' | 'node' | 'terraform'): { readonly directory: string } | { readonly unavailable: string } {
  const brought = spawnSync('bash', [join(import.meta.dirname, '../../scripts/install-clients.sh'), name], { encoding: 'utf8' })
  const reason = brought.stderr.trim().split('\n').at(-1) ?? ''
  if (brought.status === 0) return { directory: brought.stdout.trim() }
  if (brought.status === 3) return { unavailable: reason }
  throw new Error(`install-clients.sh ${name} ended with ${brought.status}: ${brought.stderr}`)
}

export async function startClientServer(): Promise<ClientServer> {
  const base = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'opencbr-client-')))
  const [source, work, dataDir] = [join(base, 'root/source'), join(base, 'root/work'), join(base, 'data')]
  const [image, target] = [join(base, 'root/disk.img'), join(base, 'root/target.img')]
  let server: ServerProcess | undefined
  try {
    await fs.mkdir(join(source, 'below'), { recursive: true })
    await fs.mkdir(work)
    await fs.writeFile(join(source, 'letter.txt'), 'Dear all,\n')
    await fs.writeFile(join(source, 'below', 'Übersicht.txt'), 'x'.repeat(300_000))
    await fs.writeFile(image, pseudoRandomBytes(IMAGE_BYTES, 1))
    await fs.writeFile(target, Buffer.alloc(IMAGE_BYTES))
    server = await startServerProcess({ dataDir, allowPaths: [join(base, 'root')], options: ['--region', REGION] })
    const { project_id, domain_name } = JSON.parse(await fs.readFile(join(dataDir, 'bootstrap.json'), 'utf8')) as Record<string, string>
    if (project_id === undefined || domain_name === undefined) throw new Error('bootstrap.json has no project')
    const { project } = await server.steps.send<{ project: { id: string } }>('POST', '/x/v1/projects', { project: { name: 'branch' } }, 201)
    const first = await addUser(server, { id: project_id, name: REGION }, 'eva')
    const second = await addUser(server, { id: project.id, name: 'branch' }, 'otto')
    const resourceId = await server.steps.declare(source)
    const [imageId, targetId] = [await server.steps.declare(image, 'OS::Cinder::Volume'), await server.steps.declare(target, 'OS::Cinder::Volume')]
    const started = server
    return {
      server, region: REGION, domainName: domain_name, first, second, source, resourceId, image, target, imageId, targetId, directory: base, work,
      environment: {
        PATH: process.env['PATH'] ?? '',
        HOME: work,
        OPENCBR_TEST_URL: server.url,
        OPENCBR_TEST_REGION: REGION,
        OPENCBR_TEST_DOMAIN: domain_name,
        ...variablesOf('FIRST', first),
        ...variablesOf('SECOND', second),
        OPENCBR_TEST_RESOURCE_ID: resourceId,
        OPENCBR_TEST_IMAGE_ID: imageId,
        OPENCBR_TEST_TARGET_ID: targetId,
        OPENCBR_TEST_WORK: work,
      },
      async [Symbol.asyncDispose]() {
        await started[Symbol.asyncDispose]()
        await fs.rm(base, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await server?.[Symbol.asyncDispose]()
    await fs.rm(base, { recursive: true, force: true })
    throw error
  }
}

function variablesOf(which: string, of: ClientProject): Record<string, string> {
  return {
    [`OPENCBR_TEST_${which}_PROJECT_ID`]: of.projectId,
    [`OPENCBR_TEST_${which}_PROJECT_NAME`]: of.projectName,
    [`OPENCBR_TEST_${which}_USER`]: of.userName,
    [`OPENCBR_TEST_${which}_PASSWORD`]: of.password,
    [`OPENCBR_TEST_${which}_ACCESS_KEY`]: of.accessKey,
    [`OPENCBR_TEST_${which}_SECRET_KEY`]: of.secretKey,
  }
}

async function addUser(server: ServerProcess, project: { id: string, name: string }, name: string): Promise<ClientProject> {
  const { send } = server.steps
  const password = `${crypto.randomUUID()}:${name}`
  const { user } = await send<{ user: { id: string } }>('POST', '/x/v1/users', { user: { name, password } }, 201)
  await send('POST', '/x/v1/role-assignments', { role_assignment: { role: 'full', user_id: user.id, project_id: project.id } }, 201)
  const { access_key: key } = await send<{ access_key: { access_key: string, secret_key: string } }>(
    'POST', '/x/v1/access-keys', { access_key: { user_id: user.id } }, 201,
  )
  return { projectId: project.id, projectName: project.name, userName: name, password, accessKey: key.access_key, secretKey: key.secret_key }
}

/** The first block in a language of a section of docs/clients.md. */
export async function documentedBlock(section: string, language: string): Promise<string> {
  const page = await fs.readFile(join(import.meta.dirname, '../../docs/clients.md'), 'utf8')
  const found = page.split(/^## /m).find((each) => each.startsWith(`${section}\n`))
  const block = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'm').exec(found ?? '')?.[1]
  assert.ok(block !== undefined, `docs/clients.md has no ${language} in its section ${section}`)
  return block
}

/**
 * Runs a section of docs/clients.md as it stands, where the server was started: its program, if any, in the file that its first line
 * names, and the lines of shell that start it. `path` is searched before the machine's own programs. There is one backup to be found.
 */
export async function runDocumented(
  client: ClientServer, section: string, language: string | undefined, { path = [], environment = {} }: { path?: readonly string[], environment?: Readonly<Record<string, string>> } = {},
): Promise<Ran> {
  const { directory, server: { steps } } = client
  await steps.backUp(await steps.createVault('turbo', [client.resourceId]), { name: 'documented' })
  if (language !== undefined) {
    const program = await documentedBlock(section, language)
    const name = /^(?:#|\/\/) (\S+)\n/.exec(program)?.[1]
    assert.ok(name !== undefined, `the program in ${section} does not begin with the name of its file`)
    await fs.writeFile(join(directory, name), program)
  }
  const PATH = [...path, join(import.meta.dirname, '../../node_modules/.bin'), client.environment['PATH']].join(':')
  const ran = await runProgram(['sh', '-euc', await documentedBlock(section, 'sh')], { HOME: client.work, LANG: 'C.UTF-8', PATH, ...environment }, { directory })
  assert.equal(ran.code, 0, ran.stderr)
  return ran
}

/** Runs a program to its end; one that hangs is killed. */
export function runProgram(
  [program, ...rest]: readonly [string, ...string[]], environment: Readonly<Record<string, string>>,
  { directory, millisecondsMax = 100_000 }: { directory?: string, millisecondsMax?: number } = {},
): Promise<Ran> {
  const child = spawn(program, rest, {
    env: environment, stdio: ['ignore', 'pipe', 'pipe'], timeout: millisecondsMax, killSignal: 'SIGKILL', ...(directory === undefined ? {} : { cwd: directory }),
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  return new Promise((resolve, reject) => child.on('error', reject).on('close', (code) => resolve({ code, stdout, stderr })))
}

/** What a program tells of itself: the ids that the test then asks the server about, in its last line. */
export async function runToReport<Report>(
  command: readonly [string, ...string[]], environment: Readonly<Record<string, string>>, options: { directory?: string } = {},
): Promise<Report> {
  const ran = await runProgram(command, environment, options)
  assert.equal(ran.code, 0, `${command.join(' ')}\n${ran.stdout}\n${ran.stderr}`)
  return JSON.parse(ran.stdout.trim().split('\n').at(-1) ?? '') as Report
}
