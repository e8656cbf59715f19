/**
 * AK/SK request signing, in the three forms that clients of the API send:
 *
 * - plain: `SDK-HMAC-SHA256 Access=AK, …`, keyed with the secret itself (Huawei's SDKs and Terraform);
 * - derived: `V11-HMAC-SHA256 Credential=AK/date/region/service, …`, keyed with HKDF of the secret;
 * - scoped: `SDK-HMAC-SHA256 Credential=AK/date/region/service/sdk_request, …`, keyed with a chain of
 *   HMACs (Open Telekom Cloud's). It shares its name with the plain form, but not its rules.
 *
 * All sign a canonical form of the request, from which both sides get the same bytes whatever an
 * encoder on the way did to escapes: what is compared is decoded and encoded again.
 */
import { createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'

export interface SignableRequest {
  readonly method: string
  /** Path and query as they are on the wire. */
  readonly target: string
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: Uint8Array
}

export type SigningForm =
  | { readonly kind: 'plain' }
  | { readonly kind: 'derived' | 'scoped', readonly region: string, readonly service: string }

export interface SigningKey {
  readonly accessKey: string
  readonly secretKey: string
}

export interface ParsedAuthorization {
  readonly form: SigningForm
  readonly accessKey: string
  /** `YYYYMMDD` of the credential's scope; undefined in the plain form. */
  readonly scopeDate: string | undefined
  readonly signedHeaders: readonly string[]
  readonly signature: string
}

const HMAC_SHA256 = 'SDK-HMAC-SHA256'
const V11_HMAC_SHA256 = 'V11-HMAC-SHA256'
const DATE_HEADER = 'x-sdk-date'
const PAYLOAD_HEADER = 'x-sdk-content-sha256'
const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD'

/** Reads a header `Authorization`; what is wrong with it is told in words for whoever wrote the client. */
export function parseAuthorization(authorization: string): ParsedAuthorization | { readonly refused: string } {
  const [, algorithm = '', rest = ''] = /^([^ \t]+)[ \t]+(.*)$/.exec(withoutBlanks(authorization)) ?? []
  if (algorithm !== HMAC_SHA256 && algorithm !== V11_HMAC_SHA256) {
    const named = /^[A-Za-z0-9-]{1,40}$/.test(algorithm) ? ` ${algorithm}` : ''
    return { refused: `the signing algorithm${named} is not supported, use ${HMAC_SHA256}` }
  }
  const members = new Map<string, string>()
  for (const piece of rest.split(',')) {
    const at = piece.indexOf('=')
    const name = withoutBlanks(piece.slice(0, Math.max(at, 0)))
    if (at === -1 || members.has(name)) return { refused: 'the header Authorization is malformed' }
    members.set(name, withoutBlanks(piece.slice(at + 1)))
  }
  const signature = members.get('Signature') ?? ''
  // As they stand: clients write them in lower case, and their very text is signed.
  const signedHeaders = (members.get('SignedHeaders') ?? '').split(';')
  const who = parseCredential(algorithm, members.get('Access'), members.get('Credential'))
  if (who === undefined || !/^[0-9a-f]{64}$/.test(signature)) return { refused: 'the header Authorization is malformed' }
  if (!signedHeaders.includes(DATE_HEADER)) return { refused: 'the header X-Sdk-Date is not signed' }
  return { ...who, signedHeaders, signature }
}

function parseCredential(
  algorithm: string, access: string | undefined, credential: string | undefined,
): Pick<ParsedAuthorization, 'form' | 'accessKey' | 'scopeDate'> | undefined {
  if (access !== undefined && credential === undefined && algorithm === HMAC_SHA256) {
    return access === '' ? undefined : { form: { kind: 'plain' }, accessKey: access, scopeDate: undefined }
  }
  if (credential === undefined || access !== undefined) return undefined
  const [accessKey = '', scopeDate = '', region, service, end, ...more] = credential.split('/')
  if (accessKey === '' || !/^\d{8}$/.test(scopeDate) || region === undefined || service === undefined || more.length > 0) return undefined
  if (algorithm === V11_HMAC_SHA256) {
    return end === undefined ? { form: { kind: 'derived', region, service }, accessKey, scopeDate } : undefined
  }
  return end === 'sdk_request' ? { form: { kind: 'scoped', region, service }, accessKey, scopeDate } : undefined
}

/** The moment that a request says it was signed at, in milliseconds; undefined when it says none. */
export function signedAtMs(request: Pick<SignableRequest, 'headers'>): number | undefined {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/.exec(headerText(request, DATE_HEADER) ?? '') ?? []
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(ms) ? undefined : ms
}

/** The form of `X-Sdk-Date`: `20260115T083015Z`. */
export function formatSdkDate(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`
}

/** Whether whoever knows the secret signed this request as it is. Takes the same time for any wrong signature. */
export function verifySignature(request: SignableRequest, authorization: ParsedAuthorization, secretKey: string): boolean {
  const date = headerText(request, DATE_HEADER) ?? ''
  if (authorization.scopeDate !== undefined && !date.startsWith(authorization.scopeDate)) return false
  // An absent header could be sent, signed as empty and then be filled in by somebody on the way.
  if (authorization.signedHeaders.some((name) => headerText(request, name) === undefined)) return false
  if (!declaresItsPayload(request)) return false
  const { form, accessKey, signedHeaders, signature } = authorization
  let isRight = false
  for (const canonical of canonicalRequests(request, signedHeaders, form)) {
    const expected = makeSignature(canonical, { form, date, key: { accessKey, secretKey } })
    isRight = timingSafeEqual(Buffer.from(expected), Buffer.from(signature)) || isRight
  }
  return isRight
}

/**
 * Makes the header `Authorization` for a request whose headers (`X-Sdk-Date` among them) are all to be
 * signed, or those named.
 */
export function signRequest(
  request: SignableRequest, key: SigningKey, form: SigningForm = { kind: 'plain' }, headerNames: readonly string[] = Object.keys(request.headers).toSorted(),
): string {
  const date = headerText(request, DATE_HEADER)
  if (date === undefined) throw new TypeError('a request that is to be signed carries x-sdk-date')
  const canonical = [...canonicalRequests(request, headerNames, form)].at(-1) ?? ''
  const signature = makeSignature(canonical, { form, date, key })
  const algorithm = form.kind === 'derived' ? V11_HMAC_SHA256 : HMAC_SHA256
  const who = form.kind === 'plain' ? `Access=${key.accessKey}` : `Credential=${key.accessKey}/${scopeOf(form, date)}`
  return `${algorithm} ${who}, SignedHeaders=${headerNames.join(';')}, Signature=${signature}`
}

/** A declared hash replaces the body in the signature, so it has to be the body's; only one word says that there is none. */
function declaresItsPayload(request: SignableRequest): boolean {
  const declared = headerText(request, PAYLOAD_HEADER)
  return declared === undefined || declared === UNSIGNED_PAYLOAD || declared === sha256Hex(request.body)
}

/**
 * The canonical forms of a request. There is one, except in the scoped form: its one client signs
 * only the first of a repeated query key's values, and for a POST without body it puts the query in
 * the body's place. What a client without these faults would sign comes first, and the client's own last.
 */
function* canonicalRequests(request: SignableRequest, signedHeaders: readonly string[], form: SigningForm): Generator<string> {
  const at = request.target.indexOf('?')
  const path = at === -1 ? request.target : request.target.slice(0, at)
  const pairs = parseQuery(at === -1 ? '' : request.target.slice(at + 1))
  const payload = headerText(request, PAYLOAD_HEADER) ?? sha256Hex(request.body)
  const write = (query: string, payloadHash: string): string => [
    request.method.toUpperCase(),
    canonicalPath(path),
    query,
    signedHeaders.map((name) => `${name}:${canonicalValue(request, name, form)}\n`).join(''),
    signedHeaders.join(';'),
    payloadHash,
  ].join('\n')
  yield write(canonicalQuery(pairs), payload)
  if (form.kind !== 'scoped') return
  yield write(canonicalQuery(firstValues(pairs), true), payload)
  if (request.method.toUpperCase() === 'POST' && request.body.length === 0) yield write('', sha256Hex(formEncoded(pairs)))
}

function canonicalValue(request: SignableRequest, name: string, form: SigningForm): string {
  const value = withoutBlanks(headerText(request, name) ?? '')
  return form.kind === 'scoped' ? value.replaceAll(/[ \t]+/g, ' ') : value
}

/** Around it; blanks of HTTP, and no others: what else a text may call white space is content. */
function withoutBlanks(text: string): string {
  const isBlank = (at: number): boolean => text[at] === ' ' || text[at] === '\t'
  let [from, to] = [0, text.length]
  // By hand: an expression looks at a long row of blanks inside once for each of them.
  while (from < to && isBlank(from)) from += 1
  while (to > from && isBlank(to - 1)) to -= 1
  return text.slice(from, to)
}

function headerText(request: Pick<SignableRequest, 'headers'>, name: string): string | undefined {
  const value = Object.hasOwn(request.headers, name) ? request.headers[name] : undefined
  return typeof value === 'object' ? value.join(',') : value
}

function canonicalPath(path: string): string {
  const encoded = path.split('/').map((segment) => percentEncode(percentDecode(segment, false))).join('/')
  return encoded.endsWith('/') ? encoded : `${encoded}/`
}

/** Key and value as bytes, one character (0 to 255) each: comparing them compares bytes. */
type Pair = readonly [key: string, value: string]

function parseQuery(query: string): Pair[] {
  return query.split('&').filter((piece) => piece !== '').map((piece) => {
    const at = piece.indexOf('=')
    const [key, value] = at === -1 ? [piece, ''] : [piece.slice(0, at), piece.slice(at + 1)]
    return [percentDecode(key, true), percentDecode(value, true)]
  })
}

function canonicalQuery(pairs: readonly Pair[], ignoringCase = false): string {
  const keyOf = (pair: Pair): string => (ignoringCase ? pair[0].toLowerCase() : pair[0])
  return pairs
    .toSorted((a, b) => compare(keyOf(a), keyOf(b)) || compare(a[1], b[1]))
    .map(([key, value]) => `${percentEncode(key)}=${percentEncode(value)}`).join('&')
}

function firstValues(pairs: readonly Pair[]): Pair[] {
  const first = new Map<string, string>()
  for (const [key, value] of pairs) if (!first.has(key)) first.set(key, value)
  return [...first]
}

/** As an HTML form, with `+` for a space: keys in order, the values of one key as they came. */
function formEncoded(pairs: readonly Pair[]): string {
  return pairs.toSorted((a, b) => compare(a[0], b[0]))
    .map((pair) => pair.map((text) => percentEncode(text).replaceAll('%20', '+')).join('=')).join('&')
}

function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1
}

/** To one character per byte; a `%` that starts no escape stands for itself. */
function percentDecode(text: string, plusIsSpace: boolean): string {
  const bytes = Buffer.from(plusIsSpace ? text.replaceAll('+', ' ') : text).toString('latin1')
  return bytes.replaceAll(/%([0-9A-Fa-f]{2})/g, (_match, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

function percentEncode(bytes: string): string {
  return bytes.replaceAll(/[^A-Za-z0-9\-_.~]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}

function scopeOf(form: Exclude<SigningForm, { kind: 'plain' }>, date: string): string {
  const scope = `${date.slice(0, 8)}/${form.region}/${form.service}`
  return form.kind === 'scoped' ? `${scope}/sdk_request` : scope
}

function makeSignature(canonical: string, { form, date, key }: { form: SigningForm, date: string, key: SigningKey }): string {
  const hash = sha256Hex(canonical)
  if (form.kind === 'plain') return hmac(key.secretKey, `${HMAC_SHA256}\n${date}\n${hash}`).toString('hex')
  const scope = scopeOf(form, date)
  if (form.kind === 'derived') {
    const derived = Buffer.from(hkdfSync('sha256', key.secretKey, key.accessKey, scope, 32)).toString('hex')
    return hmac(derived, `${V11_HMAC_SHA256}\n${date}\n${scope}\n${hash}`).toString('hex')
  }
  const chained = scope.split('/').reduce<Buffer>((sofar, part) => hmac(sofar, part), Buffer.from(`SDK${key.secretKey}`))
  return hmac(chained, `${HMAC_SHA256}\n${date}\n${scope}\n${hash}`).toString('hex')
}

function hmac(key: string | Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function sha256Hex(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}
