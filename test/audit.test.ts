/** The audit trail: what gets into it, who sees it, and that nobody changes it unseen. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { AUDIT_CHAIN_START, checkAuditChain, hashAuditRecord, type AuditRecord, type ListAllAuditAnswer } from '@opencbr/contract'
import { openAudit } from '@opencbr/server'
import { ManualClock, runsOnPostgres, startTestService, type TestService } from '@opencbr/testkit'
import { sql } from 'kysely'
import { addTenant, addUser, create, logIn, PASSWORD, signedHeaders } from './support/tenants.ts'

const program = join(resolve(import.meta.dirname, '..'), 'packages/cli/src/main.ts')

const VAULT = { vault: { name: 'v', resources: [], billing: { cloud_type: 'public', consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 10 } } }

async function listAll(service: TestService, query = ''): Promise<AuditRecord[]> {
  const { status, body } = await service.call<ListAllAuditAnswer>('GET', `/x/v1/audit${query}`)
  assert.equal(status, 200, JSON.stringify(body))
  return body.records
}

async function listOwn(caller: Pick<TestService, 'call'>, query = ''): Promise<AuditRecord[]> {
  const { status, body } = await caller.call<{ records: AuditRecord[] }>('GET', `/x/v1/{project_id}/audit${query}`)
  assert.equal(status, 200, JSON.stringify(body))
  return body.records
}

test('a change is recorded with who, what, when, from where and its outcome; a listing is not', async () => {
  await using service = await startTestService({ agent: 'none' })
  service.clock.advanceSeconds(60)
  const { body: { vault }, headers } = await service.call<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', VAULT)
  await service.call('GET', '/v3/{project_id}/vaults')
  await service.call('POST', '/v3/{project_id}/policies/preview', {})
  await service.call('DELETE', '/v3/{project_id}/vaults/7c9f5f5e-0a4b-4d0e-8c39-2f6f0a5a4b11')
  const [failed, made, login, ...rest] = await listOwn(service)
  assert.deepEqual(rest, [])
  assert.ok(made && failed && login)
  const { hash, previous_hash: previous, ...shown } = made
  const { bootstrap } = service
  assert.deepEqual(shown, {
    sequence: 2, time: '2026-01-15T08:31:00.000000', request_id: headers.get('x-request-id'), operation: 'createVault', action: 'cbr:vaults:create',
    outcome: 'success', status: 200, error_code: null, user_id: failed.user_id, user_name: 'admin', domain_id: bootstrap.domain_id,
    project_id: bootstrap.project_id, credential: 'token', access_key: null, address: '127.0.0.1',
    targets: [{ type: 'project_id', id: bootstrap.project_id }, { type: 'vault_id', id: vault.id }],
  })
  assert.equal(previous, login.hash)
  assert.equal(hash, hashAuditRecord({ ...shown, previous_hash: previous }))
  assert.deepEqual([failed.operation, failed.outcome, failed.status, failed.error_code], ['deleteVault', 'failure', 404, 'BackupService.6105'])
  assert.deepEqual([login.operation, login.credential, login.user_name, login.action, login.outcome], ['createToken', 'password', 'admin', null, 'success'])
})

test('what was denied is recorded, reads too: without credentials, with wrong ones, in another project, without the role', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { body: { access_key: key } } = await service.call<{ access_key: { access_key: string, secret_key: string } }>('POST', '/x/v1/access-keys', { access_key: {} })
  const tenant = await addTenant(service, 'tenant')
  const reader = await addUser(service, { name: 'reader', project: { id: tenant.projectId }, role: 'read_only' })
  const since = (await listAll(service, '?limit=1'))[0]?.sequence ?? 0
  const vaults = '/v3/{project_id}/vaults'
  await service.call('GET', vaults, undefined, { headers: { 'x-auth-token': '' } })
  await service.call('GET', vaults, undefined, { headers: { 'x-auth-token': 'no such token' } })
  await service.call('GET', vaults, undefined, { headers: signedHeaders(service, 'GET', vaults, { accessKey: key.access_key, secretKey: 'wrong' }) })
  await service.call('GET', vaults, undefined, { headers: { 'x-auth-token': tenant.token } })
  await service.call('POST', `/v3/${tenant.projectId}/vaults`, VAULT, { headers: { 'x-auth-token': reader.token } })
  await service.call('GET', '/x/v1/users', undefined, { headers: { 'x-auth-token': tenant.token } })
  const user = { name: 'admin', password: 'not the password', domain: { name: service.bootstrap.domain_name } }
  await service.call('POST', '/v3/auth/tokens', { auth: { identity: { methods: ['password'], password: { user } } } }, { headers: { 'x-auth-token': '' } })
  const records = (await listAll(service, `?order=asc&marker=${since}`))
  assert.deepEqual(records.map((each) => [each.operation, each.status, each.user_name, each.credential, each.access_key, each.project_id]), [
    ['listVault', 401, null, 'none', null, null],
    ['listVault', 401, null, 'token', null, null],
    ['listVault', 401, null, 'access_key', key.access_key, null],
    ['listVault', 403, 'tenant-user', 'token', null, null],
    ['createVault', 403, 'reader', 'token', null, tenant.projectId],
    ['listAdministeredUsers', 403, 'tenant-user', 'token', null, null],
    ['createToken', 401, 'admin', 'password', null, null],
  ])
  assert.ok(records.every((each) => each.outcome === 'denied'))
})

test('nothing that was sent or answered as a secret is in it', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { body: { access_key: key } } = await service.call<{ access_key: { access_key: string, secret_key: string } }>('POST', '/x/v1/access-keys', { access_key: {} })
  const { body: { credential } } = await service.call<{ credential: { secret: string, securitytoken: string } }>(
    'POST', '/v3.0/OS-CREDENTIAL/securitytokens', { auth: { identity: { methods: ['token'] } } },
  )
  const user = await create(service, '/x/v1/users', 'user', { name: 'eva', password: PASSWORD })
  const token = await logIn(service, user.id)
  const { body: { vault } } = await service.call<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', VAULT)
  const { body: { recovery_kit: kit } } = await service.call<{ recovery_kit: { password: string } }>('GET', `/x/v1/{project_id}/vaults/${vault.id}/recovery-kit`)
  await service.call('DELETE', '/v3/auth/tokens', undefined, { headers: { 'x-subject-token': token } })
  const records = await listAll(service)
  assert.ok(records.some((each) => each.operation === 'showRecoveryKit'))
  assert.ok(records.some((each) => each.targets.some(({ id }) => id === key.access_key)))
  const kept = JSON.stringify([records, await service.service.deps.db.selectFrom('audit_begun').selectAll().execute()])
  for (const secret of [key.secret_key, credential.secret, credential.securitytoken, PASSWORD, token, service.token, kit.password, service.bootstrap.password]) {
    assert.ok(secret.length > 8 && !kept.includes(secret))
  }
})

test('a project sees its own, a domain that of its users, an administrator of the system all', async () => {
  await using service = await startTestService({ agent: 'none' })
  const here = await addTenant(service, 'here')
  const there = await addTenant(service, 'there', { ownDomain: true, role: 'administrator' })
  await here.call('POST', '/v3/{project_id}/vaults', VAULT)
  await there.call('POST', '/v3/{project_id}/vaults', VAULT)
  await there.call('GET', `/v3/${here.projectId}/vaults`)
  assert.deepEqual((await listOwn(here)).map((each) => [each.operation, each.user_id]), [['createVault', here.userId], ['createToken', here.userId]])
  assert.deepEqual((await listOwn(there)).map((each) => each.operation), ['createVault', 'createToken'])
  const denied = await here.call('GET', `/x/v1/${there.projectId}/audit`)
  assert.equal(denied.status, 403)

  await create(service, '/x/v1/role-assignments', 'role_assignment', { role: 'administrator', user_id: there.userId, domain_id: there.domainId })
  const domainToken = await logIn(service, there.userId, there.projectId)
  const { body } = await service.call<ListAllAuditAnswer>('GET', '/x/v1/audit', undefined, { headers: { 'x-auth-token': domainToken } })
  assert.equal(body.head, null)
  assert.deepEqual(new Set(body.records.map((each) => each.domain_id)), new Set([there.domainId]))
  assert.ok(body.records.some((each) => each.outcome === 'denied' && each.targets[0]?.id === here.projectId))

  assert.deepEqual((await listAll(service, `?project_id=${here.projectId}&operation=createVault`)).map((each) => each.user_id), [here.userId])
})

test('filters by time, user, operation and outcome, and pages both ways', async () => {
  await using service = await startTestService({ agent: 'none' })
  for (let hour = 1; hour <= 5; hour += 1) {
    service.clock.advanceSeconds(600)
    await service.call('DELETE', `/v3/{project_id}/policies/7c9f5f5e-0a4b-4d0e-8c39-2f6f0a5a4b1${hour}`)
  }
  const sequences = async (query: string): Promise<number[]> => (await listOwn(service, query)).map((each) => each.sequence)
  assert.deepEqual(await sequences('?operation=deletePolicy'), [6, 5, 4, 3, 2])
  assert.deepEqual(await sequences('?from=2026-01-15T08:50:00Z&to=2026-01-15T09:10:00Z'), [4, 3])
  assert.deepEqual(await sequences('?outcome=failure&order=asc&limit=2'), [2, 3])
  assert.deepEqual(await sequences('?outcome=failure&order=asc&limit=2&marker=3'), [4, 5])
  assert.deepEqual(await sequences('?limit=2&marker=4'), [3, 2])
  assert.deepEqual(await sequences('?user_id=nobody'), [])
  assert.equal((await service.call('GET', '/x/v1/{project_id}/audit?from=yesterday')).status, 400)
  assert.equal((await service.call('GET', '/x/v1/{project_id}/audit?outcome=good')).status, 400)
})

async function runCli({ url, token, projectId }: TestService, ...args: string[]): Promise<{ code: number | null, stdout: string, stderr: string }> {
  // By token: the service's clock stands still, and signatures have a time.
  const env = { PATH: dirname(process.execPath), OPENCBR_ENDPOINT: url, OPENCBR_TOKEN: token, OPENCBR_PROJECT_ID: projectId }
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, 'audit', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit') as Promise<[number | null]>])
  return { code, stdout, stderr }
}

/** Past the triggers that keep everybody else from it. */
async function tamper({ service: { deps: { db } } }: TestService, statement: ReturnType<typeof sql>): Promise<void> {
  await assert.rejects(statement.execute(db), /audit records are not changed/)
  if (runsOnPostgres()) await sql`alter table audit_records disable trigger user`.execute(db)
  else for (const event of ['update', 'delete']) await sql`drop trigger if exists ${sql.ref(`audit_records_no_${event}`)}`.execute(db)
  await statement.execute(db)
}

