/**
 * Where the server is and who we are there. An answer given on the command line wins over the
 * environment, and that over the default:
 *
 * 1. `--data DIR`: the `bootstrap.json` that the server wrote into its data directory;
 * 2. `OPENCBR_ENDPOINT` with `OPENCBR_TOKEN`, or with `OPENCBR_ACCESS_KEY` and `OPENCBR_SECRET_KEY`;
 * 3. `OPENCBR_DATA`, or `./data` if it is there.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { CommandFailure } from './exit-codes.ts'

export type Credentials =
  | { readonly kind: 'token', readonly token: string }
  | { readonly kind: 'key', readonly accessKey: string, readonly secretKey: string }

export interface PasswordLogin {
  readonly userName: string
  readonly domainName: string
  readonly password: string
}

export interface Connection {
  /** Without a slash at its end: `http://127.0.0.1:8776`. */
  readonly endpoint: string
  readonly credentials: Credentials
  /** Unknown where only credentials were given; the server knows which project is theirs. */
  readonly projectId: string | undefined
  /** With what a token can be made; only bootstrap.json has it. */
  readonly login: PasswordLogin | undefined
}

export type Environment = Readonly<Record<string, string | undefined>>

/** Throws a `CommandFailure` that says what is missing. */
export function findConnection(dataOption: string | undefined, environment: Environment, workingDirectory: string): Connection {
  if (dataOption !== undefined) return readBootstrap(resolve(workingDirectory, dataOption))
  const endpoint = read(environment, 'OPENCBR_ENDPOINT')
  if (endpoint !== undefined) return readEnvironment(endpoint, environment)
  const data = read(environment, 'OPENCBR_DATA')
  if (data !== undefined) return readBootstrap(resolve(workingDirectory, data))
  const usual = resolve(workingDirectory, 'data')
  if (existsSync(join(usual, 'bootstrap.json'))) return readBootstrap(usual)
  throw new CommandFailure('usage', 'No server is named. Give --data DIR, the data directory of a server on this machine, or set '
    + 'OPENCBR_ENDPOINT together with OPENCBR_TOKEN or with OPENCBR_ACCESS_KEY and OPENCBR_SECRET_KEY.')
}

function readEnvironment(endpoint: string, environment: Environment): Connection {
  const token = read(environment, 'OPENCBR_TOKEN')
  const accessKey = read(environment, 'OPENCBR_ACCESS_KEY')
  const secretKey = read(environment, 'OPENCBR_SECRET_KEY')
  let credentials: Credentials
  if (token !== undefined) credentials = { kind: 'token', token }
  else if (accessKey !== undefined && secretKey !== undefined) credentials = { kind: 'key', accessKey, secretKey }
  else {
    throw new CommandFailure('usage', 'OPENCBR_ENDPOINT is set, but no credentials are: set OPENCBR_TOKEN, or both OPENCBR_ACCESS_KEY '
      + 'and OPENCBR_SECRET_KEY.')
  }
  return { endpoint: withoutSlash(endpoint), credentials, projectId: read(environment, 'OPENCBR_PROJECT_ID'), login: undefined }
}

function readBootstrap(dataDir: string): Connection {
  const path = join(dataDir, 'bootstrap.json')
  let content: Readonly<Record<string, unknown>>
  try {
    content = JSON.parse(readFileSync(path, 'utf8')) as Readonly<Record<string, unknown>>
  } catch (error) {
    throw new CommandFailure('usage', `${path} cannot be read (${(error as Error).message}). A server writes it when it starts: `
      + `opencbr serve --data ${dataDir}`, { cause: error })
  }
  const member = (name: string): string => {
    const value = content[name]
    if (typeof value !== 'string' || value === '') {
      throw new CommandFailure('usage', `${path} has no ${name}. A server completes the file when it has started.`)
    }
    return value
  }
  return {
    endpoint: withoutSlash(member('endpoint')),
    credentials: { kind: 'key', accessKey: member('access_key'), secretKey: member('secret_key') },
    projectId: member('project_id'),
    login: { userName: member('user_name'), domainName: member('domain_name'), password: member('password') },
  }
}

function read(environment: Environment, name: string): string | undefined {
  const value = environment[name]
  return value === '' ? undefined : value
}

function withoutSlash(endpoint: string): string {
  return endpoint.replace(/\/+$/, '')
}
