import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { test } from 'node:test'
import { failure } from '../storage-conformance.ts'
import { failureOf, parseListedPage } from './s3-answers.ts'

const entry = (key: string, size = '5') =>
  `<Contents><Key>${key}</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>"x"</ETag><Size>${size}</Size></Contents>`
const page = (inside: string) => `<?xml version="1.0"?>\n<ListBucketResult xmlns="x">${inside}</ListBucketResult>\n`

test('a page of a listing is read, names and token decoded', () => {
  const xml = page(`<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b&#x2F;&#99;</NextContinuationToken>${entry('p/data%2Fx+y')}${entry('p/b', '0')}`)
  const modifiedAt = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
  assert.deepEqual(parseListedPage(xml, ''), {
    objects: [{ key: 'p/data/x y', size: 5, modifiedAt }, { key: 'p/b', size: 0, modifiedAt }],
    next: 'a&b/c',
  })
  assert.deepEqual(parseListedPage(page('<IsTruncated>false</IsTruncated>'), ''), { objects: [], next: undefined })
})

test('a page that is not whole is never taken for the last one', () => {
  const whole = page(`<IsTruncated>false</IsTruncated>${entry('a')}${entry('b')}`)
  const wrong = [
    '', page(''), page(entry('a')), page('<IsTruncated>true</IsTruncated>'), page('<IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents>'),
    page(`<IsTruncated>false</IsTruncated>${entry('a', '')}`), ...Array.from({ length: whole.trimEnd().length }, (_, length) => whole.slice(0, length)),
  ]
  for (const xml of wrong) assert.throws(() => parseListedPage(xml, ''), failure('storage.unavailable'), xml)
})

test('answers become failures by what can be done about them', () => {
  const cases = [
    [404, 'NoSuchKey', 'storage.not_found'], [404, '', 'storage.not_found'], [404, 'NoSuchBucket', 'storage.wrong_place'], [404, 'NoSuchUpload', 'storage.unavailable'],
    [301, 'PermanentRedirect', 'storage.wrong_place'], [307, '', 'storage.wrong_place'], [400, 'AuthorizationHeaderMalformed', 'storage.wrong_place'],
    [403, 'AccessDenied', 'storage.forbidden'], [403, 'SignatureDoesNotMatch', 'storage.forbidden'], [403, 'QuotaExceeded', 'storage.full'],
    [400, 'BadDigest', 'storage.unavailable'], [400, 'RequestTimeout', 'storage.unavailable'], [400, 'ExpiredToken', 'storage.forbidden'],
    [409, 'ConditionalRequestConflict', 'storage.unavailable'], [412, 'PreconditionFailed', 'storage.exists'], [416, 'InvalidRange', 'storage.out_of_range'],
    [429, '', 'storage.unavailable'], [500, 'InternalError', 'storage.unavailable'], [501, 'NotImplemented', 'storage.forbidden'],
    [503, 'SlowDown', 'storage.unavailable'], [504, '', 'storage.unavailable'], [507, '', 'storage.full'],
  ] as const
  for (const [status, s3Code, code] of cases) {
    assert.equal(failureOf(status, {}, s3Code === '' ? '' : `<Error><Code>${s3Code}</Code></Error>`, 'k').code, code, `${status} ${s3Code}`)
  }
})

test('a failure keeps what helps, and nothing of what the server repeats', () => {
  const body = '<Error><Code>SignatureDoesNotMatch</Code><Message>hunter2</Message><AWSAccessKeyId>AKSECRET</AWSAccessKeyId></Error>'
  const failed = failureOf(403, { 'x-amz-bucket-region': 'eu-west-3', 'retry-after': '3' }, body, 'data/x')
  assert.deepEqual(failed.facts, { key: 'data/x', status: 403, s3Code: 'SignatureDoesNotMatch', region: 'eu-west-3', retryAfterMs: 3000 })
  assert.doesNotMatch(inspect(failed), /hunter2|AKSECRET/)
})
