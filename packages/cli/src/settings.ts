/**
 * What `opencbr serve` runs with. Each setting can be given on the command line, in the environment
 * and in a configuration file; the first that has it wins, and the default comes last.
 */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { delimiter, resolve } from 'node:path'
import type { ServerConfig } from '@opencbr/server'
import { openStorage, parseStorageAddress, StorageFailure, storageOptionsFromEnvironment } from '@opencbr/storage'
import { parseDuration } from './command.ts'
import type { Environment } from './connection.ts'
import { CommandFailure } from './exit-codes.ts'
import { readWebhooks } from './webhook-settings.ts'

/** As commander hands them over: only those that were given. */
export interface ServeFlags {
  readonly data?: string
  readonly database?: string
  readonly masterKeyFile?: string
  readonly storage?: string
  readonly listen?: string
  readonly allowPath?: readonly string[]
  readonly region?: string
  readonly strictResources?: boolean
  readonly shareServersOnly?: boolean
  readonly logLevel?: string
  readonly jobsPerAgent?: string
  readonly writersPerVault?: string
  readonly stuckAfter?: string
  readonly serverLease?: string
  readonly pruneGrace?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly trustProxy?: string
  readonly requestTimeout?: string
  readonly listThreads?: string
  readonly webhooks?: string
  readonly identity?: string
  readonly keystoneUrl?: string
  readonly keystoneRoles?: string
  readonly keystoneCache?: string
  readonly keystoneAccessKeys?: boolean
  readonly config?: string
}

export const serveDefaults = {
  data: './data',
  listen: '127.0.0.1:8776',
  region: 'local-1',
  logLevel: 'warn',
} as const

export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const satisfies readonly ServerConfig['logLevel'][]

/** Throws a `CommandFailure` of kind `usage` that names the setting and where it stands. */
export function readServeSettings(flags: ServeFlags, environment: Environment, workingDirectory: string): ServerConfig {
  const file = readConfigFile(flags.config ?? given(environment, 'OPENCBR_CONFIG'), workingDirectory)
  const text = (flag: string | undefined, variable: string, member: string): Setting<string> | undefined =>
    pick(flag, given(environment, variable), variable, file, member, asText)
  const allowPaths = pick(
    flags.allowPath, splitPaths(given(environment, 'OPENCBR_ALLOW_PATH')), 'OPENCBR_ALLOW_PATH',
    file, 'allow_paths', asTexts,
  )
  const strict = pick(
    flags.strictResources, asBoolean(given(environment, 'OPENCBR_STRICT_RESOURCES'), 'OPENCBR_STRICT_RESOURCES'), 'OPENCBR_STRICT_RESOURCES',
    file, 'strict_resources', asBoolean,
  )
  const webhooks = text(flags.webhooks, 'OPENCBR_WEBHOOKS', 'webhooks')
  const masterKeyFile = text(flags.masterKeyFile, 'OPENCBR_MASTER_KEY_FILE', 'master_key_file')?.value
  const serversOnly = pick(
    flags.shareServersOnly, asBoolean(given(environment, 'OPENCBR_SHARE_SERVERS_ONLY'), 'OPENCBR_SHARE_SERVERS_ONLY'), 'OPENCBR_SHARE_SERVERS_ONLY',
    file, 'share_servers_only', asBoolean,
  )
  return {
    dataDir: resolve(workingDirectory, text(flags.data, 'OPENCBR_DATA', 'data')?.value ?? serveDefaults.data),
    database: parseDatabase(text(flags.database, 'OPENCBR_DATABASE', 'database')),
    masterKeyFile: masterKeyFile === undefined ? undefined : resolve(workingDirectory, masterKeyFile),
    ...readStorage(text(flags.storage, 'OPENCBR_STORAGE', 'storage'), environment, workingDirectory),
    listen: parseListen(text(flags.listen, 'OPENCBR_LISTEN', 'listen') ?? { value: serveDefaults.listen, from: 'the default' }),
    region: text(flags.region, 'OPENCBR_REGION', 'region')?.value ?? serveDefaults.region,
    ...readAllowedPaths(allowPaths?.value ?? [], workingDirectory),
    strictResources: strict?.value ?? false,
    ...(serversOnly === undefined ? {} : { shareServersOnly: serversOnly.value }),
    ...readLimits(flags, environment, file),
    ...readPruneGrace(text(flags.pruneGrace, 'OPENCBR_PRUNE_GRACE', 'prune_grace')),
    ...readTls(text(flags.tlsCert, 'OPENCBR_TLS_CERT', 'tls_cert'), text(flags.tlsKey, 'OPENCBR_TLS_KEY', 'tls_key'), workingDirectory),
    ...parseProxies(text(flags.trustProxy, 'OPENCBR_TRUST_PROXY', 'trust_proxy')),
    ...readIdentity(flags, environment, file),
    ...(webhooks === undefined ? {} : { webhooks: readWebhooks(resolve(workingDirectory, webhooks.value), webhooks.from) }),
    logLevel: parseLogLevel(text(flags.logLevel, 'OPENCBR_LOG_LEVEL', 'log_level') ?? { value: serveDefaults.logLevel, from: 'the default' }),
  }
}

