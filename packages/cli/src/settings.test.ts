import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { CommandFailure } from './exit-codes.ts'
import { readServeSettings, type ServeFlags } from './settings.ts'

const folder = mkdtempSync(join(tmpdir(), 'opencbr-settings-'))
after(() => rmSync(folder, { recursive: true }))

function writeConfig(content: unknown): string {
  const path = join(folder, 'opencbr.json')
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

function refusalOf(flags: ServeFlags, environment: Record<string, string> = {}): string {
  try {
    readServeSettings(flags, environment, '/srv')
  } catch (error) {
    assert.ok(error instanceof CommandFailure)
    assert.equal(error.ending, 'usage')
    return error.message
  }
  throw new assert.AssertionError({ message: 'it was accepted' })
}

test('without any setting the service runs on loopback, and may read nothing', () => {
  assert.deepEqual(readServeSettings({}, {}, '/srv'), {
    dataDir: '/srv/data',
    database: undefined,
    masterKeyFile: undefined,
    listen: { host: '127.0.0.1', port: 8776 },
    region: 'local-1',
    allowPaths: [],
    strictResources: false,
    logLevel: 'warn',
  })
})

test('the command line wins over the environment, and that over the file', () => {
  const config = writeConfig({
    data: 'from-file', listen: '[::1]:1', allow_paths: ['/from/file'], region: 'file-1', strict_resources: true, log_level: 'error',
  })
  const fromFile = { dataDir: '/srv/from-file', database: undefined, masterKeyFile: undefined, listen: { host: '::1', port: 1 }, region: 'file-1', allowPaths: ['/from/file'], strictResources: true, logLevel: 'error' }
  assert.deepEqual(readServeSettings({ config }, {}, '/srv'), fromFile)
  assert.deepEqual(readServeSettings({}, { OPENCBR_CONFIG: config }, '/srv'), fromFile)

  const environment = {
    OPENCBR_DATA: '/from/environment', OPENCBR_LISTEN: 'localhost:2', OPENCBR_ALLOW_PATH: '/one:two', OPENCBR_REGION: 'environment-1',
    OPENCBR_STRICT_RESOURCES: 'false', OPENCBR_LOG_LEVEL: 'debug',
  }
  assert.deepEqual(readServeSettings({ config }, environment, '/srv'), {
    dataDir: '/from/environment', database: undefined, masterKeyFile: undefined, listen: { host: 'localhost', port: 2 }, region: 'environment-1', allowPaths: ['/one', '/srv/two'],
    strictResources: false, logLevel: 'debug',
  })

  const flags = {
    config, data: 'flag', listen: '0.0.0.0:3', allowPath: ['/flag'], region: 'flag-1', strictResources: true, logLevel: 'silent',
  }
  assert.deepEqual(readServeSettings(flags, environment, '/srv'), {
    dataDir: '/srv/flag', database: undefined, masterKeyFile: undefined, listen: { host: '0.0.0.0', port: 3 }, region: 'flag-1', allowPaths: ['/flag'], strictResources: true, logLevel: 'silent',
  })
})

test('an empty variable is as good as none', () => {
  assert.equal(readServeSettings({}, { OPENCBR_DATA: '', OPENCBR_ALLOW_PATH: '' }, '/srv').dataDir, '/srv/data')
})

test('a wrong setting is named, and where it stands', () => {
  for (const listen of ['8776', 'localhost', 'localhost:', ':8776', '::1:8776', 'localhost:65536', 'localhost:x', '']) {
    assert.match(refusalOf({ listen }), /the command line\) is not of the form HOST:PORT/, listen)
  }
  assert.match(refusalOf({}, { OPENCBR_LISTEN: 'nowhere' }), /OPENCBR_LISTEN/)
  assert.match(refusalOf({ logLevel: 'loud' }), /loud .* silent, error, warn, info, debug/)
  assert.match(refusalOf({}, { OPENCBR_STRICT_RESOURCES: 'perhaps' }), /OPENCBR_STRICT_RESOURCES must be true or false/)
  assert.match(refusalOf({ config: writeConfig({ region: 7 }) }), /region in .* must be a text/)
  assert.match(refusalOf({ config: writeConfig({ allow_paths: '/one' }) }), /allow_paths in .* must be a list of texts/)
  assert.match(refusalOf({ config: writeConfig({ allowPaths: [] }) }), /unknown member allowPaths; known are data, .*listen/)
  assert.match(refusalOf({ config: writeConfig('{') }), /cannot be read/)
  assert.match(refusalOf({ config: writeConfig([]) }), /is not a JSON object/)
  assert.match(refusalOf({ config: join(folder, 'missing.json') }), /cannot be read: ENOENT/)
})

