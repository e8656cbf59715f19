/**
 * Storage on a real S3 server: the promises of every storage, what S3 adds to them, faults on the way,
 * and stock restic beside us in the same bucket.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { inspect } from 'node:util'
import { archiveTree, checkRepository, initRepository, kdfForRandomPassword, openRepository, restoreTree } from '@opencbr/engine'
import {
  createS3Bucket, openStorage, s3Storage, StorageFailure, storageOptionsFromEnvironment, withRetry, type RetryOptions, type S3StorageOptions, type Storage,
} from '@opencbr/storage'
import { bytes, failure, keysOf, testStorage } from '../packages/storage/src/storage-conformance.ts'
import { compareTrees } from './support/compare-trees.ts'
import { startFaultyProxy, type FaultyProxy, type ProxiedRequest, type ProxyFault } from './support/faulty-proxy.ts'
import { pseudoRandomBytes } from './support/nasty-tree.ts'
import { restic, resticBinaries, resticVersion } from './support/restic.ts'
import { bringS3Server, startS3Server } from './support/s3-server.ts'
import { scratchDirectory } from './support/scratch-repository.ts'

const PASSWORD = 'only for tests'
const BUCKET = 'vaults'

const brought = bringS3Server()
if ('root' in brought) {
  const server = await startS3Server(brought.root)
  after(() => server[Symbol.asyncDispose]())
  // Stock restic, and openStorage beside it, read their keys from here.
  process.env['AWS_ACCESS_KEY_ID'] = server.accessKey
  process.env['AWS_SECRET_ACCESS_KEY'] = server.secretKey
  const place = { endpoint: server.endpoint, accessKey: server.accessKey, secretKey: server.secretKey, bucket: BUCKET }
  await createS3Bucket(place)
  testOnServer(place)
} else {
  test('storage on a real S3 server', { skip: brought.unavailable }, () => {})
}

interface Proxied extends AsyncDisposable {
  readonly proxy: FaultyProxy
  /** Through the proxy, with retries that wait for nothing. */
  readonly storage: Storage
  /** Through the proxy, each call made once. */
  readonly once: Storage
  /** The same files without the proxy. */
  readonly direct: Storage
}

/** A server that does not know conditions, and says so. */
function refuseConditions({ headers }: ProxiedRequest): ProxyFault | undefined {
  if (headers['if-none-match'] === undefined) return undefined
  return { kind: 'refuse', status: 501, body: '<Error><Code>NotImplemented</Code></Error>' }
}

/** One that does not say so: it takes the same file a second time. */
function ignoreConditions({ method, target, number }: ProxiedRequest): ProxyFault | undefined {
  const isTrial = method === 'PUT' && target.endsWith('/a') && number === 2
  return isTrial ? { kind: 'replace-answer', status: 200, headers: { etag: '"x"' } } : undefined
}