const OF_PROJECT = /^([0-9a-f]{32}):(.+)$/s

/** Separated by colons, of which one may follow a project's id. */
function splitPaths(text: string | undefined): string[] | undefined {
  return text?.split(delimiter).reduce<string[]>((paths, part) => {
    const last = paths.at(-1)
    if (last !== undefined && /^[0-9a-f]{32}$/.test(last)) paths[paths.length - 1] = `${last}:${part}`
    else if (part !== '') paths.push(part)
    return paths
  }, [])
}

/** `DIR` for everybody, `PROJECT:DIR` for one project. */
function readAllowedPaths(paths: readonly string[], workingDirectory: string): Pick<ServerConfig, 'allowPaths' | 'projectPaths'> {
  const allowPaths: string[] = []
  const projectPaths: Record<string, string[]> = {}
  for (const path of paths) {
    const [, projectId, directory] = OF_PROJECT.exec(path) ?? []
    if (projectId === undefined || directory === undefined) allowPaths.push(resolve(workingDirectory, path))
    else (projectPaths[projectId] ??= []).push(resolve(workingDirectory, directory))
  }
  return { allowPaths, ...(Object.keys(projectPaths).length === 0 ? {} : { projectPaths }) }
}

function readTls(
  certificate: Setting<string> | undefined, key: Setting<string> | undefined, workingDirectory: string,
): Pick<ServerConfig, 'tls'> {
  if (certificate === undefined && key === undefined) return {}
  if (certificate === undefined || key === undefined) {
    throw new CommandFailure('usage', 'TLS takes both a certificate and its key: give tls_cert and tls_key.')
  }
  return { tls: { certFile: resolve(workingDirectory, certificate.value), keyFile: resolve(workingDirectory, key.value) } }
}

/** `127.0.0.1,10.0.0.0/8`: whoever may pass an address on must be named, since anybody can write the header. */
function parseProxies(setting: Setting<string> | undefined): Pick<ServerConfig, 'trustProxy'> {
  if (setting === undefined) return {}
  const proxies = setting.value.split(',').map((each) => each.trim()).filter((each) => each !== '')
  const wrong = proxies.find((each) => {
    const [address = '', bits] = each.split('/', 2)
    const family = isIP(address)
    return family === 0 || (bits !== undefined && (!/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128)))
  })
  if (wrong === undefined) return { trustProxy: proxies }
  throw new CommandFailure('usage', `The proxy ${wrong} (${setting.from}) is neither an address nor a network such as 10.0.0.0/8.`)
}

