/**
 * Files as objects of an S3 bucket.
 *
 * Write once: `If-None-Match: *` makes a put fail when the name is taken. Not every server knows it,
 * and some pass over it in silence, so the first small put asks once more for the same bytes: the
 * refusal of the second proves that the server keeps the promise. Until then, and for ever where it
 * does not, a look before each put takes its place. That look and the put are two steps, so two
 * processes may both win there; files named by their content do not mind, and locks have random names.
 * The same holds for files so large that they go up in parts.
 *
 * Nothing is believed of a put: each body goes with its MD5, which the server checks, and the server's
 * ETag is compared afterwards. Where the ETag is no MD5 (encrypted buckets), the size is asked for. Of what
 * is read only the lengths are checked here; whoever knows the format checks the bytes.
 */
import assert from 'node:assert/strict'
import type { IncomingHttpHeaders } from 'node:http'
import { isStorageKey, StorageFailure } from '../storage.ts'
import type { Storage, StorageFailureCode, StoredFile } from '../storage.ts'
import { elementOf, failureOf, parseListedPage } from './s3-answers.ts'
import { digestOf, s3Client } from './s3-client.ts'
import type { S3Answer, S3Client, S3Request } from './s3-client.ts'
import type { S3Credentials } from './sign-request.ts'

export interface S3StorageOptions extends S3Credentials {
  /** Scheme, host and port, such as `https://s3.example.org`. */
  readonly endpoint: string
  readonly bucket: string
  /** The folder in the bucket that holds all files; the bucket itself when empty. */
  readonly prefix?: string | undefined
  readonly region?: string | undefined
  /** Whether the bucket stands in the path instead of the host name; so it does except at Amazon, unless told otherwise. */
  readonly pathStyle?: boolean | undefined
  readonly connectionsMax?: number | undefined
  /** How long a connection may stay silent before the call fails, in milliseconds. */
  readonly idleMsMax?: number | undefined
  /** Certificates of the authorities to trust instead of the usual ones, as PEM: for servers with certificates of one's own making. */
  readonly certificates?: string | undefined
  /** Files of this size and larger go up in parts. */
  readonly multipartBytesMin?: number | undefined
  /** Servers want at least 5 MiB, and at most 10,000 parts. */
  readonly partBytes?: number | undefined
  /** The time that requests are signed with, in milliseconds since 1970. */
  readonly now?: (() => number) | undefined
}

const DEFAULT_REGION = 'us-east-1'
const CONNECTIONS_MAX = 16
const IDLE_MS_MAX = 60_000
const MULTIPART_BYTES_MIN = 200 << 20
const PART_BYTES = 64 << 20
const PARTS_MAX = 10_000

/** The put that tries the server out is made twice, so it should be a small one. */
const TRIAL_BYTES_MAX = 64 << 10

const isFailure = (error: unknown, code: StorageFailureCode): error is StorageFailure =>
  error instanceof StorageFailure && error.code === code

const cannotDo = (error: unknown): boolean => error instanceof StorageFailure && error.facts['status'] === 501

/** The characters that an ETag is made of, without its quotes; nothing else of it goes into a request. */
const unquoted = (etag: string | undefined): string => (etag ?? '').replace(/[^\w.-]/g, '')

/** Whether an ETag is the MD5 of the bytes: it looks the same but is none where the server encrypts with other than its own keys. */
function isDigest(etag: string | undefined, headers: IncomingHttpHeaders): boolean {
  const encryption = headers['x-amz-server-side-encryption'] ?? 'AES256'
  const isPlain = encryption === 'AES256' && headers['x-amz-server-side-encryption-customer-algorithm'] === undefined
  return isPlain && /^[0-9a-f]{32}(?:-\d+)?$/.test(unquoted(etag))
}

const sizeOf = (parts: readonly Uint8Array[]): number => parts.reduce((bytes, part) => bytes + part.length, 0)

