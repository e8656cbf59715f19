import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  formatSdkDate, parseAuthorization, signedAtMs, signRequest, verifySignature, type ParsedAuthorization, type SignableRequest,
} from './signing.ts'

interface Vector {
  readonly name: string
  readonly input: {
    readonly access_key: string
    readonly secret_key: string
    readonly method: string
    readonly wire_target: string
    readonly headers: Readonly<Record<string, string>>
    readonly body: string
  }
  readonly expected: { readonly signed_headers: string, readonly signature: string, readonly authorization: string }
}

const { vectors } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../test-data/signing-vectors.json'), 'utf8'),
) as { vectors: readonly Vector[] }

function requestOf({ input }: Vector): SignableRequest {
  return { method: input.method, target: input.wire_target, headers: input.headers, body: Buffer.from(input.body) }
}

function parsed(authorization: string): ParsedAuthorization {
  const result = parseAuthorization(authorization)
  if ('refused' in result) assert.fail(result.refused)
  return result
}

test('there are 15 vectors', () => assert.equal(vectors.length, 15))

for (const vector of vectors) {
  const { input, expected } = vector
  const request = requestOf(vector)
  const authorization = parsed(expected.authorization)
  const secret = input.secret_key

  test(`${vector.name}: what the client signed verifies`, () => {
    assert.equal(authorization.accessKey, input.access_key)
    assert.equal(verifySignature(request, authorization, secret), true)
  })

  test(`${vector.name}: we sign as the client does`, () => {
    const key = { accessKey: input.access_key, secretKey: secret }
    assert.equal(signRequest(request, key, authorization.form, expected.signed_headers.split(';')), expected.authorization)
  })

  test(`${vector.name}: a change of what is signed fails`, () => {
    const fails = (changed: Partial<SignableRequest>): void => {
      assert.equal(verifySignature({ ...request, ...changed }, authorization, secret), false, JSON.stringify(changed))
    }
    fails({ method: request.method === 'GET' ? 'DELETE' : 'GET' })
    fails({ target: request.target.replace('/v3/', '/v2/') })
    fails({ target: `${request.target}${request.target.includes('?') ? '&' : '?'}zz=1` })
    for (const name of authorization.signedHeaders) {
      fails({ headers: { ...request.headers, [name]: `${request.headers[name]}x` } })
      const { [name]: _gone, ...others } = request.headers
      fails({ headers: others })
    }
    if (request.headers['x-sdk-content-sha256'] === undefined) fails({ body: Buffer.concat([request.body, Buffer.from(' ')]) })
    assert.equal(verifySignature(request, authorization, `${secret}x`), false)
    assert.equal(verifySignature(request, { ...authorization, signedHeaders: [...authorization.signedHeaders, 'accept'] }, secret), false)
  })

  test(`${vector.name}: every change of one bit of what is signed fails`, () => {
    const fails = (changed: Partial<SignableRequest>): void => {
      assert.equal(verifySignature({ ...request, ...changed }, authorization, secret), false, JSON.stringify(changed))
    }
    for (const name of authorization.signedHeaders) {
      for (const value of withOneBitChanged(Buffer.from(String(request.headers[name]), 'latin1'))) {
        fails({ headers: { ...request.headers, [name]: value.toString('latin1') } })
      }
    }
    if (request.headers['x-sdk-content-sha256'] !== 'UNSIGNED-PAYLOAD') {
      for (const body of withOneBitChanged(Buffer.from(request.body))) fails({ body })
    }
    for (const bytes of withOneBitChanged(Buffer.from(request.method))) {
      const method = bytes.toString('latin1')
      if (method.toUpperCase() !== request.method) fails({ method })
    }
    // The scoped form signs only the first of a repeated key's values, as its client does.
    const firstOnly = authorization.form.kind === 'scoped'
    for (const bytes of withOneBitChanged(Buffer.from(request.target, 'latin1'))) {
      const target = bytes.toString('latin1')
      if (meaningOf(target, firstOnly) !== meaningOf(request.target, firstOnly)) fails({ target })
    }
  })

  test(`${vector.name}: every change of one bit of the header Authorization fails`, () => {
    for (const bytes of withOneBitChanged(Buffer.from(expected.authorization, 'latin1'))) {
      const altered = bytes.toString('latin1')
      const result = parseAuthorization(altered)
      // With another access key it is another secret that is asked about.
      const passes = !('refused' in result) && result.accessKey === input.access_key && verifySignature(request, result, secret)
      assert.equal(passes, false, altered)
    }
  })
}

function* withOneBitChanged(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ (1 << bit)
      yield changed
    }
  }
}