/** A directory, or a bucket with the keys that the environment has for it, as the repository commands take them. */
function readStorage(
  setting: Setting<string> | undefined, environment: Environment, workingDirectory: string,
): Pick<ServerConfig, 'storage' | 'storageKeys'> {
  if (setting === undefined) return {}
  const storageKeys = storageOptionsFromEnvironment(environment)
  try {
    const place = parseStorageAddress(setting.value)
    if (place.kind === 'directory') return { storage: resolve(workingDirectory, place.path) }
    openStorage(setting.value, storageKeys)
  } catch (error) {
    if (!(error instanceof StorageFailure)) throw error
    // The address itself stays out of it: what is wrong may be a password in it.
    const reason = error.code === 'storage.forbidden' ? 'its keys are missing: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY' : String(error.facts['reason'])
    throw new CommandFailure('usage', `The storage (${setting.from}) cannot be used: ${reason}.`, { cause: error })
  }
  return { storage: setting.value, storageKeys }
}

function readPruneGrace(setting: Setting<string> | undefined): Pick<ServerConfig, 'pruneGraceMs'> {
  if (setting === undefined) return {}
  const pruneGraceMs = parseDuration(setting.value)
  if (pruneGraceMs === undefined) throw new CommandFailure('usage', `The setting prune_grace (${setting.from}) must be a time such as 24h, 30m or 7d.`)
  return { pruneGraceMs }
}

/** Those that are not given are left to the server. */
function readLimits(
  flags: ServeFlags, environment: Environment, file: ConfigFile | undefined,
): Pick<ServerConfig, 'jobsPerAgent' | 'writersPerVault' | 'stuckAfterSeconds' | 'serverLeaseSeconds' | 'requestSeconds' | 'listThreads'> {
  const count = (flag: string | undefined, variable: string, member: string, least = 1): number | undefined => {
    const setting = pick<unknown>(flag, given(environment, variable), variable, file, member, (value) => value)
    if (setting === undefined) return undefined
    const number = typeof setting.value === 'number' || /^\d{1,9}$/.test(String(setting.value)) ? Number(setting.value) : Number.NaN
    if (Number.isInteger(number) && number >= least) return number
    throw new CommandFailure('usage', `The setting ${member} (${setting.from}) must be a whole number from ${least} on.`)
  }
  const limits = {
    jobsPerAgent: count(flags.jobsPerAgent, 'OPENCBR_JOBS_PER_AGENT', 'jobs_per_agent'),
    writersPerVault: count(flags.writersPerVault, 'OPENCBR_WRITERS_PER_VAULT', 'writers_per_vault'),
    stuckAfterSeconds: count(flags.stuckAfter, 'OPENCBR_STUCK_AFTER', 'stuck_after'),
    serverLeaseSeconds: count(flags.serverLease, 'OPENCBR_SERVER_LEASE', 'server_lease'),
    requestSeconds: count(flags.requestTimeout, 'OPENCBR_REQUEST_TIMEOUT', 'request_timeout'),
    listThreads: count(flags.listThreads, 'OPENCBR_LIST_THREADS', 'list_threads', 0),
  }
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined))
}

export const IDENTITIES = ['own', 'keystone'] as const