/** The parts cut anew into portions of a given size, the last one smaller; no byte is copied. */
function* portionsOf(parts: readonly Uint8Array[], bytesEach: number): Generator<Uint8Array[]> {
  let portion: Uint8Array[] = []
  let free = bytesEach
  for (const part of parts) {
    for (let at = 0; at < part.length;) {
      const piece = part.subarray(at, at + free)
      portion.push(piece)
      at += piece.length
      free -= piece.length
      if (free > 0) continue
      yield portion
      portion = []
      free = bytesEach
    }
  }
  if (portion.length > 0) yield portion
}

function clientOf(options: S3StorageOptions): S3Client {
  const endpoint = URL.parse(options.endpoint)
  const isEndpoint = endpoint !== null && /^https?:$/.test(endpoint.protocol) && endpoint.pathname === '/' && endpoint.search === ''
  // An address with a password in it would end up in every message that names the place.
  if (!isEndpoint || endpoint.username !== '' || endpoint.password !== '' || !/^[\w.-]{1,255}$/.test(options.bucket)) {
    throw new StorageFailure('storage.wrong_place', { bucket: options.bucket })
  }
  return s3Client({
    endpoint: endpoint.origin,
    bucket: options.bucket,
    region: options.region ?? DEFAULT_REGION,
    pathStyle: options.pathStyle ?? !/(?:^|\.)amazonaws\.com(?:\.cn)?$/.test(endpoint.hostname),
    accessKey: options.accessKey,
    secretKey: options.secretKey,
    sessionToken: options.sessionToken,
    connectionsMax: options.connectionsMax ?? CONNECTIONS_MAX,
    idleMsMax: options.idleMsMax ?? IDLE_MS_MAX,
    certificates: options.certificates,
    now: options.now ?? Date.now,
  })
}

/** Makes the bucket; one that these credentials own already is fine. Throws `storage.forbidden`, `storage.exists`, … */
export async function createS3Bucket(options: S3StorageOptions): Promise<void> {
  const region = options.region ?? DEFAULT_REGION
  const constraint = `<CreateBucketConfiguration><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`
  try {
    await clientOf(options).send({ method: 'PUT', key: '', body: region === DEFAULT_REGION ? [] : [Buffer.from(constraint)] })
  } catch (error) {
    const s3Code = error instanceof StorageFailure ? error.facts['s3Code'] : undefined
    if (s3Code === 'BucketAlreadyExists') throw new StorageFailure('storage.exists', { bucket: options.bucket }, { cause: error })
    if (s3Code !== 'BucketAlreadyOwnedByYou') throw error
  }
}

