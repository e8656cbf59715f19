/** Signs requests with AWS Signature Version 4, which every S3 server understands. */
import { createHash, createHmac } from 'node:crypto'

export interface S3Credentials {
  readonly accessKey: string
  readonly secretKey: string
  /** Goes with temporary keys. */
  readonly sessionToken?: string | undefined
}

export interface RequestToSign {
  readonly method: string
  /** The path as it goes on the wire, without a query. */
  readonly path: string
  readonly query: readonly (readonly [name: string, value: string])[]
  /** Lower-case names; all of them are signed. */
  readonly headers: Readonly<Record<string, string>>
  /** SHA-256 of the body in hexadecimal digits, or `UNSIGNED-PAYLOAD`. */
  readonly payloadHash: string
}

export interface SigningScope {
  readonly region: string
  readonly at: Date
}

const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/** Percent-encodes as the signature wants it: everything but letters, digits and four marks. */
export function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** The query as it goes on the wire, in the order in which it is signed. */
export function canonicalQuery(query: RequestToSign['query']): string {
  return query
    .map(([name, value]) => [encodeStrictly(name), encodeStrictly(value)] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : Number(a > b)))
    .map((pair) => pair.join('='))
    .join('&')
}

/** The headers to send: the given ones, the date, the payload's hash, the token and the signature. */
export function signRequest(request: RequestToSign, credentials: S3Credentials, { region, at }: SigningScope): Record<string, string> {
  const time = at.toISOString().replace(/[-:]|\.\d+/g, '')
  const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`
  const headers: Record<string, string> = {
    ...request.headers,
    'x-amz-content-sha256': request.payloadHash,
    'x-amz-date': time,
    ...(credentials.sessionToken === undefined ? {} : { 'x-amz-security-token': credentials.sessionToken }),
  }
  const names = Object.keys(headers).toSorted()
  const canonical = [
    request.method,
    request.path,
    canonicalQuery(request.query),
    ...names.map((name) => `${name}:${headers[name]?.trim().replace(/ +/g, ' ')}`),
    '',
    names.join(';'),
    request.payloadHash,
  ].join('\n')
  const toSign = ['AWS4-HMAC-SHA256', time, scope, createHash('sha256').update(canonical).digest('hex')].join('\n')
  const key = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${credentials.secretKey}`)
  const signature = createHmac('sha256', key).update(toSign).digest('hex')
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKey}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`,
  }
}
