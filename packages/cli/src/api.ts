/** The API as commands call it: credentials on every request, and answers or a `CommandFailure`. */
import { formatSdkDate, signRequest } from '@opencbr/contract'
import type { Connection, Credentials } from './connection.ts'
import { CommandFailure, type Ending } from './exit-codes.ts'

export type QueryValue = string | readonly string[] | undefined

export interface CallOptions {
  /** A list repeats its key; what is undefined is left out. */
  readonly query?: Readonly<Record<string, QueryValue>>
  readonly body?: unknown
}

export interface Api {
  readonly endpoint: string
  readonly projectId: string
  /**
   * Calls one operation; `{project_id}` in the path stands for the project. Resolves to the answer's
   * body, undefined for 204. The caller says what shape the contract gives it.
   */
  readonly call: <Answer = unknown>(method: string, path: string, options?: CallOptions) => Promise<Answer>
  /** Reads an answer that is no JSON, piece by piece; throws when it breaks off. */
  readonly download: (path: string, query: Readonly<Record<string, QueryValue>>) => Promise<{ readonly headers: Headers, readonly pieces: AsyncIterable<Uint8Array> }>
}

/** A server under load may take long to begin an answer, but not this long. */
const ANSWER_MS_MAX = 120_000

/** Finds out whose project the credentials are for, unless the connection says so. */
export async function openApi(connection: Connection): Promise<Api> {
  const projectId = connection.projectId ?? await findProject(connection)
  return {
    endpoint: connection.endpoint,
    projectId,
    download: (path, query) => download(connection, path.replaceAll('{project_id}', projectId), query),
    call: async <Answer>(method: string, path: string, options?: CallOptions) => {
      const { body } = await send(connection, method, path.replaceAll('{project_id}', projectId), options)
      return body as Answer
    },
  }
}

/** A new token for the user of bootstrap.json; the answer's body describes it. */
export async function createToken(connection: Connection): Promise<{ token: string, body: unknown }> {
  const { login, projectId } = connection
  if (login === undefined) {
    throw new CommandFailure('usage', 'A token needs the password in bootstrap.json: name the data directory with --data DIR.')
  }
  const { headers, body } = await send({ endpoint: connection.endpoint, credentials: undefined }, 'POST', '/v3/auth/tokens', {
    body: {
      auth: {
        identity: {
          methods: ['password'],
          password: { user: { name: login.userName, password: login.password, domain: { name: login.domainName } } },
        },
        scope: { project: { id: projectId } },
      },
    },
  })
  const token = headers.get('x-subject-token')
  if (token === null) throw new CommandFailure('failure', 'The server made a token but did not send it.')
  return { token, body }
}

async function findProject(connection: Connection): Promise<string> {
  if (connection.credentials.kind === 'token') {
    const { body } = await send(connection, 'GET', '/v3/auth/tokens', undefined, { 'x-subject-token': connection.credentials.token })
    const { token } = body as { token: { project?: { id: string } } }
    if (token.project !== undefined) return token.project.id
    throw new CommandFailure('usage', 'OPENCBR_TOKEN is not for a project. Use another one, or set OPENCBR_PROJECT_ID.')
  }
  const { body } = await send(connection, 'GET', '/v3/projects')
  const { projects } = body as { projects: readonly { id: string }[] }
  const [only, ...more] = projects
  if (only !== undefined && more.length === 0) return only.id
  throw new CommandFailure('usage', `The access key is good for ${projects.length} projects: set OPENCBR_PROJECT_ID to one of them.`)
}

interface Answered {
  readonly headers: Headers
  readonly body: unknown
}