test('the command line walks along the chain, and names the first record that was altered, removed or put back', async () => {
  await using service = await startTestService({ agent: 'none' })
  for (let count = 0; count < 4; count += 1) await service.call('DELETE', '/v3/{project_id}/policies/7c9f5f5e-0a4b-4d0e-8c39-2f6f0a5a4b11')
  const whole = await runCli(service, 'verify')
  assert.deepEqual([whole.code, whole.stderr.slice(0, 10)], [0, '5 records,'], whole.stderr)
  assert.match(whole.stdout, /^5:[0-9a-f]{64}\n$/)
  assert.equal((await runCli(service, 'verify', '--expect', whole.stdout.trim())).code, 0)
  const listed = await runCli(service, 'list', '--operation', 'deletePolicy', '--limit', '2')
  assert.match(listed.stdout, /deletePolicy +failure +404/)
  assert.match(listed.stderr, /--marker 4 goes on/)

  const name = async (reason: RegExp, ...args: string[]): Promise<void> => {
    const { code, stderr } = await runCli(service, 'verify', ...args)
    assert.equal(code, 1)
    assert.match(stderr, reason)
  }
  const { deps: { db } } = service.service
  const before = await db.selectFrom('audit_records').selectAll().where('sequence', '=', 3).executeTakeFirstOrThrow()
  await tamper(service, sql`update audit_records set user_name = 'somebody else' where sequence = 3`)
  await name(/broken at record 3: it was altered/)
  // With a hash that fits, the next one no longer does.
  const [wire] = await listAll(service, '?order=asc&marker=2&limit=1')
  assert.ok(wire)
  const { hash: _, ...unhashed } = wire
  await sql`update audit_records set hash = ${hashAuditRecord(unhashed)} where sequence = 3`.execute(db)
  await name(/broken at record 4: it does not name the hash/)
  await sql`update audit_records set targets = 'no JSON', user_name = ${before.user_name}, hash = ${before.hash} where sequence = 3`.execute(db)
  await name(/broken at record 3: it was altered/)
  await sql`delete from audit_records where sequence = 3`.execute(db)
  await name(/broken at record 3: it is missing: record 4 follows/)
  await db.insertInto('audit_records').values(before).execute()
  assert.equal((await runCli(service, 'verify')).code, 0)

  await sql`delete from audit_records where sequence = 5`.execute(db)
  await name(/broken at record 5: it is missing/)
  const fourth = await db.selectFrom('audit_records').selectAll().where('sequence', '=', 4).executeTakeFirstOrThrow()
  await db.updateTable('audit_head').set({ sequence: 4, hash: fourth.hash }).execute()
  await name(/broken at record 4: the end of the chain was not sealed/)
  await name(/broken/, '--expect', whole.stdout.trim())
})

