/** Policies and their binding to vaults, over the real API. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Backup, Checkpoint, OperationLog, Policy, PolicyPreview, PolicyRun, Vault } from '@opencbr/contract'
import { ManualClock, startTestService, type TestService } from '@opencbr/testkit'
import { addTenant } from './support/tenants.ts'

const POLICIES = '/v3/{project_id}/policies'
const VAULTS = '/v3/{project_id}/vaults'
const NIGHTLY = 'FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=01;BYMINUTE=30'

interface Refusal {
  readonly error_code: string
  readonly error_msg: string
}

function nightly(over: object = {}): { policy: object } {
  return {
    policy: {
      name: 'nightly', operation_type: 'backup', operation_definition: { retention_duration_days: 30, timezone: 'UTC+01:00' },
      trigger: { properties: { pattern: [NIGHTLY] } }, ...over,
    },
  }
}

function replication(over: object = {}): { policy: object } {
  return nightly({
    name: 'far', operation_type: 'replication',
    operation_definition: { destination_region: 'region-b', destination_project_id: 'b'.repeat(32), max_backups: 5, ...over },
  })
}

const pattern = (...rules: string[]): object => ({ trigger: { properties: { pattern: rules } } })
const keeps = (definition: object): object => ({ operation_definition: definition })

async function create(service: TestService, body: object = nightly()): Promise<Policy> {
  const answer = await service.call<{ policy: Policy }>('POST', POLICIES, body)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body.policy
}

async function createVault(service: TestService, over: object = {}): Promise<Vault> {
  const answer = await service.call<{ vault: Vault }>('POST', VAULTS, {
    vault: {
      name: 'docs', resources: [], billing: { object_type: 'turbo', protect_type: 'backup', size: 10, consistent_level: 'crash_consistent' }, ...over,
    },
  })
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body.vault
}

async function refused(service: TestService, code: string, words: RegExp, method: string, path: string, body?: unknown): Promise<void> {
  const answer = await service.call<Refusal>(method, path, body)
  assert.equal(answer.body?.error_code, `BackupService.${code}`, `${method} ${path} ${JSON.stringify(body)}: ${JSON.stringify(answer.body)}`)
  assert.match(answer.body.error_msg, words)
  assert.equal(answer.status, ['6000', '6002', '6105'].includes(code) ? 404 : 400)
}

function bind(service: TestService, vaultId: string, body: object) {
  return service.call<{ associate_policy: object }>('POST', `${VAULTS}/${vaultId}/associatepolicy`, body)
}

test('a policy is shown as it was sent, complete in the first answer, and changed in parts', async () => {
  await using service = await startTestService({ agent: 'none' })
  const policy = await create(service)
  assert.deepEqual({ ...policy, id: '', trigger: { ...policy.trigger, id: '' } }, {
    id: '',
    name: 'nightly',
    enabled: true,
    operation_type: 'backup',
    operation_definition: {
      max_backups: -1, retention_duration_days: 30, day_backups: 0, week_backups: 0, month_backups: 0, year_backups: 0,
      timezone: 'UTC+01:00', full_backup_interval: -1, created_by: 'customer',
    },
    trigger: { id: '', name: 'default', type: 'time', properties: { pattern: [NIGHTLY], start_time: '2026-01-15 08:30:00' } },
    associated_vaults: null,
    policy_type: 'custom_policy',
  })
  assert.deepEqual((await service.call<{ policy: Policy }>('GET', `${POLICIES}/${policy.id}`)).body, { policy })

  service.clock.advanceSeconds(60)
  const changed = await service.call<{ policy: Policy }>('PUT', `${POLICIES}/${policy.id}`, {
    policy: { enabled: false, operation_definition: { max_backups: 14 } },
  })
  assert.equal(changed.body.policy.enabled, false)
  assert.equal(changed.body.policy.name, 'nightly')
  assert.equal(changed.body.policy.operation_definition.max_backups, 14)
  assert.equal(changed.body.policy.operation_definition.retention_duration_days, -1, 'the definition is replaced as a whole')
  assert.equal(changed.body.policy.operation_definition.timezone, undefined)
  const renamed = await service.call<{ policy: Policy }>('PUT', `${POLICIES}/${policy.id}`, { policy: { name: 'weekly' } })
  assert.deepEqual(renamed.body.policy, { ...changed.body.policy, name: 'weekly' }, 'what is absent stays, the pause included')

  const rules = ['FREQ=DAILY;INTERVAL=2;BYHOUR=6;BYMINUTE=00', 'FREQ=WEEKLY;BYDAY=SU;BYHOUR=14;BYMINUTE=05']
  const rescheduled = await service.call<{ policy: Policy }>('PUT', `${POLICIES}/${policy.id}`, { policy: pattern(...rules) })
  assert.deepEqual(rescheduled.body.policy.trigger.properties.pattern, rules, 'byte for byte')
  assert.equal((await service.call('DELETE', `${POLICIES}/${policy.id}`)).status, 204)
  await refused(service, '6000', new RegExp(policy.id), 'GET', `${POLICIES}/${policy.id}`)
  await refused(service, '6000', /./, 'PUT', `${POLICIES}/${policy.id}`, { policy: {} })
  await refused(service, '6000', /./, 'DELETE', `${POLICIES}/${policy.id}`)
  await refused(service, '9900', /policy_id/, 'GET', `${POLICIES}/x`)
})

test('bad policies are refused, and the member is named', async () => {
  await using service = await startTestService({ agent: 'none' })
  const cases: [object, RegExp][] = [
    [{ name: '' }, /policy\.name/],
    [{ name: 'a b' }, /policy\.name/],
    [{ operation_type: 'copy' }, /policy\.operation_type/],
    [{ operation_definition: null }, /policy\.operation_definition/],
    [pattern(), /pattern/],
    [pattern('daily'), /policy\.trigger\.properties\.pattern\.0/],
    [pattern('FREQ=DAILY;BYHOUR=24;BYMINUTE=0'), /pattern\.0.*BYHOUR/],
    [pattern('FREQ=DAILY;BYHOUR=1;BYMINUTE=60'), /pattern\.0.*BYMINUTE/],
    [pattern('FREQ=DAILY;BYHOUR=1;BYHOUR=2'), /twice/],
    [pattern('FREQ=DAILY;INTERVAL=0;BYHOUR=1'), /INTERVAL/],
    [pattern('FREQ=DAILY;INTERVAL=99999999999;BYHOUR=1'), /INTERVAL/],
    [pattern('FREQ=DAILY;BYHOUR=1;BYMINUTE=0,30'), /less than an hour/],
    [pattern('FREQ=DAILY;BYHOUR=1;BYMINUTE=0', 'FREQ=WEEKLY;BYDAY=SU;BYHOUR=0;BYMINUTE=30'), /less than an hour/],
    // From a Thursday on, every seventh day is no Tuesday.
    [pattern('FREQ=DAILY;INTERVAL=7;BYDAY=TU;BYHOUR=1;BYMINUTE=0'), /no day on which it runs/],
    [pattern(...Array.from({ length: 25 }, (_, hour) => `FREQ=DAILY;BYHOUR=${hour % 24};BYMINUTE=0`)), /pattern/],
    [keeps({ max_backups: 100_000 }), /max_backups/],
    [keeps({ max_backups: -2 }), /max_backups/],
    [keeps({ day_backups: 101, timezone: 'UTC+00:00' }), /day_backups/],
    [keeps({ day_backups: 1 }), /timezone.*mandatory/],
    [keeps({ timezone: 'UTC+15:00' }), /timezone/],
    [keeps({ timezone: 'Europe/Berlin' }), /timezone/],
    [keeps({ max_backups: 3, retention_duration_days: 3 }), /not by both/],
    [keeps({ retention_duration_days: 3, week_backups: 3, timezone: 'UTC+00:00' }), /not by both/],
    [keeps({ enable_acceleration: true }), /invalid key enable_acceleration/],
    [keeps({ full_backup_interval: 101 }), /full_backup_interval/],
  ]
  for (const [over, words] of cases) await refused(service, '9900', words, 'POST', POLICIES, nightly(over))
  await refused(service, '9900', /destination_region.*mandatory/, 'POST', POLICIES, replication({ destination_region: undefined }))
  await refused(service, '9900', /destination_project_id.*mandatory/, 'POST', POLICIES, replication({ destination_project_id: undefined }))
  assert.equal((await service.call<{ count: number }>('GET', POLICIES)).body.count, 0)
  // What Terraform sends, and what only looks too close.
  await create(service, nightly(keeps({ max_backups: -1, retention_duration_days: -1 })))
  await create(service, nightly({ operation_definition: { max_backups: 5, day_backups: 1, year_backups: 2, timezone: 'UTC-03:30' } }))
  await create(service, nightly(pattern(...Array.from({ length: 24 }, (_, hour) => `FREQ=DAILY;INTERVAL=1;BYHOUR=${String(hour).padStart(2, '0')};BYMINUTE=00`))))
  await create(service, nightly(pattern('FREQ=WEEKLY;BYDAY=MO;BYHOUR=1;BYMINUTE=0', 'FREQ=WEEKLY;BYDAY=TU;BYHOUR=1;BYMINUTE=30')))
  await create(service, nightly(pattern('FREQ=DAILY;BYHOUR=1;BYMINUTE=0', 'FREQ=WEEKLY;BYDAY=TU;BYHOUR=1;BYMINUTE=0')))
})

test('a project has at most 32 policies of each kind', async () => {
  await using service = await startTestService({ agent: 'none' })
  for (let n = 0; n < 32; n += 1) await create(service)
  await refused(service, '6001', /32/, 'POST', POLICIES, nightly())
  for (let n = 0; n < 32; n += 1) await create(service, replication())
  await refused(service, '6001', /replication/, 'POST', POLICIES, replication())
  const { body } = await service.call<{ policies: Policy[], count: number }>('GET', `${POLICIES}?operation_type=replication`)
  assert.deepEqual([body.count, body.policies.length, Object.keys(body)], [32, 32, ['policies', 'count', 'limit', 'offset']])
})

test('a vault has one policy of a kind: binding replaces, binding again succeeds, unbinding leaves none', async () => {
  await using service = await startTestService({ agent: 'none' })
  const [first, second] = [await create(service), await create(service)]
  const vault = await createVault(service, { backup_policy_id: first.id })
  const boundTo = async (id: string): Promise<unknown> =>
    (await service.call<{ policy: Policy }>('GET', `${POLICIES}/${id}`)).body.policy.associated_vaults
  const listed = async (query: string): Promise<string[]> =>
    (await service.call<{ policies: Policy[] }>('GET', `${POLICIES}?${query}`)).body.policies.map((policy) => policy.id)
  assert.deepEqual(await boundTo(first.id), [{ vault_id: vault.id, destination_vault_id: null }])
  assert.deepEqual(await listed(`vault_id=${vault.id}&operation_type=backup`), [first.id])

  const again = await bind(service, vault.id, { policy_id: first.id })
  assert.deepEqual(again.body, { associate_policy: { vault_id: vault.id, policy_id: first.id, destination_vault_id: null } })
  assert.equal((await bind(service, vault.id, { add_policy_ids: [second.id] })).status, 200)
  assert.equal(await boundTo(first.id), null)
  assert.deepEqual(await listed(`vault_id=${vault.id}`), [second.id])
  const vaults = async (id: string): Promise<number> => (await service.call<{ count: number }>('GET', `${VAULTS}?policy_id=${id}`)).body.count
  assert.deepEqual([await vaults(first.id), await vaults(second.id), await vaults(randomUUID())], [0, 1, 0])

  const path = `${VAULTS}/${vault.id}`
  await refused(service, '6002', new RegExp(first.id), 'POST', `${path}/dissociatepolicy`, { policy_id: first.id })
  await refused(service, '6000', /./, 'POST', `${path}/dissociatepolicy`, { policy_id: randomUUID() })
  await refused(service, '6000', /./, 'POST', `${path}/associatepolicy`, { policy_id: randomUUID() })
  await refused(service, '6105', /./, 'POST', `${VAULTS}/${randomUUID()}/associatepolicy`, { policy_id: first.id })
  await refused(service, '9900', /exactly one/, 'POST', `${path}/associatepolicy`, {})
  await refused(service, '9900', /exactly one/, 'POST', `${path}/associatepolicy`, { policy_id: first.id, add_policy_ids: [first.id] })
  await refused(service, '9900', /two are named/, 'POST', `${path}/associatepolicy`, { add_policy_ids: [first.id, second.id] })
  assert.deepEqual(await listed(`vault_id=${vault.id}`), [second.id], 'a refusal changes nothing')
  await refused(service, '6000', /./, 'POST', VAULTS, {
    vault: { name: 'x', resources: [], backup_policy_id: randomUUID(), billing: { object_type: 'turbo', protect_type: 'backup', size: 10, consistent_level: 'crash_consistent' } },
  })

  assert.equal((await service.call('POST', `${path}/dissociatepolicy`, { policy_id: second.id })).status, 200)
  assert.deepEqual(await listed(`vault_id=${vault.id}`), [])
  await bind(service, vault.id, { policy_id: first.id })
  assert.equal((await service.call('DELETE', `${POLICIES}/${first.id}`)).status, 204)
  assert.equal((await service.call('GET', path)).status, 200)
  assert.deepEqual(await listed(`vault_id=${vault.id}`), [])
})

test('a replication policy needs a target that can be checked', async () => {
  await using service = await startTestService({ agent: 'none' })
  const far = await create(service, replication())
  const near = await create(service, replication({ destination_region: 'test-1', destination_project_id: service.projectId }))
  const [vault, other] = [await createVault(service), await createVault(service)]
  const path = `${VAULTS}/${vault.id}/associatepolicy`
  await refused(service, '9900', /destination_vault_id/, 'POST', path, { policy_id: far.id })
  await refused(service, '6118', /region-b/, 'POST', path, { policy_id: far.id, destination_vault_id: other.id })
  await refused(service, '6120', /./, 'POST', path, { policy_id: near.id, destination_vault_id: randomUUID() })
  await refused(service, '6119', /./, 'POST', path, { policy_id: near.id, destination_vault_id: other.id })
})

test('a locked vault keeps its policy, and the policy keeps what it kept', async () => {
  await using service = await startTestService({ agent: 'none' })
  const [policy, other] = [await create(service), await create(service)]
  const vault = await createVault(service, { backup_policy_id: policy.id, locked: true })
  const path = `${VAULTS}/${vault.id}`
  const until = /locked for good/
  await refused(service, '6110', until, 'POST', `${path}/dissociatepolicy`, { policy_id: policy.id })
  await refused(service, '6110', until, 'POST', `${path}/associatepolicy`, { policy_id: other.id })
  await refused(service, '6110', until, 'DELETE', `${POLICIES}/${policy.id}`)
  await refused(service, '6110', until, 'PUT', `${POLICIES}/${policy.id}`, { policy: { operation_definition: { retention_duration_days: 29 } } })
  await refused(service, '6110', until, 'PUT', `${POLICIES}/${policy.id}`, { policy: { operation_definition: { max_backups: 9 } } })
  assert.equal((await bind(service, vault.id, { policy_id: policy.id })).status, 200)
  for (const definition of [{ retention_duration_days: 31 }, {}]) {
    assert.equal((await service.call('PUT', `${POLICIES}/${policy.id}`, { policy: { operation_definition: definition } })).status, 200)
  }
  await refused(service, '6110', until, 'PUT', `${POLICIES}/${policy.id}`, { policy: { operation_definition: { retention_duration_days: 9999 } } })
})

const PREVIEW = '/x/v1/{project_id}/policies/preview'

async function preview(service: TestService, wanted: object): Promise<PolicyPreview> {
  const answer = await service.call<{ preview: PolicyPreview }>('POST', PREVIEW, { preview: wanted })
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body.preview
}

test('a preview tells when rules run, where the clocks jump, and which of the runs would be kept', async () => {
  await using service = await startTestService({ agent: 'none' })
  const ahead = await preview(service, {
    pattern: ['FREQ=DAILY;BYHOUR=2;BYMINUTE=30'], time_zone: 'Europe/Berlin', from: '2026-03-28T12:00:00Z', runs: 3, operation_definition: { max_backups: 2 },
  })
  assert.deepEqual(ahead, {
    time_zone: 'Europe/Berlin',
    runs: [
      { at: '2026-03-29T01:00:00.000000', local_time: '2026-03-29T02:30', moved: true, expired_at: null, kept_because: [] },
      { at: '2026-03-30T00:30:00.000000', local_time: '2026-03-30T02:30', moved: false, expired_at: null, kept_because: ['among the newest 2'] },
      { at: '2026-03-31T00:30:00.000000', local_time: '2026-03-31T02:30', moved: false, expired_at: null, kept_because: ['among the newest 2'] },
    ],
    retention: null,
  })
  const policy = await create(service)
  const stored = await service.call<{ preview: PolicyPreview }>('GET', `${PREVIEW}?policy_id=${policy.id}&runs=2`)
  assert.deepEqual(stored.body.preview.runs.map((run) => [run.at, run.expired_at]), [
    ['2026-01-16T01:30:00.000000', '2026-02-15T01:30:00.000000'], ['2026-01-19T01:30:00.000000', '2026-02-18T01:30:00.000000'],
  ])
  for (const [wanted, words] of [
    [{}, /policy_id or a pattern/], [{ pattern: ['x'] }, /pattern/], [{ policy_id: policy.id, time_zone: '+02:00' }, /time_zone/],
    [{ policy_id: policy.id, time_zone: 'Europe/Nowhere' }, /time_zone/], [{ policy_id: policy.id, from: '9999-01-01T00:00:00Z' }, /from/],
    [{ pattern: [NIGHTLY], vault_id: randomUUID() }, /needs a policy_id/], [{ policy_id: policy.id, runs: 1001 }, /runs/],
    [{ pattern: ['FREQ=DAILY;BYHOUR=1;BYMINUTE=0,1'] }, /less than an hour/],
  ] as const) await refused(service, '9900', words, 'POST', PREVIEW, { preview: wanted })
  await refused(service, '6000', /./, 'POST', PREVIEW, { preview: { policy_id: randomUUID() } })
  await refused(service, '6105', /./, 'POST', PREVIEW, { preview: { policy_id: policy.id, vault_id: randomUUID() } })
})

test('a policy runs by the wall clock of its time zone, and tells what became of each due time', async () => {
  await using service = await startTestService({ agent: 'none' })
  const policy = await create(service, nightly({ ...pattern('FREQ=DAILY;INTERVAL=1;BYHOUR=06,12;BYMINUTE=00'), ...keeps({ max_backups: 3 }) }))
  const vault = await createVault(service, { backup_policy_id: policy.id, resources: [{ id: randomUUID(), type: 'OS::Sfs::Turbo' }], backup_name_prefix: 'p-' })
  const path = `/x/v1/{project_id}/policies/${policy.id}`
  assert.deepEqual((await service.call('GET', `${path}/schedule`)).body, {
    schedule: { policy_id: policy.id, enabled: true, time_zone: 'UTC', next_run_at: '2026-01-15T12:00:00.000000' },
  })
  await refused(service, '9900', /time_zone/, 'PUT', `${path}/schedule`, { schedule: { time_zone: 'Mars/Olympus' } })
  assert.deepEqual((await service.call('PUT', `${path}/schedule`, { schedule: { time_zone: 'America/New_York' } })).body, {
    schedule: { policy_id: policy.id, enabled: true, time_zone: 'America/New_York', next_run_at: '2026-01-15T11:00:00.000000' },
  })
  const tick = async (hours: number): Promise<void> => {
    service.clock.advanceSeconds(hours * 3600)
    await service.service.scheduler.tick()
  }
  await tick(2)
  assert.equal((await service.call<{ count: number }>('GET', `${path}/runs`)).body.count, 0)
  await tick(1)
  await tick(6)
  const { body } = await service.call<{ runs: PolicyRun[], count: number }>('GET', `${path}/runs?vault_id=${vault.id}&limit=10`)
  assert.deepEqual([body.count, body.runs.map((run) => [run.due_at.slice(0, 16), run.outcome, run.error_info.code])], [2, [
    ['2026-01-15T17:00', 'skipped', 'BackupService.0002'], ['2026-01-15T11:00', 'started', ''],
  ]])
  const checkpointId = body.runs[1]?.checkpoint_id
  const shown = await service.call<{ checkpoint: Checkpoint }>('GET', `/v3/{project_id}/checkpoints/${checkpointId}`)
  assert.match(shown.body.checkpoint.extra_info.name, /^p-autobk_[0-9a-f]{4}$/)
  const tasks = await service.call<{ operation_logs: OperationLog[] }>('GET', `/v3/{project_id}/operation-logs?vault_id=${vault.id}`)
  assert.deepEqual(tasks.body.operation_logs.map((task) => [task.status, task.policy_id, task.extra_info.schedule?.missed_runs]), [
    ['skipped', policy.id, 0], ['waiting', policy.id, 0],
  ])
  const judged = await preview(service, { policy_id: policy.id, vault_id: vault.id })
  assert.deepEqual(judged.retention, { policy_id: policy.id, vault_id: vault.id, kept: 0, going: 0, backups: [] }, 'what is not whole yet is not judged')
})

test('a manual run may be declared automatic, and is then kept by the policy that it names or that is bound', async () => {
  await using service = await startTestService({ agent: 'none' })
  const [bound, named] = [await create(service), await create(service, nightly(keeps({ retention_duration_days: 3 })))]
  const vault = await createVault(service, { backup_policy_id: bound.id, resources: [randomUUID(), randomUUID(), randomUUID()].map((id) => ({ id, type: 'OS::Sfs::Turbo' })) })
  const days: number[] = []
  const run = async (place: number, parameters: object): Promise<string | null> => {
    const answer = await service.call<{ checkpoint: Checkpoint }>('POST', '/v3/{project_id}/checkpoints', {
      checkpoint: { vault_id: vault.id, parameters: { resources: [vault.resources[place]?.id], ...parameters } },
    })
    assert.equal(answer.status, 200, JSON.stringify(answer.body))
    days.push(answer.body.checkpoint.extra_info.retention_duration)
    const { body } = await service.call<{ backups: Backup[] }>('GET', `/v3/{project_id}/backups?checkpoint_id=${answer.body.checkpoint.id}`)
    return body.backups[0]?.expired_at ?? null
  }
  assert.equal(await run(0, {}), null)
  assert.equal(await run(1, { auto_trigger: true }), '2026-02-14T08:30:00.000000')
  assert.equal(await run(2, { auto_trigger: true, policy_id: named.id }), '2026-01-18T08:30:00.000000')
  assert.deepEqual(days, [-1, 30, 3])
})

test('one project neither sees nor binds nor previews the policies of another', async () => {
  await using service = await startTestService({ agent: 'none' })
  const other = await addTenant(service, 'other')
  const mine = await create(service)
  const theirs = (await other.call<{ policy: Policy }>('POST', POLICIES, nightly())).body.policy
  const vault = await createVault(service)
  assert.deepEqual((await service.call<{ policies: Policy[] }>('GET', POLICIES)).body.policies.map((policy) => policy.id), [mine.id])
  for (const [method, path, body] of [
    ['GET', `${POLICIES}/${theirs.id}`], ['PUT', `${POLICIES}/${theirs.id}`, { policy: { name: 'x' } }], ['DELETE', `${POLICIES}/${theirs.id}`],
    ['POST', `${VAULTS}/${vault.id}/associatepolicy`, { policy_id: theirs.id }],
    ['POST', `${VAULTS}/${vault.id}/dissociatepolicy`, { policy_id: theirs.id }],
    ['GET', `${PREVIEW}?policy_id=${theirs.id}`], ['GET', `/x/v1/{project_id}/policies/${theirs.id}/runs`],
    ['GET', `/x/v1/{project_id}/policies/${theirs.id}/schedule`], ['PUT', `/x/v1/{project_id}/policies/${theirs.id}/schedule`, { schedule: { time_zone: 'UTC' } }],
    ['POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: vault.id, parameters: { policy_id: theirs.id } } }],
  ] as const) await refused(service, '6000', /./, method, path, body)
  assert.equal((await other.call('GET', `${POLICIES}/${theirs.id}`)).status, 200)
})

test('a service that was down when a policy was due makes up for it when it starts again', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'opencbr-policies-'))
  try {
    const clock = new ManualClock()
    let policyId = ''
    {
      await using service = await startTestService({ agent: 'none', dataDir, clock })
      const policy = await create(service, nightly(pattern('FREQ=DAILY;INTERVAL=1;BYHOUR=06;BYMINUTE=00')))
      policyId = policy.id
      await createVault(service, { backup_policy_id: policy.id, resources: [{ id: randomUUID(), type: 'OS::Sfs::Turbo' }] })
      await service.service.scheduler.tick()
    }
    clock.advanceSeconds(3 * 24 * 3600)
    await using service = await startTestService({ agent: 'none', dataDir, clock })
    await service.service.scheduler.tick()
    await service.service.scheduler.tick()
    const { body } = await service.call<{ runs: PolicyRun[] }>('GET', `/x/v1/{project_id}/policies/${policyId}/runs`)
    assert.deepEqual(body.runs.map((run) => [run.due_at, run.missed_runs, run.outcome]), [['2026-01-18T06:00:00.000000', 2, 'started']])
    const { body: tasks } = await service.call<{ operation_logs: OperationLog[] }>('GET', '/v3/{project_id}/operation-logs')
    assert.deepEqual(tasks.operation_logs.map((task) => task.extra_info.schedule), [{ due_at: '2026-01-18T06:00:00.000000', missed_runs: 2, moved: false }])
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
})
