/**
 * Carries signed requests to an S3 server over kept connections, with one bucket as its whole world.
 * It repeats nothing: repeating is the business of one layer above.
 *
 * Node's HTTP client is used directly instead of `fetch`, because a request's parts then go to the
 * socket as they are, with a length known beforehand, and an answer lands in memory of the caller's choice.
 */
import { createHash } from 'node:crypto'
import type * as http from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { StorageFailure } from '../storage.ts'
import { failureOf } from './s3-answers.ts'
import { canonicalQuery, encodeStrictly, signRequest } from './sign-request.ts'
import type { RequestToSign, S3Credentials } from './sign-request.ts'

export interface S3ClientOptions extends S3Credentials {
  /** Scheme, host and port, such as `https://s3.example.org`. */
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
  /** Whether the bucket is the first part of the path; otherwise it is the first part of the host. */
  readonly pathStyle: boolean
  readonly connectionsMax: number
  /** How long a connection may stay silent, in milliseconds, also while it is being made. */
  readonly idleMsMax: number
  /** Authorities to trust instead of the usual ones, as PEM. */
  readonly certificates: string | undefined
  /** Milliseconds since 1970. Servers refuse requests whose time is more than 15 minutes off. */
  readonly now: () => number
}

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** The whole key in the bucket; empty for the bucket itself. */
  readonly key: string
  readonly query?: RequestToSign['query']
  /** Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: readonly Uint8Array[]
  /** Checks the head of a successful answer, and provides the memory that its body is read into. */
  readonly receive?: ((answer: Omit<S3Answer, 'body'>, length: number) => Uint8Array) | undefined
  readonly signal?: AbortSignal | undefined
}

export interface S3Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Uint8Array
}

export interface S3Client {
  /** Resolves with a success. Every other answer, and none at all, throws a `StorageFailure`. */
  send(request: S3Request): Promise<S3Answer>
}

const EMPTY_HASH = createHash('sha256').digest('hex')

/** More than a listing's page of a thousand long names, the largest answer that is not a file. */
const TEXT_BYTES_MAX = 8 << 20

/** Hashing goes on in another turn of the event loop after this much. */
const HASH_BYTES_PER_TURN = 4 << 20

/** Hashes parts as one text, letting others run in between. */
export async function digestOf(algorithm: 'md5' | 'sha256', parts: readonly Uint8Array[]): Promise<Buffer> {
  const hash = createHash(algorithm)
  let bytesOfTurn = 0
  for (const part of parts) {
    for (let at = 0; at < part.length; at += HASH_BYTES_PER_TURN) {
      const piece = part.subarray(at, at + HASH_BYTES_PER_TURN)
      hash.update(piece)
      bytesOfTurn += piece.length
      if (bytesOfTurn < HASH_BYTES_PER_TURN) continue
      bytesOfTurn = 0
      await nextTurn()
    }
  }
  return hash.digest()
}

function lengthOf(message: http.IncomingMessage): number | undefined {
  const length = Number(message.headers['content-length'] ?? 'none')
  return Number.isSafeInteger(length) && length >= 0 ? length : undefined
}

async function readText(message: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of message as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > TEXT_BYTES_MAX) throw new Error('the answer is longer than any that was asked for')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}

async function readInto(message: http.IncomingMessage, bytes: Uint8Array): Promise<Uint8Array> {
  let length = 0
  for await (const chunk of message as AsyncIterable<Buffer>) {
    bytes.set(chunk, length)
    length += chunk.length
  }
  if (length !== bytes.length) throw new Error('the answer is cut short')
  return bytes
}

async function receive(message: http.IncomingMessage, request: S3Request): Promise<S3Answer> {
  const { statusCode: status = 0, headers } = message
  if (status < 200 || status > 299) {
    throw failureOf(status, headers, (await readText(message)).toString(), request.key)
  }
  const length = lengthOf(message)
  if (request.receive === undefined || request.method === 'HEAD') return { status, headers, body: await readText(message) }
  if (length === undefined) throw new Error('the answer does not say how long it is')
  return { status, headers, body: await readInto(message, request.receive({ status, headers }, length)) }
}

