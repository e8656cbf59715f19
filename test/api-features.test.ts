/** What a server tells of itself and of accounts, and what it refuses because there is one region. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startTestService, type TestAnswer, type TestService } from '@opencbr/testkit'
import { addTenant } from './support/tenants.ts'

let service: TestService

before(async () => {
  service = await startTestService({ agent: 'none' })
})

after(async () => {
  await service[Symbol.asyncDispose]()
})

function expectCode(answer: TestAnswer<unknown>, code: string, status = 400): void {
  assert.deepEqual([answer.status, (answer.body as { error_code?: string }).error_code], [status, `BackupService.${code}`], JSON.stringify(answer.body))
}

test('features follow from the deployment', async () => {
  const { body } = await service.call('GET', '/v3/{project_id}/cbr-features')
  assert.deepEqual(body, {
    'features.backup_double_az': false, 'replication.destination_dgw_regions': [], 'replication.destination_regions': [],
    'replication.enable': false, 'replication.source_region': 'test-1',
  })
  assert.deepEqual((await service.call('GET', '/v3/{project_id}/cbr-features?limit=1&offset=3')).body, { 'replication.enable': false })
  assert.deepEqual((await service.call('GET', '/v3/{project_id}/cbr-features/replication.source_region')).body, { 'replication.source_region': 'test-1' })
  expectCode(await service.call('GET', '/v3/{project_id}/cbr-features/toString'), '9900')
  expectCode(await service.call('GET', '/v3/{project_id}/cbr-features?limit=0'), '9900')
  assert.deepEqual((await service.call('GET', '/v3/{project_id}/replication-capabilities')).body, { regions: [{ name: 'test-1', replication_destinations: [] }] })
  expectCode(await service.call('GET', '/v3/migrates?all_regions=false'), '4001', 404)
  expectCode(await service.call('POST', '/v3/migrates', { all_regions: true, reservation: 0.2 }), '9900')
})

test('replication is judged as far as it can be, and then refused', async () => {
  const target = { destination_project_id: 'p', destination_region: 'far', destination_vault_id: 'v' }
  const copy = (id: string, replicate: object = target) => service.call('POST', `/v3/{project_id}/backups/${id}/replicate`, { replicate })
  expectCode(await copy(crypto.randomUUID()), '6200', 404)
  expectCode(await copy('x'), '9900')
  expectCode(await copy(crypto.randomUUID(), {}), '9900')
  const vault = async (type: string) => (await service.call<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', {
    vault: { name: 'v', billing: { object_type: type, protect_type: 'backup', size: 10, consistent_level: 'crash_consistent' }, resources: [] },
  })).body.vault.id
  const order = async (vaultId: string) => ({ vault_id: vaultId, ...target })
  const server = await order(await vault('server'))
  expectCode(await service.call('POST', '/v3/{project_id}/checkpoints/replicate', { replicate: await order(await vault('turbo')) }), '6128')
  for (const body of [{ replicate: server }, { checkpoint: { replicate: server } }]) {
    expectCode(await service.call('POST', '/v3/{project_id}/checkpoints/replicate', body), '6120')
  }
  expectCode(await service.call('POST', '/v3/{project_id}/checkpoints/replicate', {}), '9900')
  expectCode(await service.call('POST', '/v3/{project_id}/checkpoints/replicate', { replicate: await order(crypto.randomUUID()) }), '6105', 404)
  expectCode(await service.call('POST', '/v3/{project_id}/checkpoints/sync', { sync: { vault_id: server.vault_id, auto_trigger: false } }), '7300')
  const found = {
    backup_id: 'b', backup_name: 'n', bucket_name: 'k', created_at: 1, image_path: 'i', resource_id: 'r', resource_name: 'r', resource_type: 'OS::Native::Server',
  }
  expectCode(await service.call('POST', '/v3/{project_id}/backups/sync', { sync: [found] }), '7300')
  expectCode(await service.call('POST', '/v3/{project_id}/backups/sync', { sync: [] }), '9900')
})

async function names(call: TestService['call'], path: string): Promise<(string | undefined)[]> {
  const { body } = await call<{ projects: { name?: string, project_name?: string }[] }>('GET', path)
  return body.projects.map((project) => project.name ?? project.project_name)
}

test('projects are listed to whom they belong', async () => {
  const [near, far] = [await addTenant(service, 'near'), await addTenant(service, 'far', { ownDomain: true })]
  assert.deepEqual(await names(service.call, '/v3/region-projects'), ['near', 'test-1'])
  assert.deepEqual(await names(near.call, '/v3/region-projects'), ['near'])
  assert.deepEqual(await names(near.call, `/v3/domain/${service.bootstrap.domain_name}/projects`), ['near', 'test-1'])
  assert.deepEqual(await names(far.call, '/v3/domain/far-domain/projects'), ['far'])
  for (const [call, domain] of [[near.call, 'far-domain'], [far.call, service.bootstrap.domain_name], [near.call, 'unknown']] as const) {
    expectCode(await call('GET', `/v3/domain/${domain}/projects`), '6302', 404)
  }
})