test('two servers that write at once make one chain', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { db, secrets } = service.service.deps
  const other = await openAudit({ db, clock: service.clock, secrets })
  const entry = {
    calledAt: service.clock.now(), operation: 'deleteVault', action: null, user: null, projectId: null, credential: 'none', accessKey: null,
    address: '127.0.0.1', outcome: 'denied', status: 401, errorCode: null,
  } as const
  await Promise.all(Array.from({ length: 40 }, async (_each, number) => {
    await other.record({ ...entry, targets: [], requestId: `other ${number}` })
    await service.call('DELETE', '/v3/{project_id}/policies/7c9f5f5e-0a4b-4d0e-8c39-2f6f0a5a4b11')
  }))
  await other.close()
  const checked = checkAuditChain({ sequence: 0, hash: AUDIT_CHAIN_START }, await listAll(service, '?order=asc'))
  assert.equal('end' in checked && checked.end.sequence, 81)
})

test('a change whose record cannot be written is answered as it is, and one that cannot be begun is not made', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { db } = service.service.deps
  const failing = async (table: string): Promise<void> => {
    await sql`alter table ${sql.table(table)} rename to hidden`.execute(db)
  }
  const restore = async (table: string): Promise<void> => void await sql`alter table hidden rename to ${sql.table(table)}`.execute(db)
  const make = (): Promise<Response> => fetch(`${service.url}/v3/${service.projectId}/vaults`, {
    method: 'POST', headers: { 'x-auth-token': service.token, 'content-type': 'application/json' }, body: JSON.stringify(VAULT),
  })
  await failing('audit_head')
  assert.equal((await make()).status, 200)
  await restore('audit_head')
  assert.equal((await listOwn(service, '?operation=createVault')).length, 0)
  assert.equal((await db.selectFrom('audit_begun').selectAll().execute()).length, 1)
  service.clock.advanceSeconds(3601)
  const other = await openAudit({ db, clock: service.clock, secrets: service.service.deps.secrets })
  await other.close()
  const token = await logInAgain(service)
  const caller = { call: ((method, path) => service.call(method, path, undefined, { headers: { 'x-auth-token': token } })) as TestService['call'] }
  assert.deepEqual((await listOwn(caller, '?operation=createVault')).map((each) => each.outcome), ['unknown'])

  await failing('audit_begun')
  assert.equal((await make()).status, 500)
  await restore('audit_begun')
  const { body } = await service.call<{ count: number }>('GET', '/v3/{project_id}/vaults', undefined, { headers: { 'x-auth-token': token } })
  assert.equal(body.count, 1)
})

