/** Reads what S3 answers: the few elements of its XML that matter here, and its errors. */
import type { IncomingHttpHeaders } from 'node:http'
import { StorageFailure } from '../storage.ts'
import type { StorageFailureCode } from '../storage.ts'

/** One page of a listing. */
export interface ListedPage {
  readonly objects: readonly { readonly key: string, readonly size: number, readonly modifiedAt: number }[]
  /** Where the next page begins; undefined on the last one. */
  readonly next: string | undefined
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function decodeEntities(text: string): string {
  return text.replace(/&(?:#x([0-9a-fA-F]{1,6})|#(\d{1,7})|([a-z]+));/g, (whole, hex?: string, decimal?: string, name?: string) => {
    if (name !== undefined) return entities[name] ?? whole
    const point = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
    return point <= 0x10_ff_ff ? String.fromCodePoint(point) : whole
  })
}

/** The text of the first element of a name that holds no other elements. */
export function elementOf(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]
  return text === undefined ? undefined : decodeEntities(text)
}

/**
 * Reads a page that was asked for with `encoding-type=url`. An answer that is cut short, or that says
 * there is more but not where, is a failure: taken for the end, it would make files disappear.
 */
export function parseListedPage(xml: string, key: string): ListedPage {
  const isTruncated = elementOf(xml, 'IsTruncated')
  const next = elementOf(xml, 'NextContinuationToken')
  const isWhole = /<\/ListBucketResult>\s*$/.test(xml) && (isTruncated === 'false' || (isTruncated === 'true' && next !== undefined))
  if (!isWhole) throw new StorageFailure('storage.unavailable', { key, reason: 'incomplete listing' })
  const objects = [...xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)].map(([, entry = '']) => {
    const size = elementOf(entry, 'Size') ?? ''
    const object = {
      key: decodeUrl(elementOf(entry, 'Key') ?? ''),
      size: /^\d+$/.test(size) ? Number(size) : Number.NaN,
      modifiedAt: Date.parse(elementOf(entry, 'LastModified') ?? ''),
    }
    if (Number.isSafeInteger(object.size) && Number.isFinite(object.modifiedAt)) return object
    throw new StorageFailure('storage.unavailable', { key, reason: 'unreadable listing' })
  })
  return { objects, next: isTruncated === 'true' ? next : undefined }
}

function decodeUrl(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    // No name of ours has such an escape; it is passed over like every other foreign name.
    return ''
  }
}

/** Answers that ask for patience, whatever status they come with, or that tell of bytes damaged on the way. */
const passing = new Set([
  'SlowDown', 'ServiceUnavailable', 'InternalError', 'Throttling', 'ThrottlingException', 'RequestLimitExceeded', 'BandwidthLimitExceeded',
  'RequestTimeout', 'RequestTimeoutException', 'OperationAborted', 'ConditionalRequestConflict', 'IncompleteBody', 'BadDigest',
  'XAmzContentSHA256Mismatch', 'XAmzContentChecksumMismatch', 'TooManyRequests', 'NoSuchUpload',
])

const misplaced = new Set([
  'NoSuchBucket', 'PermanentRedirect', 'TemporaryRedirect', 'AuthorizationHeaderMalformed', 'InvalidBucketName', 'IllegalLocationConstraintException',
])

const codeOfStatus: Readonly<Record<number, StorageFailureCode>> = {
  404: 'storage.not_found',
  408: 'storage.unavailable',
  409: 'storage.unavailable',
  412: 'storage.exists',
  416: 'storage.out_of_range',
  425: 'storage.unavailable',
  429: 'storage.unavailable',
  507: 'storage.full',
}

function classify(status: number, s3Code: string | undefined): StorageFailureCode {
  if (s3Code !== undefined && passing.has(s3Code)) return 'storage.unavailable'
  if (s3Code !== undefined && misplaced.has(s3Code)) return 'storage.wrong_place'
  if (s3Code === 'PreconditionFailed') return 'storage.exists'
  if (s3Code === 'QuotaExceeded' || s3Code === 'XMinioStorageFull') return 'storage.full'
  const known = codeOfStatus[status]
  if (known !== undefined) return known
  if (status < 400) return 'storage.wrong_place'
  // Nothing but a repair changes what the server understood and refused; 501 is what it cannot do at all.
  return status < 500 || status === 501 ? 'storage.forbidden' : 'storage.unavailable'
}

/**
 * What an answer other than success means. Of its text only the error code is kept: servers repeat
 * access keys, and what they signed, in the rest.
 */
export function failureOf(status: number, headers: IncomingHttpHeaders, body: string, key: string): StorageFailure {
  const s3Code = /<Code>([A-Za-z0-9.]{1,80})<\/Code>/.exec(body)?.[1]
  const region = headers['x-amz-bucket-region']
  const retryAfterSeconds = Number(headers['retry-after'] ?? 'none')
  return new StorageFailure(classify(status, s3Code), {
    key,
    status,
    ...(s3Code === undefined ? {} : { s3Code }),
    ...(typeof region === 'string' ? { region } : {}),
    ...(retryAfterSeconds >= 0 ? { retryAfterMs: retryAfterSeconds * 1000 } : {}),
  })
}