const decode = (text: string): string => text.replaceAll(/%([0-9A-Fa-f]{2})/g, (_match, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

/** What a target says, however it is escaped: `%2b` and `%2B` are one, and so are two orders of a query. */
function meaningOf(target: string, firstOnly: boolean): string {
  const [path = '', ...rest] = target.split('?')
  const segments = path.replace(/\/$/, '').split('/').map((segment) => decode(segment))
  const pairs = rest.join('?').split('&').filter((pair) => pair !== '').map((pair) => {
    const [key = '', ...value] = pair.replaceAll('+', ' ').split('=')
    return [decode(key), decode(value.join('='))]
  })
  const counted = firstOnly ? pairs.filter(([name], at) => pairs.findIndex(([other]) => other === name) === at) : pairs
  return JSON.stringify([segments, counted.map((pair) => JSON.stringify(pair)).toSorted()])
}

const key = { accessKey: 'AK', secretKey: 'SK' }
const plain: SignableRequest = {
  method: 'GET', target: '/v3/p/backups?b=2&a=1', headers: { 'x-sdk-date': '20260115T083015Z', host: 'h' }, body: Buffer.alloc(0),
}

test('escapes and the order of the query do not matter, as encoders on the way may change them', () => {
  const authorization = parsed(signRequest({ ...plain, target: "/v3/p/b%61ckups?name=a+b*'&a" }, key))
  assert.equal(verifySignature({ ...plain, target: '/v3/p/backups/?a=&name=a%20b%2A%27' }, authorization, 'SK'), true)
  assert.equal(verifySignature({ ...plain, target: '/v3/p/backups/?a=&name=a%20b%2A%2' }, authorization, 'SK'), false)
})

test('a declared hash of the body has to be the hash of the body', () => {
  const body = Buffer.from('{"a":1}')
  const declared = { 'x-sdk-content-sha256': '015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862' }
  const request = { ...plain, method: 'POST', body, headers: { ...plain.headers, ...declared } }
  const authorization = parsed(signRequest(request, key))
  assert.equal(verifySignature(request, authorization, 'SK'), true)
  assert.equal(verifySignature({ ...request, body: Buffer.from('{"a":2}') }, authorization, 'SK'), false)
})

test('the scope names the day of the signature', () => {
  for (const kind of ['derived', 'scoped'] as const) {
    const authorization = parsed(signRequest(plain, key, { kind, region: 'r', service: 's' }))
    assert.equal(verifySignature(plain, authorization, 'SK'), true)
    assert.equal(verifySignature(plain, { ...authorization, scopeDate: '20260116' }, 'SK'), false)
  }
})

test('headers of Authorization that are malformed or of other algorithms are refused in words', () => {
  const good = signRequest(plain, key)
  const refusals: [string, RegExp][] = [
    ['SDK-HMAC-SM3 Access=AK, SignedHeaders=x-sdk-date, Signature=00', /SDK-HMAC-SM3 is not supported, use SDK-HMAC-SHA256/],
    ['SDK-ECDSA-P256-SHA256 Access=AK', /not supported/],
    ['Bearer abc', /not supported/],
    ['', /not supported/],
    [good.replace('Access=AK', 'Access='), /malformed/],
    [good.replace('Access=AK, ', ''), /malformed/],
    [good.replace('Access=AK', 'Access=AK, Access=AK'), /malformed/],
    [good.replace('Access=AK', 'Credential=AK/20260115/r/s'), /malformed/],
    [good.replace('Access=AK', 'Credential=AK/2026/r/s/sdk_request'), /malformed/],
    [good.replace('Access=AK', 'Credential=AK/20260115/r/s/sdk_request/x'), /malformed/],
    [good.replace(/.$/, ''), /malformed/],
    [`${good}, x`, /malformed/],
    [good.replace('x-sdk-date', 'x-date'), /X-Sdk-Date is not signed/],
  ]
  for (const [authorization, text] of refusals) {
    const result = parseAuthorization(authorization)
    assert.ok('refused' in result, authorization)
    assert.match(result.refused, text)
  }
})

test('the time of a signature is read and written', () => {
  const ms = Date.UTC(2026, 0, 15, 8, 30, 15)
  assert.equal(formatSdkDate(ms), '20260115T083015Z')
  assert.equal(signedAtMs(plain), ms)
  for (const date of ['2026-01-15T08:30:15Z', '20261315T083015Z', '20260115T083015', '']) {
    assert.equal(signedAtMs({ headers: { 'x-sdk-date': date } }), undefined, date)
  }
  assert.equal(signedAtMs({ headers: {} }), undefined)
})
