import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { findConnection } from './connection.ts'
import { CommandFailure } from './exit-codes.ts'

const bootstrap = {
  endpoint: 'http://127.0.0.1:8776/', region: 'local-1', domain_name: 'd', domain_id: '1', project_name: 'local-1', project_id: 'p1',
  user_name: 'admin', password: 'secret', access_key: 'AK', secret_key: 'SK',
}
const expected = {
  endpoint: 'http://127.0.0.1:8776',
  credentials: { kind: 'key', accessKey: 'AK', secretKey: 'SK' },
  projectId: 'p1',
  login: { userName: 'admin', domainName: 'd', password: 'secret' },
}
const remote = { OPENCBR_ENDPOINT: 'https://cbr.example', OPENCBR_TOKEN: 'T', OPENCBR_PROJECT_ID: 'p2' }

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'opencbr-connection-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function writeBootstrap(name: string, content: object): void {
  mkdirSync(join(folder, name))
  writeFileSync(join(folder, name, 'bootstrap.json'), JSON.stringify(content))
}

function refusalOf(data: string | undefined, environment: Record<string, string> = {}): string {
  try {
    findConnection(data, environment, folder)
  } catch (error) {
    assert.ok(error instanceof CommandFailure)
    assert.equal(error.ending, 'usage')
    return error.message
  }
  throw new assert.AssertionError({ message: 'it was accepted' })
}

test('--data wins, then the endpoint, then OPENCBR_DATA, then ./data', () => {
  writeBootstrap('data', { ...bootstrap, project_id: 'usual' })
  writeBootstrap('other', bootstrap)
  assert.deepEqual(findConnection('other', { ...remote, OPENCBR_DATA: 'data' }, folder), expected)
  assert.deepEqual(findConnection(undefined, { ...remote, OPENCBR_DATA: 'data' }, folder), {
    endpoint: 'https://cbr.example', credentials: { kind: 'token', token: 'T' }, projectId: 'p2', login: undefined,
  })
  assert.deepEqual(findConnection(undefined, { OPENCBR_DATA: 'other' }, folder), expected)
  assert.equal(findConnection(undefined, {}, folder).projectId, 'usual')
})

test('an endpoint goes with a token or with a pair of keys', () => {
  const keys = { OPENCBR_ENDPOINT: 'http://h', OPENCBR_ACCESS_KEY: 'A', OPENCBR_SECRET_KEY: 'S' }
  assert.deepEqual(findConnection(undefined, keys, folder), {
    endpoint: 'http://h', credentials: { kind: 'key', accessKey: 'A', secretKey: 'S' }, projectId: undefined, login: undefined,
  })
  assert.match(refusalOf(undefined, { OPENCBR_ENDPOINT: 'http://h' }), /set OPENCBR_TOKEN/)
  assert.match(refusalOf(undefined, { OPENCBR_ENDPOINT: 'http://h', OPENCBR_ACCESS_KEY: 'A' }), /OPENCBR_SECRET_KEY/)
})

test('what is missing is said', () => {
  assert.match(refusalOf(undefined), /--data DIR/)
  assert.match(refusalOf('nowhere'), /nowhere\/bootstrap\.json cannot be read .*opencbr serve --data/)
  writeBootstrap('begun', { ...bootstrap, endpoint: '' })
  assert.match(refusalOf('begun'), /bootstrap\.json has no endpoint/)
})