function testOnServer(place: S3StorageOptions): void {
  const newPlace = (): S3StorageOptions => ({ ...place, prefix: randomUUID() })
  const patience: RetryOptions = { totalMsMax: 20_000, sleep: async () => {} }

  async function openProxied(decide: (request: ProxiedRequest) => ProxyFault | undefined, options: Partial<S3StorageOptions> = {}): Promise<Proxied> {
    const there = { ...newPlace(), ...options }
    const proxy = await startFaultyProxy(place.endpoint, decide)
    const once = s3Storage({ ...there, endpoint: proxy.endpoint })
    return { proxy, once, storage: withRetry(once, patience), direct: s3Storage(there), [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose]() }
  }

  /** What comes of each kind of call. */
  async function failuresOf(options: Partial<S3StorageOptions>): Promise<unknown[]> {
    const storage = s3Storage({ ...newPlace(), ...options })
    const outcomes = await Promise.allSettled([storage.get('config'), storage.put('config', [bytes('1')]), keysOf(storage, ''), storage.delete('config')])
    return outcomes.map((outcome): unknown => (outcome.status === 'rejected' ? outcome.reason : undefined))
  }

  test('a bucket is made, and made again without harm', async () => {
    const there = { ...place, bucket: 'another' }
    await createS3Bucket(there)
    await createS3Bucket(there)
    assert.deepEqual(await keysOf(s3Storage(there), ''), [])
  })

  testStorage('s3', async () => ({ storage: s3Storage(newPlace()), async [Symbol.asyncDispose]() {} }))
  testStorage('retried s3', async () => ({ storage: withRetry(s3Storage(newPlace())), async [Symbol.asyncDispose]() {} }))

  test('s3: what cannot be used says so, and keeps the keys to itself', async () => {
    const wrong = { secretKey: 'hunter2', accessKey: 'AKTEST' }
    const cases = [
      [{ ...wrong }, 'storage.forbidden'],
      [{ accessKey: 'AKNOBODY' }, 'storage.forbidden'],
      [{ now: () => Date.now() - 3_600_000 }, 'storage.forbidden'],
      [{ bucket: 'nowhere' }, 'storage.wrong_place'],
    ] as const
    for (const [options, code] of cases) {
      for (const error of await failuresOf(options)) {
        assert(failure(code)(error), inspect(error))
        assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /hunter2|secret-of-the-test|AKTEST|AKNOBODY/)
      }
    }
    const [unreachable] = await failuresOf({ endpoint: 'http://127.0.0.1:1' })
    assert(unreachable instanceof StorageFailure)
    assert.deepEqual({ code: unreachable.code, facts: unreachable.facts }, { code: 'storage.unavailable', facts: { key: 'config', systemCode: 'ECONNREFUSED' } })
  })

  test('s3: listings of more than one page are whole', async () => {
    const storage = s3Storage(newPlace())
    const keys = Array.from({ length: 1003 }, (_, i) => `locks/${i}`)
    const waiting = [...keys]
    await Promise.all(Array.from({ length: 16 }, async () => {
      for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) await storage.put(key, [bytes('1')])
    }))
    assert.deepEqual(await keysOf(storage, 'locks/'), keys.toSorted())
    assert.deepEqual(await keysOf(storage, ''), keys.toSorted())
  })

  test('s3: memory that threads share is sent and received as it is', async () => {
    const storage = s3Storage(newPlace())
    const shared = new Uint8Array(new SharedArrayBuffer(3 << 20))
    shared.set(pseudoRandomBytes(shared.length, 1))
    await storage.put('data/x', [shared.subarray(0, 100_000), shared.subarray(100_000)])
    const received = new Uint8Array(new SharedArrayBuffer(1 << 20))
    await storage.get('data/x', { range: { offset: 99_999, length: received.length }, allocate: () => received })
    assert.equal(Buffer.compare(received, shared.subarray(99_999, 99_999 + received.length)), 0)
  })

  test('s3: large files go up in parts, and are never replaced either', async () => {
    const storage = s3Storage({ ...newPlace(), multipartBytesMin: 11 << 20, partBytes: 5 << 20 })
    const whole = pseudoRandomBytes(11 << 20, 2)
    const pieces = [whole.subarray(0, 7), whole.subarray(7, 6 << 20), whole.subarray(6 << 20)]
    await storage.put('data/x', pieces)
    assert.equal(Buffer.compare(await storage.get('data/x'), whole), 0)
    await assert.rejects(storage.put('data/x', [pseudoRandomBytes(11 << 20, 3)]), failure('storage.exists'))
    assert.equal(Buffer.compare(await storage.get('data/x'), whole), 0)
    assert.deepEqual(await keysOf(storage, ''), ['data/x'])
  })

  test('s3: an upload in parts that fails leaves neither a file nor parts', async () => {
    const options = { multipartBytesMin: 5 << 20, partBytes: 5 << 20 }
    await using opened = await openProxied(({ target }) => (target.includes('partNumber=2') ? { kind: 'spoil-request' } : undefined), options)
    await assert.rejects(opened.once.put('data/x', [pseudoRandomBytes(6 << 20, 4)]), failure('storage.unavailable'))
    assert.match(opened.proxy.requests.at(-1) ?? '', /^DELETE /)
    assert.deepEqual(await keysOf(opened.direct, ''), [])
  })

  test('s3: a server that finds out late that it cannot put the parts together is not believed', async () => {
    const late: ProxyFault = { kind: 'refuse', status: 200, body: '<?xml version="1.0"?>\n\n<Error><Code>InternalError</Code></Error>' }
    const spoilFirstEnd = ({ method, target, number }: ProxiedRequest) => (method === 'POST' && target.includes('uploadId') && number === 2 ? late : undefined)
    await using opened = await openProxied(spoilFirstEnd, { multipartBytesMin: 5 << 20, partBytes: 5 << 20 })
    const whole = pseudoRandomBytes(6 << 20, 5)
    await opened.storage.put('data/x', [whole])
    assert.equal(opened.proxy.requests.filter((request) => request.startsWith('POST')).length, 4)
    assert.equal(Buffer.compare(await opened.direct.get('data/x'), whole), 0)
  })

  const slowDown: ProxyFault = { kind: 'refuse', status: 503, headers: { 'retry-after': '0' }, body: '<Error><Code>SlowDown</Code></Error>' }
  const passingFaults: Readonly<Record<string, ProxyFault>> = {
    'a busy server': slowDown,
    'a failing server': { kind: 'refuse', status: 500 },
    'a connection reset in the middle of the request': { kind: 'reset-request' },
    'a byte changed on the way there': { kind: 'spoil-request' },
    'an answer that never arrives': { kind: 'lose-answer' },
    'a wrong ETag': { kind: 'replace-answer', status: 200, headers: { etag: '"00000000000000000000000000000000"' } },
    'a silent server': { kind: 'silence' },
  }
  for (const [name, fault] of Object.entries(passingFaults)) {
    test(`s3: a put outlives ${name}`, async () => {
      let faults = 0
      const spoilTwice = ({ method }: ProxiedRequest) => (method === 'PUT' && (faults += 1) <= 2 ? fault : undefined)
      await using opened = await openProxied(spoilTwice, fault.kind === 'silence' ? { idleMsMax: 500 } : {})
      const whole = pseudoRandomBytes(300_000, 6)
      await opened.storage.put('data/x', [whole])
      assert(faults > 0)
      assert.equal(Buffer.compare(await opened.direct.get('data/x'), whole), 0)
      assert.deepEqual(await keysOf(opened.direct, ''), ['data/x'])
    })
  }

  test('s3: a put that is tried once fails with each of them, and says that the storage is to blame', async () => {
    for (const fault of Object.values(passingFaults)) {
      await using opened = await openProxied(({ method }) => (method === 'PUT' ? fault : undefined), { idleMsMax: 500 })
      await assert.rejects(opened.once.put('data/x', [pseudoRandomBytes(300_000, 7)]), failure('storage.unavailable'))
    }
  })

  test('s3: reads outlive answers that break off, are cut short or do not come', async () => {
    for (const fault of [slowDown, { kind: 'reset-answer' }, { kind: 'cut-answer' }, { kind: 'lose-answer' }, { kind: 'silence' }] as const) {
      await using opened = await openProxied(({ method, number }) => (method === 'GET' && number <= 2 ? fault : undefined), { idleMsMax: 500 })
      const whole = pseudoRandomBytes(300_000, 8)
      await opened.direct.put('data/x', [whole])
      const range = { offset: 1000, length: 200_000 }
      await assert.rejects(opened.once.get('data/x', { range }), failure('storage.unavailable'))
      const memory = new Uint8Array(range.length)
      let asked = 0
      assert.equal(await opened.storage.get('data/x', { range, allocate: () => ((asked += 1), memory) }), memory)
      assert.equal(asked, 1)
      assert.equal(Buffer.compare(memory, whole.subarray(1000, 201_000)), 0)
    }
  })

  test('s3: a listing that is cut short is not taken for all there is', async () => {
    for (const kind of ['cut-answer', 'reset-answer'] as const) {
      await using opened = await openProxied(({ method, number }) => (method === 'GET' && number <= 2 ? { kind } : undefined))
      for (const key of ['a', 'b', 'c']) await opened.direct.put(key, [bytes(key)])
      await assert.rejects(keysOf(opened.once, ''), failure('storage.unavailable'))
      assert.deepEqual(await keysOf(opened.storage, ''), ['a', 'b', 'c'])
    }
  })

  test('s3: a silent server is left when the caller has had enough', async () => {
    await using opened = await openProxied(() => ({ kind: 'silence' }))
    const stopping = new AbortController()
    const reading = opened.storage.get('config', { signal: stopping.signal })
    stopping.abort(new Error('enough'))
    await assert.rejects(reading, /enough/)
  })

  test('s3: a server that refuses conditions, or passes over them in silence, is looked at before each put', async () => {
    for (const decide of [refuseConditions, ignoreConditions]) {
      await using opened = await openProxied(decide)
      await opened.once.put('a', [bytes('1')])
      await opened.once.put('b', [bytes('2')])
      await assert.rejects(opened.once.put('b', [bytes('3')]), failure('storage.exists'))
      assert.deepEqual(await opened.direct.get('b'), bytes('2'))
      assert.equal(opened.proxy.requests.filter((request) => request.startsWith('PUT')).length, 3)
      assert.equal(opened.proxy.requests.filter((request) => request.startsWith('HEAD')).length, 3)
    }
  })

  test('s3: a server that honours conditions is not looked at any more', async () => {
    await using opened = await openProxied(() => undefined)
    for (const key of ['a', 'b', 'c']) await opened.once.put(key, [bytes(key)])
    await assert.rejects(opened.once.put('c', [bytes('d')]), failure('storage.exists'))
    assert.deepEqual(opened.proxy.requests.map((request) => request.replace(/\/.*\//, '')), ['HEAD a', 'PUT a', 'PUT a', 'PUT b', 'PUT c', 'PUT c'])
  })

  test('s3: over TLS a server is spoken to only when its certificate is trusted', async (t) => {
    const directory = scratchDirectory(t)
    const [key, cert] = [join(directory, 'key'), join(directory, 'cert')]
    const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test',
      '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert], { encoding: 'utf8' })
    assert.equal(made.status, 0, made.stderr)
    const tls = { key: fs.readFileSync(key, 'utf8'), cert: fs.readFileSync(cert, 'utf8') }
    const hashes = new Set<unknown>()
    const noteHash = ({ headers }: ProxiedRequest) => void hashes.add(headers['x-amz-content-sha256'])
    await using proxy = await startFaultyProxy(place.endpoint, noteHash, tls)
    const there = { ...newPlace(), endpoint: proxy.endpoint }
    const trusting = s3Storage({ ...there, certificates: tls.cert })
    await trusting.put('data/x', [bytes('12'), bytes('3')])
    assert.deepEqual(await trusting.get('data/x'), bytes('123'))
    assert(hashes.has('UNSIGNED-PAYLOAD'))
    const seen = proxy.requests.length
    await assert.rejects(s3Storage(there).get('data/x'), failure('storage.unavailable'))
    assert.equal(proxy.requests.length, seen)
  })

  for (const binary of resticBinaries()) {
    const version = resticVersion(binary)
    test(`s3: restic ${version} and we work on one repository in a bucket`, async (t) => {
      const address = `s3:${place.endpoint}/${BUCKET}/${randomUUID()}/vault`
      const storage = openStorage(address, storageOptionsFromEnvironment(process.env))
      const top = scratchDirectory(t)
      const source = join(top, 'source')
      fs.mkdirSync(join(source, 'below'), { recursive: true })
      fs.writeFileSync(join(source, 'random'), pseudoRandomBytes(6 << 20, 9))
      fs.writeFileSync(join(source, 'below/text'), 'compressible '.repeat(100_000))
      fs.symlinkSync('below/text', join(source, 'link'))

      await initRepository(storage, { password: PASSWORD, kdf: kdfForRandomPassword })
      const judge = restic(binary, address, PASSWORD)
      {
        await using repository = await openRepository(storage, { password: PASSWORD })
        await using lock = await repository.lock({ exclusive: false, settleMs: 0 })
        await archiveTree(repository, lock, { path: source, hostname: 'h', tags: ['ours'], time: new Date('2026-01-02T03:04:05.678Z'), programVersion: 'test' })
      }
      judge.run('check', '--read-data')
      judge.run('restore', 'latest', '--target', join(top, 'theirs'))
      assert.deepEqual(compareTrees(source, join(top, 'theirs', source)), [])

      fs.appendFileSync(join(source, 'below/text'), 'and more')
      judge.run('backup', source)
      await using repository = await openRepository(storage, { password: PASSWORD })
      await repository.loadIndex()
      assert.deepEqual((await checkRepository(repository, { level: 'data' })).findings, [])
      const newest = (await repository.listSnapshots()).toSorted((a, b) => a.snapshot.time.localeCompare(b.snapshot.time)).at(-1)
      assert.ok(newest !== undefined)
      await restoreTree(repository, { snapshotId: newest.id, sourcePath: source, destination: join(top, 'ours'), allowedRoots: [top] })
      assert.deepEqual(compareTrees(source, join(top, 'ours')), [])
      judge.run('forget', '--prune', '--keep-last', '1', '--group-by', '')
      judge.run('check', '--read-data')
    })
  }
}
