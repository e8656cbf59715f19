/**
 * Finds the storage that an address names:
 *
 * - `/var/backups/x`, `x/y`, `file:///var/backups/x`: a directory of this machine;
 * - `s3:https://host:port/bucket/prefix`, `s3:http://…`, `s3:host/bucket/prefix`: restic's way to write it;
 * - `s3://host/bucket/prefix`: the same over TLS, where the host has a dot or a port or is `localhost`;
 * - `s3://bucket/prefix`: a bucket at the endpoint of the options, or else at Amazon.
 */
import { fileURLToPath } from 'node:url'
import { localStorage } from './local-storage.ts'
import { s3Storage } from './s3/s3-storage.ts'
import { StorageFailure } from './storage.ts'
import type { Storage } from './storage.ts'
import { withRetry } from './with-retry.ts'
import type { RetryOptions } from './with-retry.ts'

/** Who one is for a bucket, and where buckets are that say nothing of it themselves. */
export interface StorageKeys {
  readonly accessKey?: string | undefined
  readonly secretKey?: string | undefined
  /** Goes with temporary keys. */
  readonly sessionToken?: string | undefined
  readonly region?: string | undefined
  /** Used where an address names none, such as `https://s3.example.org`. */
  readonly endpoint?: string | undefined
}

export interface OpenStorageOptions extends StorageKeys {
  readonly pathStyle?: boolean | undefined
  readonly connectionsMax?: number | undefined
  /** Certificates of the authorities to trust instead of the usual ones, as PEM. */
  readonly certificates?: string | undefined
  readonly retry?: RetryOptions | undefined
  /** For directories: see `localStorage`. */
  readonly keepsReserve?: boolean | undefined
}

export type StorageAddress =
  | { readonly kind: 'directory', readonly path: string }
  | {
    readonly kind: 's3'
    /** Scheme, host and port; undefined where the address names none. */
    readonly endpoint: string | undefined
    readonly bucket: string
    /** Without slashes around it; empty for the whole bucket. */
    readonly prefix: string
  }

/** The variables that restic and Amazon's tools read, for use as options. */
export function storageOptionsFromEnvironment(environment: Readonly<Record<string, string | undefined>>): StorageKeys {
  const read = (...names: string[]) => names.map((name) => environment[name]).find((value) => value !== undefined && value !== '')
  return {
    accessKey: read('AWS_ACCESS_KEY_ID'),
    secretKey: read('AWS_SECRET_ACCESS_KEY'),
    sessionToken: read('AWS_SESSION_TOKEN'),
    region: read('AWS_REGION', 'AWS_DEFAULT_REGION'),
    endpoint: read('AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL'),
  }
}

/** A name or an address, and a port; a user and a password before them are not let through. */
const hostPattern = /^(?:\[[\da-f:.]+\]|[\w.-]+)(?::\d+)?$/i

const isHost = (text: string): boolean => text === 'localhost' || text.includes('.') || text.includes(':')

/** Throws `storage.wrong_place` for an address that names no place; one with a password in it is none. */
export function parseStorageAddress(address: string): StorageAddress {
  if (address.startsWith('file:')) {
    const url = URL.parse(address)
    if (url === null || url.host !== '') throw new StorageFailure('storage.wrong_place', { reason: 'a file address names another machine' })
    return { kind: 'directory', path: fileURLToPath(url) }
  }
  const [, double, scheme, rest] = /^s3:(?:(\/\/)|(https?:\/\/))?(.*)$/s.exec(address) ?? []
  if (rest === undefined) {
    if (address === '' || /^[a-z][a-z0-9+.-]*:\/\//i.test(address)) throw new StorageFailure('storage.wrong_place', { reason: 'an unknown kind of address' })
    return { kind: 'directory', path: address }
  }
  const parts = rest.split('/').filter((part) => part !== '')
  const namesHost = double === undefined || (parts.length > 1 && isHost(parts[0] ?? ''))
  const host = namesHost ? parts.shift() : undefined
  const [bucket, ...folders] = parts
  const endpoint = host !== undefined && hostPattern.test(host) ? URL.parse(`${scheme ?? 'https://'}${host}`) : undefined
  const isWhole = bucket !== undefined && /^[\w.-]+$/.test(bucket) && folders.every((folder) => /^(?!\.{1,2}$)[^?#\0]+$/.test(folder))
  // The address stays out of the failure: what is wrong with it may be a password in it.
  if (!isWhole || endpoint === null || (namesHost && endpoint === undefined)) {
    throw new StorageFailure('storage.wrong_place', { reason: 'an s3 address names a host, a bucket and a folder' })
  }
  return { kind: 's3', endpoint: endpoint?.origin, bucket, prefix: folders.join('/') }
}

const endpointOf = (place: { readonly endpoint: string | undefined }, { endpoint, region }: StorageKeys): string =>
  place.endpoint ?? endpoint ?? `https://s3.${region ?? 'us-east-1'}.amazonaws.com`

/** An address as restic's own programs take it. */
export function resticAddress(address: string, keys: StorageKeys = {}): string {
  const place = parseStorageAddress(address)
  if (place.kind === 'directory') return place.path
  return `s3:${new URL(endpointOf(place, keys)).origin}/${[place.bucket, place.prefix].filter((part) => part !== '').join('/')}`
}

/**
 * The storage at an address, with retries where a network lies between. Nothing is read or written
 * yet. Throws `storage.wrong_place`, or `storage.forbidden` when the keys for a bucket are missing.
 */
export function openStorage(address: string, options: OpenStorageOptions = {}): Storage {
  const place = parseStorageAddress(address)
  if (place.kind === 'directory') return localStorage(place.path, { keepsReserve: options.keepsReserve })
  const { accessKey, secretKey, region, retry, keepsReserve: _directoriesOnly, ...rest } = options
  if (accessKey === undefined || secretKey === undefined) {
    throw new StorageFailure('storage.forbidden', { bucket: place.bucket, reason: 'no access key or no secret key is given' })
  }
  const endpoint = endpointOf(place, options)
  return withRetry(s3Storage({ ...rest, region, accessKey, secretKey, endpoint, bucket: place.bucket, prefix: place.prefix }), retry)
}
