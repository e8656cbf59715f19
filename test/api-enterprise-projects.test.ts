/** Users whose roles count for some enterprise projects only. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startTestService } from '@opencbr/testkit'
import { addTenant, addUser } from './support/tenants.ts'

test('a user sees and touches what is of its enterprise projects, and nothing else', async () => {
  await using service = await startTestService({ agent: 'none' })
  const tenant = await addTenant(service, 'tenant')
  const ids: Record<string, string> = {}
  for (const name of ['red', 'blue', '0']) {
    const made = await tenant.call<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', {
      vault: {
        name: `v-${name}`, enterprise_project_id: name, resources: [],
        billing: { object_type: 'turbo', protect_type: 'backup', size: 10, consistent_level: 'crash_consistent' },
      },
    })
    assert.equal(made.status, 200, JSON.stringify(made.body))
    ids[name] = made.body.vault.id
  }
  const { db } = service.service.deps
  for (const [name, vaultId] of Object.entries(ids)) {
    await db.insertInto('backups').values({
      id: crypto.randomUUID(), project_id: tenant.projectId, vault_id: vaultId, checkpoint_id: crypto.randomUUID(), parent_id: null, name, description: '',
      status: 'available', image_type: 'backup', resource_id: crypto.randomUUID(), resource_name: 'r', resource_type: 'OS::Sfs::Turbo',
      resource_size_gb: 1, resource_az: '', enterprise_project_id: name, provider_id: '3f3c3220-245c-4805-b811-758870015881', incremental: 1, auto_trigger: 0, created_at: 1, updated_at: 1,
      protected_at: 1, expired_at: null, bootable: null, snapshot_id: null, support_lld: 0, supported_restore_mode: 'na', contain_system_disk: 0,
      encrypted: 1, system_disk: 0, is_multi_az: 0, os_images_data: null, source_path: null, content_bytes: 1, stored_bytes: 1, version: 0,
    } as never).execute()
  }
  const project = { id: tenant.projectId }
  const { token, userId } = await addUser(service, { name: 'reds', project, role: 'full', enterpriseProjectIds: ['red'] })
  const call = <Body = Record<string, unknown>>(method: string, path: string, body?: unknown) =>
    service.call<Body>(method, path.replace('{project_id}', tenant.projectId), body, { headers: { 'x-auth-token': token } })
  const names = async (query = ''): Promise<string[]> =>
    (await call<{ backups: { name: string }[], count: number }>('GET', `/v3/{project_id}/backups${query}`)).body.backups.map(({ name }) => name).toSorted()
  const vaults = async (query = ''): Promise<string[]> =>
    (await call<{ vaults: { name: string }[] }>('GET', `/v3/{project_id}/vaults${query}`)).body.vaults.map(({ name }) => name).toSorted()

  for (const query of ['', '?enterprise_project_id=all_granted_eps', '?enterprise_project_id=red', '?enterprise_project_id=red,blue']) {
    assert.deepEqual([await names(query), await vaults(query)], [['red'], ['v-red']], query)
  }
  for (const query of ['?enterprise_project_id=blue', '?enterprise_project_id=0']) assert.deepEqual([await names(query), await vaults(query)], [[], []])
  assert.equal((await call<{ count: number }>('GET', '/v3/{project_id}/backups?limit=1')).body.count, 1)
  assert.equal((await call('GET', `/v3/{project_id}/vaults/${ids['red']}`)).status, 200)
  for (const [method, body] of [['GET', undefined], ['PUT', { vault: { name: 'x' } }], ['DELETE', undefined]] as const) {
    assert.equal((await call(method, `/v3/{project_id}/vaults/${ids['blue']}`, body)).status, 404)
  }
  assert.equal((await call('POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: ids['blue'] } })).status, 404)
  const create = (enterpriseProjectId?: string) => call('POST', '/v3/{project_id}/vaults', {
    vault: {
      name: 'n', resources: [], ...(enterpriseProjectId === undefined ? {} : { enterprise_project_id: enterpriseProjectId }),
      billing: { object_type: 'turbo', protect_type: 'backup', size: 10, consistent_level: 'crash_consistent' },
    },
  })
  assert.deepEqual([(await create()).status, (await create('blue')).status, (await create('red')).status], [400, 400, 200])
  for (const path of ['/v3/{project_id}/vaults/summary', '/v3/{project_id}/policies', '/v3/{project_id}/vault/tags']) {
    assert.equal((await call('GET', path)).status, 403, path)
  }

  // Roles add up, each in its own enterprise projects.
  const given = await service.call('POST', '/x/v1/role-assignments', { role_assignment: { role: 'read_only', user_id: userId, project_id: tenant.projectId, enterprise_project_ids: ['blue'] } })
  assert.equal(given.status, 201)
  assert.deepEqual([await names(), await vaults()], [['blue', 'red'], ['n', 'v-blue', 'v-red']])
  assert.equal((await call('DELETE', `/v3/{project_id}/vaults/${ids['blue']}`)).status, 404, 'it may only read there')
  assert.equal((await call('GET', `/v3/{project_id}/vaults/${ids['blue']}`)).status, 200)
})