export function s3Client(options: S3ClientOptions): S3Client {
  const endpoint = new URL(options.endpoint)
  const isSecure = endpoint.protocol === 'https:'
  const agentOptions = { keepAlive: true, maxSockets: options.connectionsMax, maxFreeSockets: options.connectionsMax }
  const trusted = options.certificates === undefined ? {} : { ca: options.certificates }
  // Imported, they would be loaded by those too who never call a server; `node:http` would bring all of Node's other HTTP client with it.
  const { Agent, request: start } = process.getBuiltinModule(isSecure ? 'node:https' : 'node:http')
  const agent = new Agent({ ...agentOptions, ...(isSecure ? trusted : {}) })
  const host = options.pathStyle ? endpoint.host : `${options.bucket}.${endpoint.host}`
  const hostname = (options.pathStyle ? endpoint.hostname : `${options.bucket}.${endpoint.hostname}`).replace(/^\[(.*)\]$/, '$1')

  function pathOf(key: string): string {
    const below = key.split('/').map(encodeStrictly).join('/')
    return options.pathStyle ? `/${encodeStrictly(options.bucket)}${below === '' ? '' : `/${below}`}` : `/${below}`
  }

  async function signedHeadersOf({ method, key, query = [], headers = {}, body = [] }: S3Request): Promise<Record<string, string>> {
    const length = body.reduce((bytes, part) => bytes + part.length, 0)
    const hasBody = method === 'PUT' || method === 'POST'
    // TLS and Content-MD5 protect a body already; without TLS the signature has to.
    let payloadHash = isSecure ? 'UNSIGNED-PAYLOAD' : (await digestOf('sha256', body)).toString('hex')
    if (length === 0) payloadHash = EMPTY_HASH
    const unsigned = { ...headers, host, ...(hasBody ? { 'content-length': String(length) } : {}) }
    return signRequest({ method, path: pathOf(key), query, headers: unsigned, payloadHash }, options, {
      region: options.region,
      at: new Date(options.now()),
    })
  }

  function exchange(request: S3Request, headers: Record<string, string>): Promise<http.IncomingMessage> {
    const { method, key, query = [], body = [], signal } = request
    const search = query.length === 0 ? '' : `?${canonicalQuery(query)}`
    return new Promise((resolve, reject) => {
      const outgoing = start({
        agent, hostname, port: endpoint.port, method, path: pathOf(key) + search,
        headers: { ...headers, 'accept-encoding': 'identity' }, timeout: options.idleMsMax, ...(signal === undefined ? {} : { signal }),
      })
      outgoing.on('timeout', () => {
        outgoing.destroy(Object.assign(new Error('the connection was silent for too long'), { code: 'ETIMEDOUT' }))
      })
      outgoing.once('response', resolve)
      // After an answer this is no news: what it means for the body, reading the body tells.
      outgoing.on('error', reject)
      outgoing.cork()
      for (const part of body) if (part.length > 0) outgoing.write(part)
      outgoing.uncork()
      outgoing.end()
    })
  }

  return {
    async send(request) {
      const { signal, key } = request
      signal?.throwIfAborted()
      let message: http.IncomingMessage | undefined
      try {
        message = await exchange(request, await signedHeadersOf(request))
        return await receive(message, request)
      } catch (error) {
        // A connection in the middle of an answer cannot be used again.
        message?.destroy()
        signal?.throwIfAborted()
        if (error instanceof StorageFailure) throw error
        const systemCode = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
        throw new StorageFailure('storage.unavailable', { key, ...(systemCode === undefined ? {} : { systemCode }) }, { cause: error })
      }
    },
  }
}