function readPlace(storage: string, environment: Record<string, string> = {}): { place: string | undefined, accessKey: string | undefined } {
  const { storage: place, storageKeys } = readServeSettings({ storage }, environment, '/srv')
  return { place, accessKey: storageKeys?.accessKey }
}

test('vaults lie in a directory, or in a bucket whose keys are in the environment', () => {
  const keys = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 's' }
  assert.deepEqual(readPlace('vaults', keys), { place: '/srv/vaults', accessKey: undefined })
  assert.deepEqual(readPlace('file:///mnt/vaults'), { place: '/mnt/vaults', accessKey: undefined })
  assert.deepEqual(readPlace('s3://s3.example.org/bucket/vaults', keys), { place: 's3://s3.example.org/bucket/vaults', accessKey: 'a' })
  assert.match(refusalOf({ storage: 's3://s3.example.org/bucket' }), /AWS_ACCESS_KEY_ID/)
  assert.match(refusalOf({ storage: 'ftp://example.org/x' }, keys), /unknown kind of address/)
  assert.ok(!refusalOf({ storage: 's3://user:hidden@example.org/bucket' }, keys).includes('hidden'))
})

test('an outside Keystone is asked when it is named, with the user that the environment or the file has', () => {
  const named = { OPENCBR_IDENTITY: 'keystone', OPENCBR_KEYSTONE_URL: 'http://keystone:5000/v3' }
  assert.deepEqual(readServeSettings({}, named, '/srv').keystone, {
    url: 'http://keystone:5000/v3', roles: { admin: 'administrator', member: 'full', reader: 'read_only' },
  })
  const config = writeConfig({ identity: 'keystone', keystone_url: 'https://file/', keystone_user: 'cbr', keystone_password: 'secret', keystone_project: 'ours' })
  assert.deepEqual(readServeSettings({ config, keystoneRoles: 'admin=full, backup=operator', keystoneCache: '5' }, {}, '/srv').keystone, {
    url: 'https://file/', roles: { admin: 'full', backup: 'operator' }, cacheSeconds: 5,
    user: { name: 'cbr', password: 'secret', domainName: 'Default', projectName: 'ours', projectDomainName: 'Default' },
  })
  assert.equal(readServeSettings({ config, keystoneAccessKeys: true }, {}, '/srv').keystone?.accessKeys, true)
  assert.equal(readServeSettings({ config }, { OPENCBR_KEYSTONE_ACCESS_KEYS: 'true' }, '/srv').keystone?.accessKeys, true)
  assert.equal(readServeSettings({ identity: 'own' }, { OPENCBR_KEYSTONE_URL: 'http://keystone:5000/v3' }, '/srv').keystone, undefined)
})

test('a Keystone that cannot be meant is refused, and no password is repeated', () => {
  const named = { OPENCBR_IDENTITY: 'keystone', OPENCBR_KEYSTONE_URL: 'http://keystone:5000/v3' }
  assert.match(refusalOf({ identity: 'ldap' }), /not one of own, keystone/)
  assert.match(refusalOf({ identity: 'keystone' }), /keystone_url/)
  assert.match(refusalOf({ keystoneUrl: 'http://keystone' }), /not identity keystone/)
  assert.match(refusalOf({ keystoneRoles: 'admin=root' }, named), /keystone_roles/)
  assert.match(refusalOf({ keystoneCache: '3600' }, named), /keystone_cache/)
  assert.match(refusalOf({ keystoneAccessKeys: true }, named), /needs a keystone_user/)
  assert.doesNotMatch(refusalOf({ identity: 'keystone', keystoneUrl: 'http://cbr:hunter2@keystone/v3' }), /hunter2/)
  const lonely = refusalOf({}, { ...named, OPENCBR_KEYSTONE_PASSWORD: 'hunter2' })
  assert.match(lonely, /go together/)
  assert.doesNotMatch(lonely, /hunter2/)
})

test('the prune grace is a time with its unit, wherever it stands', () => {
  assert.equal(readServeSettings({ pruneGrace: '24h' }, {}, '/srv').pruneGraceMs, 24 * 3600_000)
  assert.equal(readServeSettings({}, { OPENCBR_PRUNE_GRACE: '90s' }, '/srv').pruneGraceMs, 90_000)
  assert.equal(readServeSettings({ config: writeConfig({ prune_grace: '7d' }) }, {}, '/srv').pruneGraceMs, 7 * 24 * 3600_000)
  assert.equal(readServeSettings({ pruneGrace: '0' }, { OPENCBR_PRUNE_GRACE: '90s' }, '/srv').pruneGraceMs, 0)
  for (const wrong of ['24', '-1h', 'long', '1.5h', '24 h']) assert.match(refusalOf({ pruneGrace: wrong }), /prune_grace.*such as 24h/)
})

