/** Policies of a domain and what they make of its projects, over the real API. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Deployment, OrganizationPolicy, Policy, PolicySchedule } from '@opencbr/contract'
import { ManualClock, startTestService, type CallOptions, type TestAnswer, type TestService } from '@opencbr/testkit'
import { addTenant, addUser, create as make, logIn, PASSWORD, type Tenant } from './support/tenants.ts'

const ORGANIZATION = '/v3/{project_id}/organization-policies'
const POLICIES = '/v3/{project_id}/policies'
const VAULTS = '/v3/{project_id}/vaults'
const NIGHTLY = 'FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=01;BYMINUTE=30'

type Caller = Pick<TestService, 'call'> | Pick<Tenant, 'call'>

function baseline(over: object = {}): { policy: object } {
  return {
    policy: {
      name: 'baseline', operation_type: 'backup', policy_name: 'baseline-nightly', policy_enabled: true,
      policy_operation_definition: { retention_duration_days: 30, timezone: 'UTC+01:00' },
      policy_trigger: { properties: { pattern: [NIGHTLY] } }, ...over,
    },
  }
}

async function create(caller: Caller, body: object = baseline()): Promise<OrganizationPolicy> {
  const answer = await caller.call<{ policy: OrganizationPolicy }>('POST', ORGANIZATION, body)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body.policy
}

async function update(caller: Caller, id: string, change: object): Promise<OrganizationPolicy> {
  const answer = await caller.call<{ policy: OrganizationPolicy }>('PUT', `${ORGANIZATION}/${id}`, { policy: change })
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body.policy
}

async function show(caller: Caller, id: string): Promise<OrganizationPolicy> {
  return (await caller.call<{ policy: OrganizationPolicy }>('GET', `${ORGANIZATION}/${id}`)).body.policy
}

async function deployments(caller: Caller, id: string): Promise<Deployment[]> {
  const { status, body } = await caller.call<{ policies: Deployment[], count: number }>('GET', `${ORGANIZATION}/${id}/policy-detail`)
  assert.equal(status, 200, JSON.stringify(body))
  assert.equal(body.count, body.policies.length)
  return body.policies
}

async function policiesOf(caller: Caller): Promise<Policy[]> {
  return (await caller.call<{ policies: Policy[] }>('GET', POLICIES)).body.policies
}

async function onlyPolicyOf(caller: Caller): Promise<Policy> {
  const [policy, ...others] = await policiesOf(caller)
  assert.ok(policy !== undefined && others.length === 0)
  return policy
}

function expectRefusal(answer: TestAnswer<unknown>, status: number, code: string, words: RegExp): void {
  const body = answer.body as { error_code?: string, error_msg?: string }
  assert.deepEqual([answer.status, body.error_code], [status, code], JSON.stringify(body))
  assert.match(body.error_msg ?? '', words)
}

async function createVault(caller: Caller, policyId: string): Promise<string> {
  const { status, body } = await caller.call<{ vault: { id: string } }>('POST', VAULTS, {
    vault: {
      name: 'docs', resources: [], backup_policy_id: policyId,
      billing: { object_type: 'turbo', protect_type: 'backup', size: 10, consistent_level: 'crash_consistent' },
    },
  })
  assert.equal(status, 200, JSON.stringify(body))
  return body.vault.id
}

test('a policy of the domain is a policy in each of its projects, and changes and goes with it', async () => {
  await using service = await startTestService({ agent: 'none' })
  const second = await addTenant(service, 'second')
  const foreign = await addTenant(service, 'foreign', { ownDomain: true })
  const made = await create(service)
  assert.deepEqual({ ...made, id: '' }, {
    id: '', domain_id: service.bootstrap.domain_id, domain_name: service.bootstrap.domain_name, operation_type: 'backup', name: 'baseline', description: '',
    effective_scope: 'root', policy_name: 'baseline-nightly', policy_enabled: true,
    policy_operation_definition: {
      max_backups: -1, retention_duration_days: 30, day_backups: 0, week_backups: 0, month_backups: 0, year_backups: 0,
      timezone: 'UTC+01:00', full_backup_interval: -1, created_by: 'customer',
    },
    policy_trigger: { properties: { pattern: [NIGHTLY], start_time: '2026-01-15 08:30:00' } },
    status: 'available',
  })
  assert.deepEqual(await show(service, made.id), made)
  const [first, other] = [await onlyPolicyOf(service), await onlyPolicyOf(second)]
  for (const policy of [first, other]) {
    assert.deepEqual([policy.name, policy.enabled, policy.policy_type, policy.operation_definition, policy.trigger.properties.pattern], [
      'baseline-nightly', true, 'organization_policy_v1', made.policy_operation_definition, [NIGHTLY],
    ])
  }
  assert.deepEqual(await policiesOf(foreign), [])
  assert.deepEqual(await deployments(service, made.id), [[service.projectId, first.id], [second.projectId, other.id]].toSorted().map(([projectId, policyId]) => (
    { domain_id: service.bootstrap.domain_id, policy_id: policyId, project_id: projectId, status: 'available' })))

  // A project binds it to its vaults; what it says is the domain's affair.
  const vaultId = await createVault(second, other.id)
  for (const [method, path, body] of [
    ['PUT', `${POLICIES}/${other.id}`, { policy: { name: 'mine' } }], ['DELETE', `${POLICIES}/${other.id}`, undefined],
    ['PUT', `/x/v1/{project_id}/policies/${other.id}/schedule`, { schedule: { time_zone: 'Europe/Berlin' } }],
  ] as const) {
    expectRefusal(await second.call(method, path, body), 400, 'BackupService.9900', /Invalid policy_id provided: .* organization policy/)
  }

  const off = await update(service, made.id, { policy_enabled: false, policy_name: 'weekly', policy_trigger: { properties: { pattern: ['FREQ=WEEKLY;BYDAY=SU;BYHOUR=03;BYMINUTE=00'] } } })
  assert.deepEqual([off.policy_enabled, off.policy_name, off.name, off.status], [false, 'weekly', 'baseline', 'available'])
  const changed = await onlyPolicyOf(second)
  assert.deepEqual([changed.id, changed.enabled, changed.name, changed.trigger.properties.pattern], [other.id, false, 'weekly', off.policy_trigger.properties.pattern])
  assert.deepEqual(changed.associated_vaults?.map((vault) => vault.vault_id), [vaultId])
  await update(service, made.id, { policy_enabled: true, policy_operation_definition: { max_backups: 5 } })
  const again = await onlyPolicyOf(second)
  assert.deepEqual([again.enabled, again.operation_definition.max_backups, again.operation_definition.retention_duration_days], [true, 5, -1])
  const { body } = await second.call<{ schedule: PolicySchedule }>('GET', `/x/v1/{project_id}/policies/${other.id}/schedule`)
  assert.match(body.schedule.next_run_at ?? '', /^2026-01-18T03:00/)

  assert.equal((await service.call('DELETE', `${ORGANIZATION}/${made.id}`)).status, 204)
  assert.deepEqual([await policiesOf(service), await policiesOf(second)], [[], []])
  for (const path of [`${ORGANIZATION}/${made.id}`, `${ORGANIZATION}/${made.id}/policy-detail`]) {
    expectRefusal(await service.call('GET', path), 404, 'BackupService.6000', /does not exist/)
  }
})

test('a scope may name projects, and those that it leaves lose the policy', async () => {
  await using service = await startTestService({ agent: 'none' })
  const [second, third] = [await addTenant(service, 'second'), await addTenant(service, 'third')]
  const foreign = await addTenant(service, 'foreign', { ownDomain: true })
  const made = await create(service, baseline({ effective_scope: ` ${second.projectId.toUpperCase()} , ${second.projectId}`, description: 'for one' }))
  const placesOf = async () => (await deployments(service, made.id)).map((each) => each.project_id)
  assert.deepEqual(await placesOf(), [second.projectId])
  const kept = await onlyPolicyOf(second)
  await update(service, made.id, { effective_scope: `${second.projectId},${third.projectId}` })
  assert.deepEqual(await placesOf(), [second.projectId, third.projectId].toSorted())
  assert.equal((await onlyPolicyOf(second)).id, kept.id)
  await update(service, made.id, { effective_scope: third.projectId, policy_name: 'third' })
  assert.deepEqual([await policiesOf(second), (await onlyPolicyOf(third)).name], [[], 'third'])

  // A project of somebody else's and one that does not exist are the same; nothing has changed then.
  for (const scope of [foreign.projectId, 'f'.repeat(32)]) {
    const words = new RegExp(`Invalid policy.effective_scope provided: the domain has no project ${scope}`)
    expectRefusal(await service.call('PUT', `${ORGANIZATION}/${made.id}`, { policy: { name: 'x', effective_scope: scope } }), 400, 'BackupService.9900', words)
    expectRefusal(await service.call('POST', ORGANIZATION, baseline({ effective_scope: scope })), 400, 'BackupService.9900', words)
  }
  expectRefusal(await service.call('POST', ORGANIZATION, baseline({ effective_scope: 'ou-1' })), 400, 'BackupService.9900', /neither root nor the id/)
  assert.deepEqual([(await show(service, made.id)).name, await policiesOf(foreign)], ['baseline', []])

  // A new project is not named by it; one that is deleted takes its policy along.
  await addTenant(service, 'fourth')
  assert.equal((await show(service, made.id)).status, 'available')
  assert.equal((await service.call('DELETE', `/x/v1/projects/${third.projectId}`)).status, 204)
  assert.deepEqual(await placesOf(), [])
  assert.equal((await service.call('DELETE', `${ORGANIZATION}/${made.id}`)).status, 204)
})

test('a project that is made later gets it too, also when the server was killed in between', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'opencbr-test-'))
  try {
    const clock = new ManualClock()
    let id: string
    let late: Tenant
    {
      await using service = await startTestService({ agent: 'none', dataDir, clock })
      id = (await create(service)).id
      clock.advanceSeconds(3600)
      late = await addTenant(service, 'late')
      assert.equal((await show(service, id)).status, 'syncing')
      assert.equal((await deployments(service, id)).length, 1)
    }
    await using service = await startTestService({ agent: 'none', dataDir, clock })
    assert.equal((await show(service, id)).status, 'syncing')
    await service.service.scheduler.tick()
    assert.equal((await show(service, id)).status, 'available')
    const places = (await deployments(service, id)).map((each) => each.project_id)
    assert.deepEqual(places, [service.projectId, late.projectId].toSorted())
    await service.service.scheduler.tick()
    const { body } = await service.call<{ policies: Policy[] }>('GET', POLICIES.replace('{project_id}', late.projectId), undefined, { headers: { 'x-auth-token': late.token } })
    assert.deepEqual(body.policies.map((policy) => [policy.policy_type, policy.trigger.properties.start_time]), [['organization_policy_v1', '2026-01-15 08:30:00']])
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
})

test('what a locked vault holds on to stays with the project, and keeps what it keeps', async () => {
  await using service = await startTestService({ agent: 'none' })
  const second = await addTenant(service, 'second')
  const made = await create(service)
  const deployed = await onlyPolicyOf(second)
  const vaultId = await createVault(second, deployed.id)
  assert.equal((await second.call('PUT', `${VAULTS}/${vaultId}`, { vault: { locked: true } })).status, 200)
  const less = { name: 'less', policy_operation_definition: { retention_duration_days: 1, timezone: 'UTC+01:00' } }
  expectRefusal(await service.call('PUT', `${ORGANIZATION}/${made.id}`, { policy: less }), 400, 'BackupService.6110', /locked/)
  assert.deepEqual(await show(service, made.id), made, 'nothing has changed')
  assert.equal((await onlyPolicyOf(service)).operation_definition.retention_duration_days, 30)
  assert.equal((await service.call('DELETE', `${ORGANIZATION}/${made.id}`)).status, 204)
  assert.deepEqual(await policiesOf(service), [])
  const left = await onlyPolicyOf(second)
  assert.deepEqual([left.id, left.policy_type, left.enabled, left.associated_vaults?.length], [deployed.id, 'organization_policy_removed', true, 1])
  assert.equal((await second.call('PUT', `${POLICIES}/${left.id}`, { policy: { name: 'mine' } })).status, 200)
})

test('only who may do it in the whole domain does it, and in the own domain only', async () => {
  await using service = await startTestService({ agent: 'none' })
  const made = await create(service)
  const second = await addTenant(service, 'second', { role: 'administrator' })
  const calls: readonly (readonly [string, string, object?])[] = [
    ['GET', ORGANIZATION], ['POST', ORGANIZATION, baseline()], ['GET', `${ORGANIZATION}/${made.id}`], ['PUT', `${ORGANIZATION}/${made.id}`, { policy: {} }],
    ['DELETE', `${ORGANIZATION}/${made.id}`], ['GET', `${ORGANIZATION}/${made.id}/policy-detail`],
  ]
  for (const [method, path, body] of calls) {
    expectRefusal(await second.call(method, path, body), 403, 'APIGW.0302', /organizationPolicies:\w+ for all projects of the domain is not permitted/)
  }

  const foreign = await addTenant(service, 'foreign', { ownDomain: true })
  await make(service, '/x/v1/role-assignments', 'role_assignment', { role: 'administrator', user_id: foreign.userId, domain_id: foreign.domainId })
  for (const [method, path, body] of calls.slice(2)) {
    expectRefusal(await foreign.call(method, path, body), 404, 'BackupService.6000', /does not exist/)
  }
  assert.equal((await foreign.call<{ count: number }>('GET', ORGANIZATION)).body.count, 0)
  const own = await create(foreign, baseline({ effective_scope: foreign.domainId }))
  assert.deepEqual([own.domain_name, (await deployments(foreign, own.id)).length], ['foreign-domain', 1])
  assert.equal((await policiesOf(service)).length, 1)

  // Reading the domain's takes a role that reads, and no more.
  const reader = await make(service, '/x/v1/users', 'user', { name: 'reader', password: PASSWORD })
  await make(service, '/x/v1/role-assignments', 'role_assignment', { role: 'read_only', user_id: reader.id, domain_id: service.bootstrap.domain_id })
  const options: CallOptions = { headers: { 'x-auth-token': await logIn(service, reader.id, service.projectId) } }
  assert.equal((await service.call('GET', ORGANIZATION, undefined, options)).status, 200)
  expectRefusal(await service.call('POST', ORGANIZATION, baseline(), options), 403, 'APIGW.0302', /organizationPolicies:create is not permitted/)
  const { token } = await addUser(service, { name: 'worker', project: { id: service.projectId }, role: 'full' })
  expectRefusal(await service.call('GET', ORGANIZATION, undefined, { headers: { 'x-auth-token': token } }), 403, 'APIGW.0302', /for all projects/)
})

test('lists page and filter, and a domain has 32 of a kind beside what a project makes itself', async () => {
  await using service = await startTestService({ agent: 'none' })
  const ids: string[] = []
  for (let n = 0; n < 32; n += 1) {
    ids.unshift((await create(service, baseline({ name: `b${n}` }))).id)
    service.clock.tick()
  }
  expectRefusal(await service.call('POST', ORGANIZATION, baseline()), 400, 'BackupService.6001', /at most 32 backup organization policies/)
  const far = await create(service, baseline({
    operation_type: 'replication', policy_operation_definition: { destination_region: 'b', destination_project_id: 'b'.repeat(32) },
  }))
  const list = async (query: string) => {
    const { status, body } = await service.call<{ policies: OrganizationPolicy[], count: number, limit: number, offset: number }>('GET', `${ORGANIZATION}${query}`)
    assert.equal(status, 200)
    return [body.policies.map((policy) => policy.id), body.count, body.limit, body.offset]
  }
  assert.deepEqual(await list(''), [[far.id, ...ids], 33, 1000, 0])
  assert.deepEqual(await list('?operation_type=backup&limit=2&offset=1'), [ids.slice(1, 3), 32, 2, 1])
  assert.deepEqual(await list('?operation_type=replication&limit=5000'), [[far.id], 1, 1000, 0])
  assert.deepEqual(await list('?offset=40'), [[], 33, 1000, 40])
  const own = { policy: { name: 'own', operation_type: 'backup', operation_definition: {}, trigger: { properties: { pattern: [NIGHTLY] } } } }
  assert.equal((await service.call('POST', POLICIES, own)).status, 200)
  const { body } = await service.call<{ policies: Deployment[], count: number }>('GET', `${ORGANIZATION}/${far.id}/policy-detail?offset=1`)
  assert.deepEqual(body, { policies: [], count: 1, limit: 1000, offset: 1 })
})

test('bad input is refused by name', async () => {
  await using service = await startTestService({ agent: 'none' })
  const made = await create(service)
  const bad: readonly (readonly [object, RegExp])[] = [
    [{ name: '' }, /policy\.name/], [{ name: 'x'.repeat(65) }, /policy\.name/], [{ name: undefined }, /policy\.name/], [{ policy_name: undefined }, /policy\.policy_name/],
    [{ policy_enabled: 'yes' }, /policy\.policy_enabled/], [{ operation_type: 'copy' }, /policy\.operation_type/], [{ description: 'x'.repeat(256) }, /policy\.description/],
    [{ effective_scope: 'x'.repeat(256) }, /policy\.effective_scope/], [{ policy_operation_definition: { max_backups: -2 } }, /policy\.policy_operation_definition\.max_backups/],
    [{ policy_operation_definition: { day_backups: 1 } }, /policy\.policy_operation_definition\.timezone/], [{ operation_type: 'replication' }, /policy\.policy_operation_definition\.destination_region/],
    [{ policy_trigger: { properties: { pattern: ['FREQ=DAILY;INTERVAL=0;BYHOUR=1;BYMINUTE=0'] } } }, /policy\.policy_trigger\.properties\.pattern\.0/],
    [{ policy_trigger: { properties: { pattern: [] } } }, /policy\.policy_trigger\.properties\.pattern/],
  ]
  for (const [over, words] of bad) {
    expectRefusal(await service.call('POST', ORGANIZATION, baseline(over)), 400, 'BackupService.9900', words)
  }
  expectRefusal(await service.call('PUT', `${ORGANIZATION}/${made.id}`, { policy: { policy_operation_definition: { day_backups: 1 } } }), 400, 'BackupService.9900', /policy_operation_definition/)
  expectRefusal(await service.call('GET', `${ORGANIZATION}/nonsense`), 400, 'BackupService.9900', /organization_policy_id/)
  expectRefusal(await service.call('PUT', `${ORGANIZATION}/${randomUUID()}`, { policy: {} }), 404, 'BackupService.6000', /does not exist/)
  expectRefusal(await service.call('GET', `${ORGANIZATION}?operation_type=copy`), 400, 'BackupService.9900', /operation_type/)
  assert.equal((await service.call<{ count: number }>('GET', ORGANIZATION)).body.count, 1)
})
