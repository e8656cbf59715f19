/** The real service on a data directory of its own, spoken to over real HTTP on loopback. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { allRoutes, bootstrapPath, openService, type Bootstrap, type ServerConfig, type Service, type ServiceOverrides } from '@opencbr/server'
import { checkAnswer } from './check-answer.ts'
import { ManualClock } from './manual-clock.ts'
import { makePostgresDatabase, runsOnPostgres } from './test-database.ts'

export interface TestServiceOptions {
  /** A directory that stays, for tests that start again on it; without one, a temporary one is made and removed. */
  readonly dataDir?: string
  readonly clock?: ManualClock
  readonly config?: Partial<Omit<ServerConfig, 'dataDir'>>
  /** 'none': jobs wait, for tests that look at what comes before they run. */
  readonly agent?: ServiceOverrides['agent']
}

export interface TestAnswer<Body> {
  readonly status: number
  readonly headers: Headers
  /** Undefined for an answer without body. */
  readonly body: Body
}

export interface CallOptions {
  /** Overrides of the usual headers; an empty text leaves one out. */
  readonly headers?: Readonly<Record<string, string>>
}

export interface TestService extends AsyncDisposable {
  readonly service: Service
  readonly clock: ManualClock
  readonly dataDir: string
  readonly url: string
  readonly bootstrap: Bootstrap
  readonly projectId: string
  /** Of the bootstrap user, for its project. */
  readonly token: string
  /**
   * Calls the API with the token. `{project_id}` in the path stands for the project. A body is sent as
   * JSON, a text or bytes as they are. The caller says what shape it expects in the answer; a 5xx, or
   * a form other than the operation declares, fails the call.
   */
  readonly call: <Body = Record<string, unknown>>(
    method: string, path: string, body?: unknown, options?: CallOptions,
  ) => Promise<TestAnswer<Body>>
}

export async function startTestService(options: TestServiceOptions = {}): Promise<TestService> {
  const dataDir = options.dataDir ?? await mkdtemp(join(tmpdir(), 'opencbr-test-'))
  const clock = options.clock ?? new ManualClock()
  // A directory that stays keeps its database too.
  const database = runsOnPostgres() && options.config?.database === undefined ? await makePostgresDatabase(dataDir) : undefined
  const removeData = async (): Promise<void> => {
    if (options.dataDir === undefined) await database?.[Symbol.asyncDispose]()
    if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true })
  }
  let service: Service | undefined
  try {
    service = await openService({
      listen: { host: '127.0.0.1', port: 0 },
      region: 'test-1',
      allowPaths: [],
      strictResources: false,
      logLevel: 'silent',
      database: database?.url,
      ...options.config,
      dataDir,
    }, { clock, agent: options.agent, scheduler: { timer: 'manual' } })
    return await connect(service, { clock, dataDir, removeData })
  } catch (error) {
    await service?.close()
    await removeData()
    throw error
  }
}

async function connect(
  service: Service, { clock, dataDir, removeData }: { clock: ManualClock, dataDir: string, removeData: () => Promise<void> },
): Promise<TestService> {
  const { url } = await service.listen()
  const bootstrap = JSON.parse(await readFile(bootstrapPath({ dataDir }), 'utf8')) as Bootstrap
  const token = await logIn(url, bootstrap)
  const routes = allRoutes(service.deps)
  return {
    service,
    clock,
    dataDir,
    url,
    bootstrap,
    projectId: bootstrap.project_id,
    token,
    async call<Body>(method: string, path: string, body?: unknown, { headers = {} }: CallOptions = {}) {
      const target = path.replaceAll('{project_id}', bootstrap.project_id)
      const answer = await call<Body>(url + target, method, body, { 'x-auth-token': token, ...headers })
      checkAnswer(routes, { method, target, ...answer })
      return answer
    },
    async [Symbol.asyncDispose]() {
      await service.close()
      await removeData()
    },
  }
}

async function logIn(url: string, { user_name: name, password, domain_name, project_id }: Bootstrap): Promise<string> {
  const answer = await call(`${url}/v3/auth/tokens`, 'POST', {
    auth: {
      identity: { methods: ['password'], password: { user: { name, password, domain: { name: domain_name } } } },
      scope: { project: { id: project_id } },
    },
  }, {})
  const token = answer.headers.get('x-subject-token')
  if (answer.status !== 201 || token === null) throw new Error(`The bootstrap user cannot log in: ${answer.status} ${JSON.stringify(answer.body)}`)
  return token
}

async function call<Body>(
  url: string, method: string, body: unknown, headers: Readonly<Record<string, string>>,
): Promise<TestAnswer<Body>> {
  const sent = Object.fromEntries(Object.entries({ 'content-type': 'application/json', ...headers }).filter(([, value]) => value !== ''))
  const raw = body === undefined || typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
  const response = await fetch(url, { method, headers: sent, ...(raw === undefined ? {} : { body: raw as string | Uint8Array<ArrayBuffer> }) })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: (text === '' ? undefined : JSON.parse(text)) as Body }
}