const readFlags = (flags: ServeFlags) => readServeSettings(flags, {}, '/here')

test('TLS takes two files, and proxies are addresses and networks', () => {
  assert.deepEqual(readFlags({ tlsCert: 'a.pem', tlsKey: '/b.key' }).tls, { certFile: '/here/a.pem', keyFile: '/b.key' })
  assert.equal(readFlags({}).tls, undefined)
  assert.throws(() => readFlags({ tlsCert: 'a.pem' }), /both a certificate and its key/)
  assert.deepEqual(readFlags({ trustProxy: '127.0.0.1, 10.0.0.0/8,::1' }).trustProxy, ['127.0.0.1', '10.0.0.0/8', '::1'])
  for (const wrong of ['proxy.example', '10.0.0.0/33', '10.0.0.0/', 'true']) assert.throws(() => readFlags({ trustProxy: wrong }), /is neither an address nor a network/)
})

function readPaths(flags: ServeFlags, environment: Record<string, string> = {}): readonly unknown[] {
  const { allowPaths, projectPaths } = readServeSettings(flags, environment, '/srv')
  return [allowPaths, projectPaths]
}

test('paths are allowed to everybody, or to a project', () => {
  const [one, two] = ['1'.repeat(32), '2'.repeat(32)]
  const expected = [['/all', '/srv/more'], { [one]: ['/a', '/srv/b'], [two]: ['/a'] }]
  assert.deepEqual(readPaths({ allowPath: [`${one}:/a`, '/all', `${one}:b`, 'more', `${two}:/a`] }), expected)
  assert.deepEqual(readPaths({}, { OPENCBR_ALLOW_PATH: `${one}:/a:/all:${one}:b:more:${two}:/a` }), expected)
  assert.deepEqual(readPaths({ config: writeConfig({ allow_paths: ['/all', `${one}:/a`, 'more', `${one}:b`, `${two}:/a`] }) }), expected)
  // Nothing but an id in front of a colon is one.
  assert.deepEqual(readPaths({ allowPath: ['/a:b', `x${one}:/a`] }), [['/a:b', `/srv/x${one}:/a`], undefined])
})

test('receivers of webhooks are read from a file of their own, and no refusal repeats what stands in it', () => {
  const path = join(folder, 'webhooks.json')
  const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`
  const write = (content: unknown): void => writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  write([{ url: 'https://a.example/hook', secret }, { url: 'http://b.example', secret, events: ['task.failed'] }])
  assert.deepEqual(readServeSettings({ webhooks: path }, {}, '/srv').webhooks, [
    { url: 'https://a.example/hook', secret }, { url: 'http://b.example', secret, events: ['task.failed'] },
  ])
  assert.equal(readServeSettings({}, { OPENCBR_WEBHOOKS: path }, '/srv').webhooks?.length, 2)
  assert.equal(readServeSettings({ config: writeConfig({ webhooks: path }) }, {}, '/srv').webhooks?.length, 2)
  const url = 'https://a.example'
  const wrong: readonly (readonly [unknown, RegExp])[] = [
    [`[{"url": "${url}", "secret": "${secret}"`, /are not JSON/],
    [{ url, secret }, /are not a list of receivers/],
    [[], /are not a list of receivers/],
    [[7], /\[0\] is no object/],
    [[{ url: 'ftp://a', secret }], /\[0\]\.url is not an address/],
    [[{ url: `https://me:${secret}@a.example`, secret }], /\[0\]\.url holds a user/],
    [[{ url, secret }, { url, secret }], /\[1\]\.url stands there twice/],
    [[{ url, secret: 'whsec_short' }], /\[0\]\.secret is not whsec_/],
    [[{ url, secret: secret.slice(6) }], /\[0\]\.secret is not whsec_/],
    [[{ url, secret, events: ['task.ended'] }], /\[0\]\.events is not a list of vault\.threshold_reached, /],
    [[{ url, secret, retries: 3 }], /\[0\] has an unknown member retries/],
  ]
  for (const [content, pattern] of wrong) {
    write(content)
    const refusal = refusalOf({ webhooks: path })
    assert.match(refusal, pattern)
    assert.ok(!refusal.includes(secret))
  }
  assert.match(refusalOf({ webhooks: join(folder, 'none.json') }), /cannot be read/)
})
