import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { test } from 'node:test'
import { openStorage, parseStorageAddress, StorageFailure, storageOptionsFromEnvironment } from './index.ts'
import { failure } from './storage-conformance.ts'

const s3 = (endpoint: string | undefined, bucket: string, prefix: string) => ({ kind: 's3' as const, endpoint, bucket, prefix })

test('addresses of every notation name their place', () => {
  const places = {
    '/var/backups': { kind: 'directory', path: '/var/backups' },
    'a/b': { kind: 'directory', path: 'a/b' },
    'file:///var/a%20b': { kind: 'directory', path: '/var/a b' },
    's3:http://127.0.0.1:9000/b/p': s3('http://127.0.0.1:9000', 'b', 'p'),
    's3:https://s3.example.org/b': s3('https://s3.example.org', 'b', ''),
    's3:s3.example.org/b/p/q/': s3('https://s3.example.org', 'b', 'p/q'),
    's3:minio/b/p': s3('https://minio', 'b', 'p'),
    's3://s3.example.org/b/p': s3('https://s3.example.org', 'b', 'p'),
    's3://localhost:9000/b//p': s3('https://localhost:9000', 'b', 'p'),
    's3://bucket': s3(undefined, 'bucket', ''),
    's3://bucket/p/q': s3(undefined, 'bucket', 'p/q'),
    's3://buck.et': s3(undefined, 'buck.et', ''),
    's3:http://[::1]:9000/b/p': s3('http://[::1]:9000', 'b', 'p'),
  }
  for (const [address, place] of Object.entries(places)) assert.deepEqual(parseStorageAddress(address), place, address)
})

test('what names no place is refused, without repeating what may be a password in it', () => {
  const wrong = [
    '', 's3:', 's3://', 's3:https://', 's3:https://host', 's3:host', 's3://b/../c', 's3://b/p?x', 's3:ftp://host/b', 'ftp://host/b', 'sftp://user@host/b',
    'file://elsewhere/x', 's3:https://key:hunter2@host/b', 's3:https://host:99999/b',
  ]
  for (const address of wrong) {
    assert.throws(() => parseStorageAddress(address), (error) => failure('storage.wrong_place')(error) && !inspect(error).includes('hunter2'), address)
  }
})

test('an opened storage says where it is, and never with what keys', () => {
  const keys = { accessKey: 'AK', secretKey: 'hunter2', sessionToken: 'hunter3' }
  assert.equal(openStorage('s3://bucket/p', keys).location, 's3:https://s3.us-east-1.amazonaws.com/bucket/p')
  assert.equal(openStorage('s3://bucket/p', { ...keys, region: 'eu-central-1' }).location, 's3:https://s3.eu-central-1.amazonaws.com/bucket/p')
  assert.equal(openStorage('s3://bucket', { ...keys, endpoint: 'http://127.0.0.1:1' }).location, 's3:http://127.0.0.1:1/bucket/')
  assert.equal(openStorage('/var/x').location, '/var/x')
  assert.doesNotMatch(inspect(openStorage('s3://bucket/p', keys), { depth: 9, showHidden: true }), /hunter/)
})

test('a bucket needs keys', () => {
  assert.throws(() => openStorage('s3://bucket', { accessKey: 'AK' }), (error) => error instanceof StorageFailure && error.code === 'storage.forbidden')
})

test('the environment gives what restic and others read there', () => {
  const options = storageOptionsFromEnvironment({ AWS_ACCESS_KEY_ID: 'AK', AWS_SECRET_ACCESS_KEY: 'SK', AWS_REGION: '', AWS_DEFAULT_REGION: 'r' })
  assert.deepEqual(options, { accessKey: 'AK', secretKey: 'SK', sessionToken: undefined, region: 'r', endpoint: undefined })
})
