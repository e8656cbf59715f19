/** What clients may not ask for around runs and tasks: each gets a 4xx with the cloud's code, and changes nothing. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { startTestService, type TestService } from '@opencbr/testkit'

interface Refusal {
  readonly error_code: string
  readonly error_msg: string
}

async function refused(service: TestService, method: string, path: string, body: unknown, code: string, words: RegExp): Promise<void> {
  const answer = await service.call<Refusal>(method, path, body)
  const what = `${method} ${path} ${JSON.stringify(body)}: ${answer.status} ${JSON.stringify(answer.body)}`
  assert.equal(answer.body?.error_code, `BackupService.${code}`, what)
  assert.ok(answer.status >= 400 && answer.status < 500, what)
  assert.match(answer.body.error_msg, words, what)
}

const CHECKPOINTS = '/v3/{project_id}/checkpoints'
const LOGS = '/v3/{project_id}/operation-logs'

async function createVault(service: TestService, resources: readonly string[]): Promise<string> {
  const answer = await service.call<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', {
    vault: {
      name: 'docs', billing: { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 10 },
      resources: resources.map((id) => ({ id, type: 'OS::Sfs::Turbo' })),
    },
  })
  assert.equal(answer.status, 200)
  return answer.body.vault.id
}

const countRows = async ({ service: { deps: { db } } }: TestService) => Promise.all(
  (['checkpoints', 'backups', 'operation_logs', 'jobs'] as const).map(async (table) => (await db.selectFrom(table).selectAll().execute()).length),
)

test('a checkpoint that may not be is refused, with the field named', async () => {
  await using service = await startTestService({ agent: 'none' })
  const resource = randomUUID()
  const vaultId = await createVault(service, [resource])
  const before = await countRows(service)
  const bad: [unknown, string, RegExp][] = [
    [{}, '9900', /checkpoint/],
    [{ checkpoint: null }, '9900', /checkpoint/],
    [{ checkpoint: {} }, '9900', /checkpoint\.vault_id/],
    [{ checkpoint: { vault_id: 7 } }, '9900', /vault_id/],
    [{ checkpoint: { vault_id: 'x' } }, '9900', /checkpoint\.vault_id/],
    [{ checkpoint: { vault_id: randomUUID() } }, '6105', /does not exist/],
    ...([
      [{ name: '' }, /name/], [{ name: 'a b' }, /name/], [{ name: 'x'.repeat(65) }, /name/], [{ name: 5 }, /name/],
      [{ description: 'a<b' }, /description/], [{ description: 'x'.repeat(256) }, /description/],
      [{ incremental: 'yes' }, /incremental/], [{ auto_trigger: 1 }, /auto_trigger/],
      [{ resources: resource }, /resources/], [{ resources: [7] }, /resources/], [{ resources: ['x'] }, /resources\.0/],
      [{ resource_details: [{ id: resource }] }, /resource_details\.0\.type/], [{ resource_details: [{ type: 'OS::Sfs::Turbo' }] }, /resource_details\.0\.id/],
      [{ resource_details: [{ id: resource, type: 'folder' }] }, /resource_details\.0\.type/],
      [{ resource_details: [{ id: resource, type: 'OS::Cinder::Volume' }] }, /resource_details\.0\.type/],
      [{ resource_details: [{ id: resource, type: 'OS::Sfs::Turbo', name: 'x'.repeat(256) }] }, /resource_details\.0\.name/],
      [{ resource_details: Array.from({ length: 257 }, () => ({ id: resource, type: 'OS::Sfs::Turbo' })) }, /resource_details/],
      [{ policy_id: 7 }, /policy_id/],
    ] as [object, RegExp][]).map(([parameters, words]): [unknown, string, RegExp] => [{ checkpoint: { vault_id: vaultId, parameters } }, '9900', words]),
    [{ checkpoint: { vault_id: vaultId, parameters: { policy_id: randomUUID() } } }, '6000', /policy/],
    [{ checkpoint: { vault_id: vaultId, parameters: { resources: [randomUUID()] } } }, '6302', /is not in vault/],
    [{ checkpoint: { vault_id: await createVault(service, []) } }, '0001', /nothing to back up/],
  ]
  for (const [body, code, words] of bad) await refused(service, 'POST', CHECKPOINTS, body, code, words)
  await refused(service, 'GET', `${CHECKPOINTS}/${randomUUID()}`, undefined, '6217', /does not exist/)
  await refused(service, 'GET', `${CHECKPOINTS}/x`, undefined, '9900', /checkpoint_id/)
  assert.deepEqual(await countRows(service), before)
  const many = await service.call('POST', CHECKPOINTS, { checkpoint: { vault_id: vaultId, parameters: { name: '备份-1_a', unknown: {}, description: null } } })
  assert.equal(many.status, 200)
})

test('a list of tasks that may not be asked for is refused, with the parameter named', async () => {
  await using service = await startTestService({ agent: 'none' })
  const bad: [string, RegExp][] = [
    ['limit=0', /limit/], ['limit=-1', /limit/], ['limit=x', /limit/], ['limit=1.5', /limit/], ['limit=', /limit/], ['limit=1&limit=2', /limit/],
    ['offset=-1', /offset/], ['offset=x', /offset/], ['status=gone', /status/], ['status=', /status/], ['status=success&status=gone', /^Invalid status provided: /],
    ['status=success&status=%00', /^Invalid status provided: /],
    ['operation_type=backups', /operation_type/], ['operation_type=', /operation_type/], ['start_time=yesterday', /start_time/],
    ['start_time=2020-02-30T00:00:00Z', /start_time/], ['end_time=2020-01-01', /end_time/], ['end_time=2020-01-01T25:00:00Z', /end_time/],
  ]
  for (const [query, words] of bad) await refused(service, 'GET', `${LOGS}?${query}`, undefined, '9900', words)
  await refused(service, 'GET', `${LOGS}/${randomUUID()}`, undefined, '6500', /^Operation log does not exist\.$/)
  await refused(service, 'GET', `${LOGS}/x`, undefined, '9900', /operation_log_id/)
  const fine = ['', 'limit=1', 'limit=100000', 'offset=0', 'offset=5', 'marker=x', 'vault_id=x', 'status=success&status=failed', 'operation_type=copy', 'unknown=1', 'enterprise_project_id=all_granted_eps']
  for (const query of fine) {
    const answer = await service.call<{ count: number, operation_logs: unknown[] }>('GET', `${LOGS}?${query}`)
    assert.deepEqual([answer.status, answer.body.count, answer.body.operation_logs], [200, 0, []], query)
  }
  assert.equal((await service.call<{ limit: number }>('GET', `${LOGS}?limit=100000`)).body.limit, 1000)
})

test('a task waits until somebody works on it, and belongs to its project alone', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vaultId = await createVault(service, [randomUUID(), randomUUID()])
  await service.call('POST', CHECKPOINTS, { checkpoint: { vault_id: vaultId } })
  const page = await service.call<{ count: number, operation_logs: { id: string, status: string, started_at: null }[] }>('GET', `${LOGS}?vault_id=${vaultId}&status=waiting&limit=1`)
  assert.deepEqual([page.body.count, page.body.operation_logs.length, page.body.operation_logs[0]?.started_at], [2, 1, null])
  const other = await service.call<Refusal>('GET', `/v3/${'0'.repeat(32)}/operation-logs`)
  assert.equal(other.status, 403)
})

test('no body and no query gets anything but an answer of the contract', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vaultId = await createVault(service, [randomUUID()])
  const paths = [CHECKPOINTS, `/v3/{project_id}/backups/${randomUUID()}/restore`]
  const parameters = fc.record({
    name: fc.anything(), description: fc.anything(), resources: fc.anything(), resource_details: fc.anything(), incremental: fc.anything(),
  }, { requiredKeys: [] })
  const bodies = fc.oneof(
    fc.jsonValue(), fc.string(), fc.record({ checkpoint: fc.jsonValue(), restore: fc.jsonValue() }),
    fc.record({ checkpoint: fc.record({ vault_id: fc.oneof(fc.constant(vaultId), fc.jsonValue()), parameters }) }),
    fc.record({ restore: fc.record({ volume_id: fc.jsonValue(), details: fc.jsonValue(), mappings: fc.jsonValue() }, { requiredKeys: [] }) }),
  ).map((body) => JSON.stringify(body, (_key, value: unknown) => (typeof value === 'bigint' ? Number(value) : value)) ?? 'null')
  // The caller in use fails on any answer of 500 or above, and on any that has another form than declared.
  await fc.assert(fc.asyncProperty(fc.constantFrom(...paths), bodies, async (path, body) => {
    await service.call('POST', path, body)
  }), { numRuns: 150 })
  await fc.assert(fc.asyncProperty(
    fc.constantFrom('limit', 'offset', 'marker', 'status', 'start_time', 'end_time', 'operation_type', 'vault_id', 'resource_name'), fc.string(),
    async (name, value) => {
      await service.call('GET', `${LOGS}?${name}=${encodeURIComponent(value)}`)
    },
  ), { numRuns: 100 })
})