async function logInAgain({ url, bootstrap }: TestService): Promise<string> {
  const user = { name: bootstrap.user_name, password: bootstrap.password, domain: { name: bootstrap.domain_name } }
  const answer = await fetch(`${url}/v3/auth/tokens`, {
    method: 'POST', body: JSON.stringify({ auth: { identity: { methods: ['password'], password: { user } }, scope: { project: { id: bootstrap.project_id } } } }),
  })
  await answer.text()
  return answer.headers.get('x-subject-token') ?? ''
}

test('a call that dies with its server is recorded as unknown at the next start', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'opencbr-audit-'))
  const clock = new ManualClock()
  try {
    {
      await using service = await startTestService({ agent: 'none', dataDir, clock })
      const { db, secrets } = service.service.deps
      const audit = await openAudit({ db, clock, secrets })
      await audit.begin({
        requestId: 'f'.repeat(32), calledAt: clock.now(), operation: 'deleteVault', action: 'cbr:vaults:delete', user: null, projectId: service.projectId,
        credential: 'token', accessKey: null, address: '127.0.0.1', targets: [],
      })
      await audit.close()
      // It may still be carried out.
      assert.equal((await listOwn(service, '?outcome=unknown')).length, 0)
      clock.advanceSeconds(3601)
      if (runsOnPostgres()) await audit.settle()
    }
    await using again = await startTestService({ agent: 'none', dataDir, clock })
    const [record, ...more] = await listOwn(again, '?outcome=unknown')
    assert.deepEqual(more, [])
    assert.deepEqual([record?.operation, record?.request_id, record?.status], ['deleteVault', 'f'.repeat(32), null])
    assert.deepEqual(await again.service.deps.db.selectFrom('audit_begun').selectAll().execute(), [])
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
})