/** Where identity lives. Nothing is set for our own. */
function readIdentity(flags: ServeFlags, environment: Environment, file: ConfigFile | undefined): Pick<ServerConfig, 'keystone'> {
  const text = (flag: string | undefined, variable: string, member: string): Setting<string> | undefined =>
    pick(flag, given(environment, variable), variable, file, member, asText)
  const identity = text(flags.identity, 'OPENCBR_IDENTITY', 'identity')
  if (identity !== undefined && !IDENTITIES.some((each) => each === identity.value)) {
    throw new CommandFailure('usage', `The identity ${identity.value} (${identity.from}) is not one of ${IDENTITIES.join(', ')}.`)
  }
  const url = text(flags.keystoneUrl, 'OPENCBR_KEYSTONE_URL', 'keystone_url')
  if (identity?.value !== 'keystone') {
    // Whoever names a Keystone means it to be asked.
    if (url !== undefined && identity === undefined) throw new CommandFailure('usage', `There is a keystone_url (${url.from}), but not identity keystone.`)
    return {}
  }
  if (url === undefined || !/^https?:\/\//.test(url.value) || !URL.canParse(url.value)) {
    throw new CommandFailure('usage', 'With identity keystone the keystone_url (OPENCBR_KEYSTONE_URL) must be given, of the form http://HOST:PORT/v3.')
  }
  if (new URL(url.value).username !== '' || new URL(url.value).password !== '') {
    throw new CommandFailure('usage', `The keystone_url (${url.from}) holds a user: name it by OPENCBR_KEYSTONE_USER and OPENCBR_KEYSTONE_PASSWORD instead.`)
  }
  const name = text(undefined, 'OPENCBR_KEYSTONE_USER', 'keystone_user')
  const password = text(undefined, 'OPENCBR_KEYSTONE_PASSWORD', 'keystone_password')
  if ((name === undefined) !== (password === undefined)) {
    throw new CommandFailure('usage', 'The settings keystone_user and keystone_password (OPENCBR_KEYSTONE_USER, OPENCBR_KEYSTONE_PASSWORD) go together.')
  }
  const user = name === undefined || password === undefined ? undefined : {
    name: name.value,
    password: password.value,
    domainName: text(undefined, 'OPENCBR_KEYSTONE_USER_DOMAIN', 'keystone_user_domain')?.value ?? 'Default',
    projectName: text(undefined, 'OPENCBR_KEYSTONE_PROJECT', 'keystone_project')?.value ?? 'service',
    projectDomainName: text(undefined, 'OPENCBR_KEYSTONE_PROJECT_DOMAIN', 'keystone_project_domain')?.value ?? 'Default',
  }
  const cache = text(flags.keystoneCache, 'OPENCBR_KEYSTONE_CACHE', 'keystone_cache')
  if (cache !== undefined && (!/^\d{1,3}$/.test(cache.value) || Number(cache.value) > 300)) {
    throw new CommandFailure('usage', `The setting keystone_cache (${cache.from}) must be a text with a whole number of seconds up to 300.`)
  }
  const accessKeys = pick(
    flags.keystoneAccessKeys, asBoolean(given(environment, 'OPENCBR_KEYSTONE_ACCESS_KEYS'), 'OPENCBR_KEYSTONE_ACCESS_KEYS'), 'OPENCBR_KEYSTONE_ACCESS_KEYS',
    file, 'keystone_access_keys', asBoolean,
  )
  if (accessKeys?.value === true && user === undefined) {
    throw new CommandFailure('usage', `The setting keystone_access_keys (${accessKeys.from}) needs a keystone_user that reads them (OPENCBR_KEYSTONE_USER).`)
  }
  const roles = text(flags.keystoneRoles, 'OPENCBR_KEYSTONE_ROLES', 'keystone_roles')
  return {
    keystone: {
      url: url.value,
      roles: roles === undefined ? keystoneRoles : parseRoles(roles),
      ...(user === undefined ? {} : { user }),
      ...(cache === undefined ? {} : { cacheSeconds: Number(cache.value) }),
      ...(accessKeys === undefined ? {} : { accessKeys: accessKeys.value }),
    },
  }
}

/** What Keystone's own roles give. */
export const keystoneRoles: Readonly<Record<string, string>> = { admin: 'administrator', member: 'full', reader: 'read_only' }
const ROLES = ['administrator', 'full', 'operator', 'read_only', 'restore_only']

function parseRoles({ value, from }: Setting<string>): Readonly<Record<string, string>> {
  const pairs = value.split(',').map((pair) => pair.split('=').map((part) => part.trim()))
  for (const [theirs = '', ours = '', ...rest] of pairs) {
    if (theirs === '' || rest.length > 0 || !ROLES.includes(ours)) {
      throw new CommandFailure('usage', `The setting keystone_roles (${from}) is not of the form ROLE=OURS,…, where OURS is one of ${ROLES.join(', ')}.`)
    }
  }
  return Object.fromEntries(pairs) as Record<string, string>
}

interface Setting<Value> {
  readonly value: Value
  /** Where it stands, for the message when it is wrong. */
  readonly from: string
}

interface ConfigFile {
  readonly path: string
  readonly members: Readonly<Record<string, unknown>>
}

