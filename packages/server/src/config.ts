import { join } from 'node:path'
import type { StorageKeys } from '@opencbr/storage'

/** An outside Keystone whose tokens are taken. */
export interface KeystoneConfig {
  /** `http://keystone:5000/v3`, as clients write it; the last part may be missing. */
  readonly url: string
  /** Who asks about tokens of others. Without it each token is used to ask about itself. */
  readonly user?: {
    readonly name: string
    readonly password: string
    readonly domainName: string
    readonly projectName: string
    readonly projectDomainName: string
  } | undefined
  /** Names of Keystone's roles, and which built-in role each gives in the token's project. */
  readonly roles: Readonly<Record<string, string>>
  /** For how long what Keystone says of a token is remembered; 60 by default. */
  readonly cacheSeconds?: number | undefined
  /** Its EC2 credentials sign calls here. The user must be there, and then reads every secret of Keystone. */
  readonly accessKeys?: boolean | undefined
}

/** Who is told of events, as the operator says. */
export interface WebhookReceiver {
  /** `https://…`, or `http://…` where nobody listens in. */
  readonly url: string
  /** `whsec_` and base64, as Standard Webhooks writes it; known to the receiver. */
  readonly secret: string
  /** Kinds of events; all of them when absent. */
  readonly events?: readonly string[] | undefined
}

export interface ServerConfig {
  /** Absolute. Holds the catalogue, bootstrap.json, the master key and, by default, the vaults; no two servers share one. */
  readonly dataDir: string
  /** `postgres://…`: the catalogue lies there, where several servers may share it, instead of in the data directory. */
  readonly database?: string | undefined
  /** Absolute. Where the master key is, when not in the data directory: servers that share a catalogue share its key. */
  readonly masterKeyFile?: string | undefined
  /**
   * Where vaults lie, when not in the data directory: an absolute directory, or `s3:…` for a bucket. Servers that
   * share a catalogue share it.
   */
  readonly storage?: string | undefined
  /** What the bucket asks for; only the server's agents are told. */
  readonly storageKeys?: StorageKeys | undefined
  readonly listen: { readonly host: string, readonly port: number }
  /** Files in PEM: the certificate with those above it, and its key. Without them the server speaks plain HTTP. */
  readonly tls?: { readonly certFile: string, readonly keyFile: string } | undefined
  /** Addresses and networks (10.0.0.0/8) of proxies whose X-Forwarded-For, -Proto and -Host are believed. */
  readonly trustProxy?: readonly string[] | undefined
  /** Threads that put long lists together, when the catalogue is SQLite's. With none, which is what is meant here by default, whoever calls meanwhile waits. */
  readonly listThreads?: number | undefined
  /** How long a client may take to send a request; 60 by default. */
  readonly requestSeconds?: number | undefined
  readonly region: string
  /** Absolute directories inside which resources may be declared and restores may write; none by default. */
  readonly allowPaths: readonly string[]
  /** More of them, for single projects by their ids. */
  readonly projectPaths?: Readonly<Record<string, readonly string[]>> | undefined
  /** Refuse to associate a resource that no agent offers, instead of failing its backup. */
  readonly strictResources: boolean
  /** Share backups of servers only, as the cloud's reference says; else of every kind. */
  readonly shareServersOnly?: boolean | undefined
  /** Jobs that an agent works on at a time. */
  readonly jobsPerAgent?: number | undefined
  /** Backups that run in one vault at a time. */
  readonly writersPerVault?: number | undefined
  /** A job that shows no sign of going on for so long is given up. */
  readonly stuckAfterSeconds?: number | undefined
  /** How long a server that shares its catalogue may be silent before the others take its jobs over; 30 by default. */
  readonly serverLeaseSeconds?: number | undefined
  /** Identity lives there: its tokens are taken, and no others are made. */
  readonly keystone?: KeystoneConfig | undefined
  /** How long data that no backup needs any more stays in its vault before its space is given back, in milliseconds; 0 by default. */
  readonly pruneGraceMs?: number | undefined
  /** Told of events; servers that share a catalogue have the same ones. */
  readonly webhooks?: readonly WebhookReceiver[] | undefined
  readonly logLevel: 'silent' | 'error' | 'warn' | 'info' | 'debug'
}

export function databasePath(config: Pick<ServerConfig, 'dataDir'>): string {
  return join(config.dataDir, 'catalogue.db')
}

/** What `openDatabase` takes: a URL of PostgreSQL, or the path of SQLite's file. */
export function databaseLocation(config: Pick<ServerConfig, 'dataDir' | 'database'>): string {
  return config.database ?? databasePath(config)
}

export function masterKeyPath(config: Pick<ServerConfig, 'dataDir' | 'masterKeyFile'>): string {
  return config.masterKeyFile ?? join(config.dataDir, 'master.key')
}

/** Where vaults lie: `<storage>/<project_id>/<vault_id>/`, in an absolute directory or below the address of a bucket. */
export function storageOf(config: Pick<ServerConfig, 'dataDir' | 'storage'>): string {
  return config.storage ?? join(config.dataDir, 'vaults')
}

/** What is neither backed up nor restored to: the service's own. */
export function ownPaths(config: Pick<ServerConfig, 'dataDir' | 'storage'>): readonly string[] {
  const storage = storageOf(config)
  return storage.startsWith('/') ? [config.dataDir, storage] : [config.dataDir]
}

/** Where the resources of a project, and its restores, may lie. */
export function pathRulesOf(
  config: Pick<ServerConfig, 'dataDir' | 'storage' | 'allowPaths' | 'projectPaths'>, projectId: string,
): { readonly allowedRoots: readonly string[], readonly forbiddenPaths: readonly string[] } {
  return { allowedRoots: [...config.allowPaths, ...config.projectPaths?.[projectId] ?? []], forbiddenPaths: ownPaths(config) }
}
