/** What concerns several vaults at once: figures, settings of all, other regions, orders. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { StorageUsage, Vault } from '@opencbr/contract'
import { populate } from '@opencbr/server'
import { startTestService, type TestService } from '@opencbr/testkit'

const VAULTS = '/v3/{project_id}/vaults'
const billing = { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 10 }

async function create(service: TestService, vault: object = {}): Promise<Vault> {
  const answer = await service.call<{ vault: Vault }>('POST', VAULTS, { vault: { name: 'docs', billing, resources: [], ...vault } })
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  service.clock.tick()
  return answer.body.vault
}

async function refused(service: TestService, code: string, method: string, path: string, body?: unknown, text: RegExp = /./): Promise<void> {
  const answer = await service.call<{ error_code: string, error_msg: string }>(method, path, body)
  const what = `${method} ${path} ${JSON.stringify(body)}: ${JSON.stringify(answer.body)}`
  assert.equal(answer.body?.error_code, `BackupService.${code}`, what)
  assert.equal(answer.status, code === '6105' ? 404 : 400, what)
  assert.match(answer.body.error_msg, text)
}

test('the summary adds up the vaults of the project, and shares that they accepted', async () => {
  await using service = await startTestService({ agent: 'none' })
  const summary = async () => (await service.call('GET', `${VAULTS}/summary`)).body
  assert.deepEqual(await summary(), { size: 0, used_size: 0 })
  const { id } = await create(service)
  await create(service, { billing: { ...billing, size: 32 } })
  const { db } = service.service.deps
  const row = await db.selectFrom('vaults').selectAll().where('id', '=', id as never).executeTakeFirstOrThrow()
  await db.insertInto('vaults').values({ ...row, id: randomUUID() as never, project_id: 'f'.repeat(32) as never, size_gb: 1000 }).execute()
  await db.updateTable('vaults').set({ used_bytes: 1024 ** 3, shared_bytes: 1 }).where('id', '=', id as never).execute()
  assert.deepEqual(await summary(), { size: 42, used_size: 2 })
})

test('usage is told for each resource, in pages, and agrees with its backups', async () => {
  await using service = await startTestService({ agent: 'none' })
  const bare = randomUUID()
  await create(service, { resources: [{ id: bare, type: 'OS::Sfs::Turbo', name: 'bare' }] })
  const { db } = service.service.deps
  await populate(service.service.deps, { backups: 300, vaults: 8, resources: 40 })
  const list = async (query: string) => (await service.call<{ storage_usage: StorageUsage[], resource_count: number }>('GET', `/v3/{project_id}/storage_usage?${query}`)).body
  const rows = await db.selectFrom('backups').select(['resource_id', 'resource_type', 'stored_bytes', 'parent_id']).where('project_id', '=', service.projectId as never).execute()
  const whole = await list('')
  assert.equal(whole.resource_count, whole.storage_usage.length)
  assert.ok(new Set(rows.map((row) => row.resource_id)).isSubsetOf(new Set(whole.storage_usage.map((usage) => usage.resource_id as never))))
  for (const usage of whole.storage_usage) {
    const own = rows.filter((row) => row.resource_id === usage.resource_id)
    assert.equal(usage.backup_count, own.filter((row) => row.parent_id === null).length)
    assert.equal(usage.backup_size, own.reduce((sum, row) => sum + row.stored_bytes, 0))
  }
  assert.deepEqual(whole.storage_usage.find((usage) => usage.resource_id === bare), {
    resource_id: bare, resource_name: 'bare', resource_type: 'OS::Sfs::Turbo', backup_count: 0, backup_size: 0, backup_size_multiaz: null,
  })
  const paged: StorageUsage[] = []
  for (let offset = 0; ; offset += 7) {
    const page = await list(`limit=7&offset=${offset}`)
    assert.equal(page.resource_count, whole.resource_count)
    if (page.storage_usage.length === 0) break
    paged.push(...page.storage_usage)
  }
  assert.deepEqual(paged, whole.storage_usage)
  assert.deepEqual((await list(`resource_id=${bare.toUpperCase()}`)).storage_usage.map((usage) => usage.resource_id), [bare])
  const disks = await list('resource_type=OS::Cinder::Volume')
  assert.ok(disks.resource_count > 0 && disks.resource_count < whole.resource_count)
  assert.deepEqual(new Set(disks.storage_usage.map((usage) => usage.resource_type)), new Set(['OS::Cinder::Volume']))
})

test('the settings of all vaults are changed at once, and only where they differ', async () => {
  await using service = await startTestService({ agent: 'none' })
  const ids = [(await create(service)).id, (await create(service, { threshold: 90 })).id, (await create(service, { threshold: 90, smn_notify: false })).id]
  const change = async (vault: object) => (await service.call<{ updated_vaults_id: string[] }>('PUT', `${VAULTS}/batch-update`, { vault })).body.updated_vaults_id
  assert.deepEqual(await change({}), [])
  assert.deepEqual(await change({ threshold: 90 }), [ids[0]])
  assert.deepEqual(await change({ threshold: 90, smn_notify: false }), [ids[1], ids[0]])
  assert.deepEqual(await change({ threshold: 90, smn_notify: false }), [])
  const { vaults } = (await service.call<{ vaults: Vault[] }>('GET', VAULTS)).body
  assert.deepEqual(vaults.map((vault) => [vault.threshold, vault.smn_notify]), [[90, false], [90, false], [90, false]])
  await refused(service, '9900', 'PUT', `${VAULTS}/batch-update`, { vault: { threshold: 0 } }, /vault\.threshold/)
  await refused(service, '9900', 'PUT', `${VAULTS}/batch-update`, {}, /vault/)
})

test('resources are left out of scheduled runs, and put in again', async () => {
  await using service = await startTestService({ agent: 'none' })
  const [first, second] = [randomUUID(), randomUUID()]
  const { id } = await create(service, { resources: [first, second].map((each) => ({ id: each, type: 'OS::Sfs::Turbo' })) })
  const set = async (action: string, ids: string[]) => {
    const answer = await service.call<{ set_resource_ids: string[] }>('PUT', `${VAULTS}/${id}/set-resources`, { action, resource_ids: ids })
    assert.equal(answer.status, 200, JSON.stringify(answer.body))
    const { body } = await service.call<{ vault: Vault }>('GET', `${VAULTS}/${id}`)
    return { answered: answer.body.set_resource_ids, follow: body.vault.resources.filter((resource) => resource.auto_protect).map((resource) => resource.id).toSorted() }
  }
  assert.deepEqual(await set('suspend', [first.toUpperCase(), first]), { answered: [first], follow: [second] })
  assert.deepEqual(await set('suspend', []), { answered: [], follow: [second] })
  assert.deepEqual(await set('unsuspend', [second, first]), { answered: [second, first], follow: [first, second].toSorted() })
  const path = `${VAULTS}/${id}/set-resources`
  await refused(service, '6135', 'PUT', path, { action: 'suspend', resource_ids: [first, randomUUID()] })
  await refused(service, '9900', 'PUT', path, { action: 'pause', resource_ids: [first] }, /action/)
  await refused(service, '9900', 'PUT', path, { action: 'suspend', resource_ids: ['x'] }, /resource_ids\.0/)
  await refused(service, '6105', 'PUT', `${VAULTS}/${randomUUID()}/set-resources`, { action: 'suspend', resource_ids: [first] })
  assert.deepEqual((await set('suspend', [])).follow, [first, second].toSorted())
})

test('only the own project in this region has vaults for a look from outside', async () => {
  await using service = await startTestService({ agent: 'none' })
  const turbo = await create(service)
  const disk = await create(service, { billing: { ...billing, object_type: 'disk' } })
  const list = async (query: string) => (await service.call<{ vaults: Vault[], count: number }>('GET', `${VAULTS}/external?${query}`)).body.vaults.map((vault) => vault.id)
  const own = `external_project_id=${service.projectId}&region_id=test-1`
  assert.deepEqual(await list(own), [disk.id, turbo.id])
  assert.deepEqual(await list(`${own}&objcet_type=disk`), [disk.id])
  assert.deepEqual(await list(`${own}&object_type=turbo&protect_type=backup&cloud_type=public`), [turbo.id])
  assert.deepEqual(await list(`${own}&vault_id=${turbo.id}&object_type=disk`), [turbo.id])
  assert.deepEqual(await list(`${own}&limit=1&offset=1`), [turbo.id])
  assert.deepEqual(await list(`external_project_id=${service.projectId}&region_id=elsewhere`), [])
  assert.deepEqual(await list(`external_project_id=${'f'.repeat(32)}&region_id=test-1`), [])
  await refused(service, '9900', 'GET', `${VAULTS}/external?region_id=test-1`, undefined, /external_project_id/)
})

test('orders are read and refused, with the reason', async () => {
  await using service = await startTestService({ agent: 'none' })
  const { id } = await create(service)
  const period = { period_type: 'month', period_num: 1 }
  await refused(service, '9900', 'POST', `${VAULTS}/order`, { vault: { billing: { ...billing, charging_mode: 'pre_paid', ...period }, resources: [] } }, /sells nothing/)
  await refused(service, '9900', 'POST', `${VAULTS}/order`, { vault: { resources: [] } }, /vault\.billing/)
  await refused(service, '9900', 'POST', `${VAULTS}/change-charge-mode`, { vault_ids: [id], charging_mode: 'pre_paid', ...period }, /sells nothing/)
  await refused(service, '6105', 'POST', `${VAULTS}/change-charge-mode`, { vault_ids: [randomUUID()], ...period })
  await refused(service, '9900', 'POST', `${VAULTS}/change-charge-mode`, { vault_ids: [id], period_type: 'month', period_num: 10 }, /period_num/)
  const product = { product_id: 'p', resource_size: 20, resource_spec_code: 'vault.backup.turbo.normal' }
  await refused(service, '6109', 'POST', '/v3/{project_id}/orders/change', { resource_id: id, product_info: product }, new RegExp(id))
  const camel = { resourceId: id, productInfo: { productId: 'p', resourceSize: 20, resourceSpecCode: 'vault.backup.turbo.normal' } }
  await refused(service, '6109', 'POST', '/v3/{project_id}/orders/change', camel, /sells nothing/)
  await refused(service, '6109', 'PUT', '/v3/{project_id}/orders/o-1', camel, /o-1/)
  await refused(service, '9900', 'PUT', '/v3/{project_id}/orders/o-1', {})
  assert.equal((await service.call<{ vault: Vault }>('GET', `${VAULTS}/${id}`)).body.vault.billing.size, 10)
})