async function send(
  to: { readonly endpoint: string, readonly credentials: Credentials | undefined }, method: string, path: string,
  { query = {}, body }: CallOptions = {}, extraHeaders: Readonly<Record<string, string>> = {},
): Promise<Answered> {
  const url = makeUrl(to.endpoint, path, query)
  const sent = body === undefined ? '' : JSON.stringify(body)
  const headers = { ...extraHeaders, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }
  let response: Response
  let text: string
  try {
    response = await fetch(url, {
      method,
      headers: { ...headers, ...authorize(to.credentials, { method, url, headers, body: sent }) },
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
      ...(body === undefined ? {} : { body: sent }),
    })
    text = await response.text()
  } catch (error) {
    throw new CommandFailure('unreachable', `The server at ${to.endpoint} cannot be reached: ${reasonOf(error)}. Is it running?`, { cause: error })
  }
  const answer = parseAnswer(text)
  if (!response.ok) throw refusal(response, answer)
  return { headers: response.headers, body: answer }
}

async function download(
  { endpoint, credentials }: Connection, path: string, query: Readonly<Record<string, QueryValue>>,
): Promise<{ headers: Headers, pieces: AsyncIterable<Uint8Array> }> {
  const url = makeUrl(endpoint, path, query)
  let response: Response
  try {
    response = await fetch(url, { headers: authorize(credentials, { method: 'GET', url, headers: {}, body: '' }) })
  } catch (error) {
    throw new CommandFailure('unreachable', `The server at ${endpoint} cannot be reached: ${reasonOf(error)}. Is it running?`, { cause: error })
  }
  if (!response.ok) throw refusal(response, parseAnswer(await response.text()))
  return { headers: response.headers, pieces: readPieces(response) }
}

async function* readPieces({ body }: Response): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of body ?? []) yield piece
  } catch (error) {
    throw new CommandFailure('failure', `The answer broke off: ${reasonOf(error)}.`, { cause: error })
  }
}

function makeUrl(endpoint: string, path: string, query: Readonly<Record<string, QueryValue>>): URL {
  let url: URL
  try {
    url = new URL(endpoint + path)
  } catch (error) {
    throw new CommandFailure('usage', `${endpoint} is not the address of a server, such as http://127.0.0.1:8776.`, { cause: error })
  }
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue
    for (const each of typeof value === 'string' ? [value] : value) url.searchParams.append(name, each)
  }
  return url
}

function authorize(
  credentials: Credentials | undefined,
  request: { method: string, url: URL, headers: Readonly<Record<string, string>>, body: string },
): Record<string, string> {
  if (credentials === undefined) return {}
  if (credentials.kind === 'token') return { 'x-auth-token': credentials.token }
  const signed = { ...request.headers, host: request.url.host, 'x-sdk-date': formatSdkDate(Date.now()) }
  const authorization = signRequest({
    method: request.method,
    target: request.url.pathname + request.url.search,
    headers: signed,
    body: Buffer.from(request.body),
  }, credentials)
  return { 'x-sdk-date': signed['x-sdk-date'], authorization }
}

function parseAnswer(text: string): unknown {
  if (text === '') return undefined
  try {
    return JSON.parse(text) as unknown
  } catch {
    // A proxy in between answers in its own way; what it says is still the best explanation.
    return text
  }
}

function refusal(response: Response, answer: unknown): CommandFailure {
  const ending: Ending = response.status === 404 ? 'notFound' : response.status >= 500 ? 'failure' : 'refused'
  const requestId = response.headers.get('x-request-id')
  const what = explain(answer) ?? `the server answered ${response.status} ${response.statusText}`
  return new CommandFailure(ending, requestId === null ? what : `${what} (request ${requestId})`, { answer })
}

/** The code and the text of an error, in the service's form or in Keystone's. */
function explain(answer: unknown): string | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined
  const { error_code: code, error_msg: text, error } = answer as { error_code?: unknown, error_msg?: unknown, error?: { message?: unknown } }
  if (typeof code === 'string' && typeof text === 'string') return `${code}: ${text}`
  return typeof error?.message === 'string' ? error.message : undefined
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause ?? error : error
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code
  return cause instanceof Error ? cause.message : String(cause)
}