/** Throws `storage.wrong_place` when the endpoint or the bucket cannot be one. Nothing is sent before the first call. */
export function s3Storage(options: S3StorageOptions): Storage {
  const client = clientOf(options)
  const folder = (options.prefix ?? '').replace(/^\/+|\/+$/g, '')
  const prefix = folder === '' ? '' : `${folder}/`
  const multipartBytesMin = options.multipartBytesMin ?? MULTIPART_BYTES_MIN
  const partBytes = options.partBytes ?? PART_BYTES
  let conditionalPuts: 'untried' | 'being tried' | 'kept' | 'not kept' = 'untried'

  /** Sends a request about a file, and names the file in a failure as the caller does. */
  async function send(key: string, request: Omit<S3Request, 'key'>): Promise<S3Answer> {
    assert(isStorageKey(key), `not a storage key: ${key}`)
    try {
      return await client.send({ ...request, key: prefix + key })
    } catch (error) {
      throw error instanceof StorageFailure ? new StorageFailure(error.code, { ...error.facts, key }, { cause: error.cause }) : error
    }
  }

  async function statFile(key: string, signal: AbortSignal | undefined): Promise<StoredFile> {
    const { headers } = await send(key, { method: 'HEAD', signal })
    const size = Number(headers['content-length'] ?? 'none')
    const modifiedAt = Date.parse(headers['last-modified'] ?? '')
    if (Number.isSafeInteger(size) && Number.isFinite(modifiedAt)) return { key, size, modifiedAt }
    throw new StorageFailure('storage.unavailable', { key, reason: 'no size or time in the answer' })
  }

  async function refuseExisting(key: string, signal: AbortSignal | undefined): Promise<void> {
    try {
      await statFile(key, signal)
    } catch (error) {
      if (isFailure(error, 'storage.not_found')) return
      throw error
    }
    throw new StorageFailure('storage.exists', { key })
  }

  /** Compares what the server says it has with what it was given, and takes a wrong file away again. */
  async function verify(
    key: string, stored: { readonly etag: string | undefined, readonly headers: IncomingHttpHeaders }, expectedEtag: string, size: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (isDigest(stored.etag, stored.headers) ? unquoted(stored.etag) === expectedEtag : (await statFile(key, signal)).size === size) return
    await send(key, { method: 'DELETE' }).catch(() => {
      // The failure to report is the wrong file, and it stays the same whether it could be removed or not.
    })
    throw new StorageFailure('storage.unavailable', { key, reason: 'the server stored other bytes' })
  }

  async function putOnce(key: string, parts: readonly Uint8Array[], md5: Buffer, isConditional: boolean, signal: AbortSignal | undefined) {
    return send(key, {
      method: 'PUT',
      headers: {
        'content-md5': md5.toString('base64'),
        'content-type': 'application/octet-stream',
        ...(isConditional ? { 'if-none-match': '*' } : {}),
      },
      body: parts,
      signal,
    })
  }

  async function putWhole(key: string, parts: readonly Uint8Array[], size: number, signal: AbortSignal | undefined): Promise<void> {
    const md5 = await digestOf('md5', parts)
    if (conditionalPuts !== 'kept') await refuseExisting(key, signal)
    let answer: S3Answer
    try {
      answer = await putOnce(key, parts, md5, conditionalPuts !== 'not kept', signal)
    } catch (error) {
      if (!cannotDo(error) || conditionalPuts === 'not kept') throw error
      conditionalPuts = 'not kept'
      answer = await putOnce(key, parts, md5, false, signal)
    }
    await verify(key, { etag: answer.headers.etag, headers: answer.headers }, md5.toString('hex'), size, signal)
    if (conditionalPuts === 'untried' && size <= TRIAL_BYTES_MAX) await tryConditionalPut(key, parts, md5)
  }

  /** Puts a file that was just put once more: a server that keeps the promise refuses. */
  async function tryConditionalPut(key: string, parts: readonly Uint8Array[], md5: Buffer): Promise<void> {
    conditionalPuts = 'being tried'
    try {
      await putOnce(key, parts, md5, true, undefined)
      conditionalPuts = 'not kept'
    } catch (error) {
      // The file is stored, so no failure of the trial concerns the caller; another put tries again.
      conditionalPuts = isFailure(error, 'storage.exists') ? 'kept' : 'untried'
    }
  }

  async function putInParts(key: string, parts: readonly Uint8Array[], size: number, signal: AbortSignal | undefined): Promise<void> {
    await refuseExisting(key, signal)
    const started = await send(key, { method: 'POST', query: [['uploads', '']], signal })
    const uploadId = elementOf(Buffer.from(started.body).toString(), 'UploadId')
    if (uploadId === undefined) throw new StorageFailure('storage.unavailable', { key, reason: 'no upload id in the answer' })
    try {
      const digests: Buffer[] = []
      const etags: string[] = []
      for (const portion of portionsOf(parts, Math.max(partBytes, Math.ceil(size / PARTS_MAX)))) {
        const md5 = await digestOf('md5', portion)
        const query = [['partNumber', String(digests.length + 1)], ['uploadId', uploadId]] as const
        const { headers } = await send(key, { method: 'PUT', query, headers: { 'content-md5': md5.toString('base64') }, body: portion, signal })
        if (isDigest(headers.etag, headers) && unquoted(headers.etag) !== md5.toString('hex')) {
          throw new StorageFailure('storage.unavailable', { key, reason: 'the server stored other bytes' })
        }
        digests.push(md5)
        etags.push(unquoted(headers.etag))
      }
      await refuseExisting(key, signal)
      const listed = etags.map((etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>"${etag}"</ETag></Part>`)
      const body = [Buffer.from(`<CompleteMultipartUpload>${listed.join('')}</CompleteMultipartUpload>`)]
      const headers: Record<string, string> = conditionalPuts === 'kept' ? { 'if-none-match': '*' } : {}
      const { headers: answered, body: answer } = await send(key, { method: 'POST', query: [['uploadId', uploadId]], headers, body, signal })
      const text = Buffer.from(answer).toString()
      // A server that keeps the connection alive while it puts the parts together says so before it knows the outcome.
      if (/<Error[\s>]/.test(text)) throw failureOf(400, answered, text, key)
      const digest = await digestOf('md5', digests)
      await verify(key, { etag: elementOf(text, 'ETag'), headers: answered }, `${digest.toString('hex')}-${digests.length}`, size, signal)
    } catch (error) {
      await send(key, { method: 'DELETE', query: [['uploadId', uploadId]] }).catch(() => {
        // Parts of an upload show in no listing of files; the bucket's owner can have them expire.
      })
      throw error
    }
  }

  return {
    location: `s3:${new URL(options.endpoint).origin}/${options.bucket}/${folder}`,

    async put(key, parts, { signal } = {}) {
      assert(isStorageKey(key), `not a storage key: ${key}`)
      signal?.throwIfAborted()
      const size = sizeOf(parts)
      await (size < multipartBytesMin ? putWhole : putInParts)(key, parts, size, signal)
    },

    async get(key, { range, allocate, signal } = {}) {
      if (range?.length === 0) {
        // HTTP has no range without bytes.
        const { size } = await statFile(key, signal)
        if (range.offset > size) throw new StorageFailure('storage.out_of_range', { key, ...range, size })
        return allocate?.(0) ?? new Uint8Array(0)
      }
      const { body } = await send(key, {
        method: 'GET',
        ...(range === undefined ? {} : { headers: { range: `bytes=${range.offset}-${range.offset + range.length - 1}` } }),
        receive({ status, headers }, length) {
          if (range !== undefined) {
            const [, from, size] = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers['content-range'] ?? '') ?? []
            if (status !== 206 || Number(from) !== range.offset) {
              throw new StorageFailure('storage.unavailable', { key, reason: 'another range than was asked for' })
            }
            if (range.offset + range.length > Number(size)) throw new StorageFailure('storage.out_of_range', { key, ...range, size: Number(size) })
            if (length !== range.length) throw new StorageFailure('storage.unavailable', { key, reason: 'the answer is cut short' })
          }
          return allocate?.(length) ?? new Uint8Array(length)
        },
        signal,
      })
      return body
    },

    stat: (key, { signal } = {}) => statFile(key, signal),

    async *list(below, { signal } = {}) {
      assert(below === '' || below.endsWith('/'), `not a storage prefix: ${below}`)
      let next: string | undefined
      do {
        const query: [string, string][] = [['list-type', '2'], ['encoding-type', 'url'], ['prefix', prefix + below]]
        if (next !== undefined) query.push(['continuation-token', next])
        const { body } = await client.send({ method: 'GET', key: '', query, signal })
        const page = parseListedPage(Buffer.from(body).toString(), below)
        for (const { key, size, modifiedAt } of page.objects) {
          const name = key.slice(prefix.length)
          if (key.startsWith(prefix + below) && isStorageKey(name)) yield { key: name, size, modifiedAt }
        }
        next = page.next
      } while (next !== undefined)
    },

    async delete(key, { signal } = {}) {
      try {
        await send(key, { method: 'DELETE', signal })
      } catch (error) {
        if (!isFailure(error, 'storage.not_found')) throw error
      }
    },
  }
}
