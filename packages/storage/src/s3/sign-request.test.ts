import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canonicalQuery, signRequest } from './sign-request.ts'

/** The worked examples of Amazon's description of the signature, whose keys open nothing. */
const credentials = { accessKey: 'AKIAIOSFODNN7EXAMPLE', secretKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' }
const scope = { region: 'us-east-1', at: new Date('2013-05-24T00:00:00Z') }
const host = 'examplebucket.s3.amazonaws.com'
const emptyHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

const signatureOf = (headers: Record<string, string>) => /Signature=([0-9a-f]{64})$/.exec(headers['authorization'] ?? '')?.[1]

test('a read of a range is signed as the published example says', () => {
  const request = { method: 'GET', path: '/test.txt', query: [], headers: { host, range: 'bytes=0-9' }, payloadHash: emptyHash }
  const signed = signRequest(request, credentials, scope)
  assert.equal(signatureOf(signed), 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41')
  assert.equal(signed['x-amz-date'], '20130524T000000Z')
})

test('a listing is signed as the published example says, whatever the order of its query', () => {
  const request = { method: 'GET', path: '/', query: [['prefix', 'J'], ['max-keys', '2']] as const, headers: { host }, payloadHash: emptyHash }
  assert.equal(signatureOf(signRequest(request, credentials, scope)), '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7')
})

test('a session token is sent and signed', () => {
  const request = { method: 'GET', path: '/', query: [], headers: { host }, payloadHash: emptyHash }
  const signed = signRequest(request, { ...credentials, sessionToken: 'token' }, scope)
  assert.equal(signed['x-amz-security-token'], 'token')
  assert.match(signed['authorization'] ?? '', /SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,/)
  assert.notEqual(signatureOf(signed), signatureOf(signRequest(request, credentials, scope)))
})

test('a query escapes all that the signature wants escaped', () => {
  const query = [['prefix', "a/b c+'(é)*"], ['a-b', '1'], ['a', '']] as const
  assert.equal(canonicalQuery(query), 'a=&a-b=1&prefix=a%2Fb%20c%2B%27%28%C3%A9%29%2A')
})