const MEMBERS = new Set([
  'data', 'database', 'master_key_file', 'storage', 'listen', 'allow_paths', 'region', 'strict_resources', 'share_servers_only', 'log_level',
  'jobs_per_agent', 'writers_per_vault', 'stuck_after', 'server_lease', 'prune_grace', 'tls_cert', 'tls_key', 'trust_proxy', 'request_timeout', 'webhooks', 'list_threads',
  'identity', 'keystone_url', 'keystone_user', 'keystone_password', 'keystone_user_domain', 'keystone_project', 'keystone_project_domain',
  'keystone_roles', 'keystone_cache', 'keystone_access_keys',
])

function readConfigFile(path: string | undefined, workingDirectory: string): ConfigFile | undefined {
  if (path === undefined) return undefined
  let members: unknown
  try {
    members = JSON.parse(readFileSync(resolve(workingDirectory, path), 'utf8'))
  } catch (error) {
    throw new CommandFailure('usage', `The configuration ${path} cannot be read: ${(error as Error).message}`, { cause: error })
  }
  if (typeof members !== 'object' || members === null || Array.isArray(members)) {
    throw new CommandFailure('usage', `The configuration ${path} is not a JSON object.`)
  }
  const unknown = Object.keys(members).find((name) => !MEMBERS.has(name))
  if (unknown !== undefined) {
    throw new CommandFailure('usage', `The configuration ${path} has an unknown member ${unknown}; known are ${[...MEMBERS].join(', ')}.`)
  }
  return { path, members: members as Readonly<Record<string, unknown>> }
}

function pick<Value>(
  flag: Value | undefined, fromEnvironment: Value | undefined, variable: string,
  file: ConfigFile | undefined, member: string, read: (value: unknown, from: string) => Value | undefined,
): Setting<Value> | undefined {
  if (flag !== undefined) return { value: flag, from: 'the command line' }
  if (fromEnvironment !== undefined) return { value: fromEnvironment, from: variable }
  if (file === undefined) return undefined
  const from = `${member} in ${file.path}`
  const value = read(file.members[member], from)
  return value === undefined ? undefined : { value, from }
}

function asText(value: unknown, from: string): string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '')) return value
  throw new CommandFailure('usage', `The setting ${from} must be a text.`)
}

function asTexts(value: unknown, from: string): readonly string[] | undefined {
  if (value === undefined) return undefined
  if (Array.isArray(value) && value.every((each) => typeof each === 'string' && each !== '')) return value as string[]
  throw new CommandFailure('usage', `The setting ${from} must be a list of texts.`)
}

function asBoolean(value: unknown, from: string): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value
  if (value === 'true' || value === '1') return true
  if (value === 'false' || value === '0') return false
  throw new CommandFailure('usage', `The setting ${from} must be true or false.`)
}

function given(environment: Environment, name: string): string | undefined {
  const value = environment[name]
  return value === '' ? undefined : value
}

/** `127.0.0.1:8776`, `[::1]:8776`, `localhost:0` (any free port). */
function parseListen({ value, from }: Setting<string>): ServerConfig['listen'] {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  if (host === undefined || port > 65_535) {
    throw new CommandFailure('usage', `The address ${value} (${from}) is not of the form HOST:PORT, such as ${serveDefaults.listen}.`)
  }
  return { host, port }
}

function parseDatabase(setting: Setting<string> | undefined): string | undefined {
  if (setting === undefined) return undefined
  // Not repeated in the message: it may hold a password.
  if (!/^postgres(?:ql)?:\/\//.test(setting.value) || !URL.canParse(setting.value)) {
    throw new CommandFailure('usage', `The database (${setting.from}) is not of the form postgres://USER:PASSWORD@HOST:PORT/NAME.`)
  }
  return setting.value
}

function parseLogLevel({ value, from }: Setting<string>): ServerConfig['logLevel'] {
  const level = LOG_LEVELS.find((each) => each === value)
  if (level === undefined) throw new CommandFailure('usage', `The log level ${value} (${from}) is not one of ${LOG_LEVELS.join(', ')}.`)
  return level
}
