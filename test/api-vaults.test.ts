import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Vault } from '@opencbr/contract'
import { startTestService, type TestService } from '@opencbr/testkit'

const VAULTS = '/v3/{project_id}/vaults'

interface Refusal {
  readonly error_code: string
  readonly error_msg: string
}

type VaultBody = { readonly vault: Vault }

const billing = { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 10 }
const turbo = (id: string = randomUUID()) => ({ id, type: 'OS::Sfs::Turbo' })

const server = (id: string, more = {}) => ({ id, type: 'OS::Nova::Server', ...more })
const tags = (count: number) => Array.from({ length: count }, (_, n) => ({ key: `k${n}` }))

function post<Body = VaultBody>(service: TestService, vault: Record<string, unknown>) {
  return service.call<Body>('POST', VAULTS, { vault: { name: 'docs', billing, resources: [], ...vault } })
}

async function create(service: TestService, vault: Record<string, unknown> = {}): Promise<Vault> {
  const answer = await post(service, vault)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  service.clock.tick()
  return answer.body.vault
}

async function show(service: TestService, id: string): Promise<Vault> {
  const answer = await service.call<VaultBody>('GET', `${VAULTS}/${id}`)
  assert.equal(answer.status, 200)
  return answer.body.vault
}

/** Calls, and expects a refusal with the code's last four digits. */
async function refused(service: TestService, code: string, method: string, path: string, body?: unknown, text: RegExp = /./): Promise<void> {
  const answer = await service.call<Refusal>(method, path, body)
  const what = `${method} ${path} ${JSON.stringify(body)}: ${JSON.stringify(answer.body)}`
  assert.equal(answer.body?.error_code, `BackupService.${code}`, what)
  assert.equal(answer.status, ['6000', '6105', '6302'].includes(code) ? 404 : 400, what)
  assert.match(answer.body.error_msg, text)
}

const db = (service: TestService) => service.service.deps.db

test('a vault is complete in its first answer, with the defaults of the contract', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service)
  assert.match(vault.id, /^[0-9a-f-]{36}$/)
  const { id: _id, user_id: _user, ...rest } = vault
  assert.deepEqual(rest, {
    name: 'docs', description: null, project_id: service.projectId, enterprise_project_id: '0',
    provider_id: '3f3c3220-245c-4805-b811-758870015881', created_at: '2026-01-15T08:30:00.000000',
    billing: {
      status: 'available', used: 0, size: 10, allocated: 0, protect_type: 'backup', object_type: 'turbo', spec_code: 'vault.backup.turbo.normal',
      cloud_type: 'public', consistent_level: 'crash_consistent', charging_mode: 'post_paid', order_id: null, product_id: null, storage_unit: null,
      frozen_scene: null, is_multi_az: false, is_double_az: false, partner_bp_id: null,
    },
    resources: [], tags: [], auto_bind: false, bind_rules: {}, auto_expand: false, smn_notify: true, threshold: 80, locked: false,
    availability_zone: '', sys_lock_source_service: '', backup_name_prefix: null, demand_billing: false, cbc_delete_count: 0, frozen: false,
    supplier: '', cross_account: false, cross_account_urn: '',
  })
  assert.deepEqual(await show(service, vault.id), vault)
  assert.deepEqual(await show(service, vault.id.toUpperCase()), vault)
})

test('what was set is echoed', async () => {
  await using service = await startTestService({ agent: 'none' })
  const [first, second] = [randomUUID(), randomUUID()]
  const set = {
    name: '备份_vault-1', description: 'web tier', enterprise_project_id: 7, auto_bind: true, bind_rules: { tags: [{ key: 'team', value: 'web' }, { key: 'all' }] },
    auto_expand: true, smn_notify: false, threshold: 100, locked: true, availability_zone: 'az-1', sys_lock_source_service: 'SMB', backup_name_prefix: 'pre',
  }
  const vault = await create(service, {
    ...set,
    billing: { ...billing, size: 10_485_760, cloud_type: 'public', charging_mode: 'post_paid', is_multi_az: true, period_type: 'year', period_num: 1, object_type: 'server', consistent_level: 'app_consistent' },
    tags: [{ key: ' team ', value: ' web ' }, { key: 'empty' }, { key: '团队', value: '' }],
    resources: [
      { id: first, type: 'OS::Nova::Server', name: 'web-01', extra_info: { exclude_volumes: [second] } }, { id: second.toUpperCase(), type: 'OS::Nova::Server' },
    ],
    backup_policy_id: null, unknown_member: { nested: true },
  })
  const { enterprise_project_id: enterprise, ...echoed } = set
  assert.equal(vault.enterprise_project_id, String(enterprise))
  for (const [member, value] of Object.entries(echoed)) assert.deepEqual(vault[member as keyof Vault], value, member)
  assert.equal(vault.billing.size, 10_485_760)
  assert.equal(vault.billing.is_multi_az, true)
  assert.equal(vault.billing.consistent_level, 'app_consistent')
  assert.equal(vault.billing.spec_code, 'vault.backup.server.normal')
  assert.deepEqual(vault.tags, [{ key: 'empty', value: '' }, { key: 'team', value: 'web' }, { key: '团队', value: '' }])
  const inside = { type: 'OS::Nova::Server', size: 0, protect_status: 'available', backup_size: 0, backup_count: 0, auto_protect: true }
  assert.deepEqual(vault.resources.toSorted((a, b) => b.name.localeCompare(a.name)), [
    { id: first, name: 'web-01', ...inside, extra_info: { exclude_volumes: [second] } }, { id: second, name: '', ...inside, extra_info: {} },
  ])
  assert.deepEqual(await show(service, vault.id), vault)
})

test('every kind of vault that is offered can be made, and the Go SDK\'s empty consistent_level is taken', async () => {
  await using service = await startTestService({ agent: 'none' })
  const kinds = [
    ['server', '0daac4c5-6707-4851-97ba-169e36266b66'], ['disk', 'd1603440-187d-4516-af25-121250c7cc97'],
    ['turbo', '3f3c3220-245c-4805-b811-758870015881'], ['workspace', '86a80900-71bf-4961-956a-d52df944f84a'],
  ]
  for (const [objectType, provider] of kinds) {
    const vault = await create(service, { billing: { ...billing, object_type: objectType, consistent_level: '' } })
    assert.equal(vault.provider_id, provider)
    assert.equal(vault.billing.consistent_level, 'crash_consistent')
  }
})

test('a declared resource lends the vault its name and size', async () => {
  const base = await realpath(await mkdtemp(join(tmpdir(), 'opencbr-test-')))
  try {
    await mkdir(join(base, 'wiki'))
    await using service = await startTestService({ agent: 'none', config: { allowPaths: [base], strictResources: true } })
    const declared = await service.call<{ resource: { id: string } }>('POST', '/x/v1/{project_id}/resources', {
      resource: { type: 'OS::Sfs::Turbo', path: join(base, 'wiki') },
    })
    const { id } = declared.body.resource
    const vault = await create(service, { resources: [turbo(id)] })
    assert.deepEqual(vault.resources.map(({ name, size }) => ({ name, size })), [{ name: 'wiki', size: 1 }])
    assert.equal(vault.billing.allocated, 1)
    const path = `/x/v1/{project_id}/resources/${id}`
    assert.equal((await service.call<{ resource: { vault_id: string } }>('GET', path)).body.resource.vault_id, vault.id)
    await refused(service, '6103', 'DELETE', path, undefined, new RegExp(vault.id))
    const disks = { ...billing, object_type: 'disk' }
    await refused(service, '9900', 'POST', VAULTS, { vault: { name: 'd', billing: disks, resources: [{ id, type: 'OS::Cinder::Volume' }] } }, /vault\.resources\.0\.type/)
    const unknown = randomUUID()
    await refused(service, '6302', 'POST', VAULTS, { vault: { name: 'd', billing, resources: [turbo(unknown)] } }, new RegExp(unknown))
  } finally {
    await rm(base, { recursive: true, force: true })
  }
})

test('every bad value of a creation is refused with its code, naming the field, and makes no vault', async () => {
  await using service = await startTestService({ agent: 'none' })
  const taken = randomUUID()
  const holder = await create(service, { resources: [turbo(taken)] })
  const many = (count: number) => Array.from({ length: count }, () => turbo())
  const twice = randomUUID()
  const bad: [string, Record<string, unknown>, RegExp][] = [
    ['9900', { name: undefined }, /vault\.name provided: it is mandatory/],
    ['9900', { name: '' }, /vault\.name/], ['9900', { name: 'x'.repeat(65) }, /vault\.name/], ['9900', { name: 'a b' }, /vault\.name/],
    ['9900', { name: 5 }, /vault\.name/], ['9900', { description: 'a<b' }, /vault\.description/], ['9900', { description: 'x'.repeat(256) }, /vault\.description/],
    ['9900', { billing: undefined }, /vault\.billing provided: it is mandatory/], ['9900', { billing: 'x' }, /vault\.billing/],
    ['9900', { resources: undefined }, /vault\.resources provided: it is mandatory/], ['9900', { resources: {} }, /vault\.resources/],
    ...['consistent_level', 'object_type', 'protect_type', 'size'].map((member): [string, Record<string, unknown>, RegExp] =>
      ['9900', { billing: { ...billing, [member]: undefined } }, new RegExp(`vault\\.billing\\.${member} provided: it is mandatory`)]),
    ...Object.entries({
      consistent_level: 'some', object_type: 'car', protect_type: 'hybrid', cloud_type: 'private', charging_mode: 'free', size: '10', is_multi_az: 'yes',
      period_type: 'day', period_num: 0, console_url: '', is_auto_pay: 1,
    }).map(([member, value]): [string, Record<string, unknown>, RegExp] =>
      ['9900', { billing: { ...billing, [member]: value } }, new RegExp(`vault\\.billing\\.${member}`)]),
    ['9900', { billing: { ...billing, size: 10.5 } }, /vault\.billing\.size/],
    ...[9, 0, -1, 10_485_761].map((size): [string, Record<string, unknown>, RegExp] => ['6101', { billing: { ...billing, size } }, /vault\.billing\.size/]),
    ...['vmware', 'rds'].map((objectType): [string, Record<string, unknown>, RegExp] =>
      ['6116', { billing: { ...billing, object_type: objectType } }, /vault\.billing\.object_type/]),
    ['6116', { billing: { ...billing, protect_type: 'replication' } }, /vault\.billing\.protect_type/],
    ['6116', { billing: { ...billing, object_type: 'file' } }, /vault\.billing\.cloud_type/],
    ['6116', { billing: { ...billing, cloud_type: 'hybrid' } }, /vault\.billing\.cloud_type/],
    ['9900', { billing: { ...billing, charging_mode: 'pre_paid' } }, /vault\.billing\.charging_mode.*sells nothing/],
    ['9900', { demand_billing: true }, /vault\.demand_billing/],
    ['9900', { billing: { ...billing, consistent_level: 'app_consistent' } }, /vault\.billing\.consistent_level/],
    ['9900', { resources: [{ type: 'OS::Sfs::Turbo' }] }, /vault\.resources\.0\.id/], ['9900', { resources: [{ id: twice }] }, /vault\.resources\.0\.type/],
    ['9900', { resources: [turbo('x')] }, /vault\.resources\.0\.id provided: x is not a UUID/], ['9900', { resources: [{ id: twice, type: 'OS::Car' }] }, /vault\.resources\.0\.type/],
    ['9900', { resources: [{ ...turbo(), name: 'x'.repeat(256) }] }, /vault\.resources\.0\.name/],
    ['9900', { resources: [{ ...turbo(), extra_info: { exclude_volumes: 'all' } }] }, /vault\.resources\.0\.extra_info\.exclude_volumes/],
    ['9900', { resources: [{ ...turbo(), extra_info: { include_volumes: [{}] } }] }, /vault\.resources\.0\.extra_info\.include_volumes\.0\.id/],
    ['6100', { resources: many(257) }, /256/], ['6104', { resources: [turbo(twice), turbo(twice.toUpperCase())] }, new RegExp(twice)],
    ['6102', { resources: [{ id: twice, type: 'OS::Cinder::Volume' }] }, new RegExp(twice)], ['6103', { resources: [turbo(taken)] }, new RegExp(holder.id)],
    ['6000', { backup_policy_id: twice }, new RegExp(twice)], ['9900', { backup_policy_id: 1 }, /vault\.backup_policy_id/],
    ['9900', { tags: [] }, /vault\.tags/], ['6600', { tags: tags(21) }, /20/], ['9900', { tags: [{}] }, /vault\.tags\.0\.key/],
    ['9900', { tags: [{ key: '' }] }, /vault\.tags\.0\.key/], ['9900', { tags: [{ key: '  ' }] }, /vault\.tags\.0\.key/],
    ['9900', { tags: [{ key: 'x'.repeat(37) }] }, /vault\.tags\.0\.key/], ['9900', { tags: [{ key: 'a=b' }] }, /vault\.tags\.0\.key/],
    ['9900', { tags: [{ key: 'a', value: 'x'.repeat(44) }] }, /vault\.tags\.0\.value/], ['9900', { tags: [{ key: 'a', value: '<' }] }, /vault\.tags\.0\.value/],
    ['9900', { tags: [{ key: 'a' }, { key: ' a' }] }, /vault\.tags\.1\.key provided: a is named twice/],
    ['9900', { enterprise_project_id: true }, /vault\.enterprise_project_id/], ['9900', { enterprise_project_id: 'all_granted_eps' }, /vault\.enterprise_project_id/],
    ['9900', { auto_bind: 'yes' }, /vault\.auto_bind/], ['9900', { auto_expand: 1 }, /vault\.auto_expand/], ['9900', { smn_notify: 'true' }, /vault\.smn_notify/],
    ['9900', { threshold: 0 }, /vault\.threshold/], ['9900', { threshold: 101 }, /vault\.threshold/], ['9900', { threshold: '80' }, /vault\.threshold/],
    ['9900', { locked: 'no' }, /vault\.locked/], ['9900', { bind_rules: { tags: tags(6) } }, /vault\.bind_rules\.tags/],
    ['9900', { bind_rules: { tags: [{ key: 'a|b' }] } }, /vault\.bind_rules\.tags\.0\.key/], ['9900', { bind_rules: { tags: [{ value: 'b' }] } }, /vault\.bind_rules\.tags\.0\.key/],
    ['9900', { backup_name_prefix: 'x'.repeat(33) }, /vault\.backup_name_prefix/], ['9900', { sys_lock_source_service: 'XYZ' }, /vault\.sys_lock_source_service/],
    ['9900', { availability_zone: '' }, /vault\.availability_zone/], ['9900', { availability_zone: 'x'.repeat(33) }, /vault\.availability_zone/],
  ]
  for (const [code, vault, text] of bad) {
    await refused(service, code, 'POST', VAULTS, { vault: { name: 'docs', billing, resources: [], ...vault } }, text)
  }
  for (const body of [undefined, '', '[', 'null', [], {}, { vault: null }, { vault: [] }, 'x'.repeat(10)]) await refused(service, '9900', 'POST', VAULTS, body)
  const { body } = await service.call<{ count: number }>('GET', VAULTS)
  assert.equal(body.count, 1, 'only the first vault is there')
  assert.deepEqual(await show(service, holder.id), holder)
})

test('a vault at its limits is taken: 256 resources, 20 tags, the longest texts', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service, {
    name: 'n'.repeat(64), description: 'd'.repeat(255), resources: Array.from({ length: 256 }, () => turbo()),
    tags: Array.from({ length: 20 }, (_, n) => ({ key: `${'k'.repeat(34)}${String(n).padStart(2, '0')}`, value: 'v'.repeat(43) })),
    bind_rules: { tags: Array.from({ length: 5 }, (_, n) => ({ key: `k${n}` })) }, backup_name_prefix: 'p'.repeat(32), availability_zone: 'z'.repeat(32),
  })
  assert.equal(vault.resources.length, 256)
  await refused(service, '6100', 'POST', `${VAULTS}/${vault.id}/addresources`, { resources: [turbo()] })
})

test('the list filters by everything that is documented, alone and together', async () => {
  await using service = await startTestService({ agent: 'none' })
  const [mine, other] = [randomUUID(), randomUUID()]
  const turboVault = await create(service, { resources: [turbo(mine)], enterprise_project_id: 'ep-1' })
  const disks = await create(service, { name: 'disks', billing: { ...billing, object_type: 'disk' }, resources: [{ id: other, type: 'OS::Cinder::Volume' }] })
  const servers = await create(service, { name: 'servers', billing: { ...billing, object_type: 'server' } })
  const all = [servers.id, disks.id, turboVault.id]
  const list = async (query: string): Promise<string[]> => {
    const { status, body } = await service.call<{ vaults: Vault[], count: number }>('GET', `${VAULTS}?${query}`)
    assert.equal(status, 200, query)
    assert.equal(body.count, body.vaults.length)
    return body.vaults.map((vault) => vault.id)
  }
  const expectations: [string, string[]][] = [
    ['', all], ['name=docs', [turboVault.id]], ['name=doc', []], [`id=${disks.id}`, [disks.id]], [`id=${disks.id.toUpperCase()}&id=${servers.id}`, [servers.id, disks.id]],
    ['id=nonsense', []], ['status=available', all], ['status=deleting', []], ['cloud_type=public', all], ['cloud_type=hybrid', []], ['protect_type=backup', all],
    ['protect_type=replication', []], ['protect_type=hybrid', []], ['object_type=disk', [disks.id]], ['object_type=rds', []], ['policy_id=any', []],
    [`resource_ids=${mine}`, [turboVault.id]], [`resource_ids=${mine},${other}`, [disks.id, turboVault.id]], [`resource_ids=${randomUUID()}`, []],
    ['enterprise_project_id=ep-1', [turboVault.id]], ['enterprise_project_id=0', [servers.id, disks.id]], ['enterprise_project_id=all_granted_eps', all], ['enterprise_project_id=', all],
    [`object_type=disk&name=disks&resource_ids=${other}&status=available`, [disks.id]], ['object_type=disk&name=docs', []], ['unknown=1', all],
  ]
  for (const [query, ids] of expectations) assert.deepEqual(await list(query), ids, query)
  const badQueries = [
    'name=a%20b', 'status=locked', 'cloud_type=x', 'protect_type=x', 'object_type=x', 'limit=0', 'limit=-1', 'limit=x', 'limit=1.5', 'limit=', 'offset=-1', 'offset=x',
    'limit=1&limit=2', 'name=a&name=b', 'name=%00', 'status=',
  ]
  for (const query of badQueries) await refused(service, '9900', 'GET', `${VAULTS}?${query}`, undefined, new RegExp(`Invalid ${query.split('=')[0]} provided`))
})

test('the list pages by offset and by marker, newest first, ties included', async () => {
  await using service = await startTestService({ agent: 'none' })
  for (let n = 0; n < 12; n += 1) {
    assert.equal((await post(service, { name: `v${n}` })).status, 200)
    if (n % 4 === 3) service.clock.tick()
  }
  const page = async (query: string) => {
    const { body } = await service.call<{ vaults: Vault[], count: number, limit: number, offset: number }>('GET', `${VAULTS}?${query}`)
    assert.equal(body.count, 12)
    return body
  }
  const whole = (await page('')).vaults
  assert.equal(new Set(whole.map((vault) => vault.id)).size, 12)
  assert.deepEqual(whole.map((vault) => vault.created_at), whole.map((vault) => vault.created_at).toSorted().toReversed())
  const byOffset: Vault[] = []
  for (let offset = 0; offset < 15; offset += 5) byOffset.push(...(await page(`limit=5&offset=${offset}`)).vaults)
  assert.deepEqual(byOffset, whole)
  const byMarker = (await page('limit=5')).vaults
  for (let found = byMarker; found.length > 0;) {
    found = (await page(`limit=5&marker=${byMarker.at(-1)?.id}`)).vaults
    byMarker.push(...found)
  }
  assert.deepEqual(byMarker, whole)
  assert.deepEqual((await page('offset=12')).vaults, [])
  assert.deepEqual((await page('marker=unknown')).vaults, [])
  assert.deepEqual((await page(`limit=2&offset=9&marker=${whole[0]?.id}`)).vaults, whole.slice(1, 3), 'the marker wins')
  const { limit, offset } = await page('limit=5000&offset=3')
  assert.deepEqual({ limit, offset }, { limit: 1000, offset: 3 })
})

test('a change touches what it names, and answers what a look at the vault shows', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service, { billing: { ...billing, object_type: 'server' }, bind_rules: { tags: [{ key: 'a' }] } })
  const put = async (change: Record<string, unknown>): Promise<Vault> => {
    const answer = await service.call<VaultBody>('PUT', `${VAULTS}/${vault.id}`, { vault: change })
    assert.equal(answer.status, 200, JSON.stringify(answer.body))
    assert.deepEqual(await show(service, vault.id), answer.body.vault)
    return answer.body.vault
  }
  assert.deepEqual(await put({}), vault)
  assert.deepEqual(await put({ billing: { consistent_level: '' }, name: null, description: 'not changed here' }), vault)
  assert.deepEqual(await put({ name: 'renamed' }), { ...vault, name: 'renamed' })
  assert.equal((await put({ billing: { size: 1 } })).billing.size, 1)
  assert.equal((await put({ billing: { size: 10_485_760 } })).billing.size, 10_485_760)
  assert.equal((await put({ billing: { consistent_level: 'app_consistent' } })).billing.consistent_level, 'app_consistent')
  const settings = { auto_bind: true, auto_expand: true, smn_notify: false, threshold: 1 }
  const changed = await put({ ...settings, bind_rules: { tags: [] } })
  for (const [member, value] of Object.entries(settings)) assert.equal(changed[member as keyof Vault], value)
  assert.deepEqual(changed.bind_rules, { tags: [] })
  assert.equal((await put({ locked: false })).locked, false)
  assert.equal((await put({ locked: true })).locked, true)
  assert.equal((await put({ locked: true })).locked, true)
  await refused(service, '6110', 'PUT', `${VAULTS}/${vault.id}`, { vault: { locked: false } }, /vault not support to modify locked attribute from true to false\./)
  await refused(service, '6110', 'PUT', `${VAULTS}/${vault.id}`, { vault: { billing: { consistent_level: 'crash_consistent' } } })
})

test('bad changes are refused and change nothing', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service)
  await db(service).updateTable('vaults').set({ used_bytes: 5 * 1024 ** 3 + 1 }).execute()
  const before = await show(service, vault.id)
  assert.equal(before.billing.used, 5121)
  const bad: [string, unknown, RegExp][] = [
    ['9900', undefined, /body/], ['9900', {}, /vault/], ['9900', { vault: { name: '' } }, /vault\.name/], ['9900', { vault: { name: 'a/b' } }, /vault\.name/],
    ['9900', { vault: { billing: { size: 'x' } } }, /vault\.billing\.size/], ['6101', { vault: { billing: { size: 0 } } }, /vault\.billing\.size/],
    ['6101', { vault: { billing: { size: 10_485_761 } } }, /vault\.billing\.size/], ['6101', { vault: { billing: { size: 5 } } }, /holds 5121 MB/],
    ['6110', { vault: { name: 'changed', billing: { consistent_level: 'app_consistent' } } }, /only vaults for servers/],
    ['9900', { vault: { billing: { consistent_level: 'x' } } }, /consistent_level/], ['9900', { vault: { threshold: 0 } }, /vault\.threshold/],
    ['9900', { vault: { name: 'changed', threshold: 101 } }, /vault\.threshold/], ['9900', { vault: { locked: 'yes' } }, /vault\.locked/],
    ['9900', { vault: { bind_rules: { tags: 'x' } } }, /vault\.bind_rules\.tags/], ['9900', { vault: { auto_bind: 0 } }, /vault\.auto_bind/],
  ]
  for (const [code, body, text] of bad) await refused(service, code, 'PUT', `${VAULTS}/${vault.id}`, body, text)
  assert.deepEqual(await show(service, vault.id), before)
})

test('ids that are no UUIDs, and vaults that are not there', async () => {
  await using service = await startTestService({ agent: 'none' })
  const calls: [string, string, unknown][] = [
    ['GET', '', undefined], ['PUT', '', { vault: {} }], ['DELETE', '', undefined], ['POST', '/addresources', { resources: [turbo()] }],
    ['POST', '/removeresources', { resource_ids: [randomUUID()] }],
  ]
  for (const [method, verb, body] of calls) {
    await refused(service, '9900', method, `${VAULTS}/nonsense${verb}`, body, /Invalid vault_id provided: nonsense is not a UUID/)
    await refused(service, '6105', method, `${VAULTS}/${randomUUID()}${verb}`, body)
  }
  await refused(service, '9900', 'GET', '/x/v1/{project_id}/vaults/nonsense/recovery-kit', undefined, /vault_id/)
  await refused(service, '6105', 'GET', `/x/v1/{project_id}/vaults/${randomUUID()}/recovery-kit`)
})

test('resources are associated, and again to change their disks', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service, { billing: { ...billing, object_type: 'server' } })
  const [first, second] = [randomUUID(), randomUUID()]
  const add = (resources: unknown[]) => service.call('POST', `${VAULTS}/${vault.id}/addresources`, { resources })
  assert.deepEqual((await add([server(first, { name: null, extra_info: null })])).body, { add_resource_ids: [first] })
  service.clock.tick()
  const again = await add([server(second, { name: 'two' }), server(first, { extra_info: { exclude_volumes: ['v'] } })])
  assert.equal(again.status, 200)
  assert.deepEqual(again.body, { add_resource_ids: [second, first] })
  const { resources } = await show(service, vault.id)
  assert.deepEqual(resources.map(({ id, name, extra_info }) => ({ id, name, extra_info })), [
    { id: first, name: '', extra_info: { exclude_volumes: ['v'] } }, { id: second, name: 'two', extra_info: {} },
  ])
  const elsewhere = await create(service, { billing: { ...billing, object_type: 'server' } })
  const path = `${VAULTS}/${elsewhere.id}/addresources`
  const bad: [string, unknown, RegExp][] = [
    ['9900', undefined, /body/], ['9900', {}, /resources/], ['9900', { resources: [] }, /resources/], ['9900', { resources: [{}] }, /resources\.0/],
    ['9900', { resources: [server('x')] }, /resources\.0\.id/], ['9900', { resources: [server(randomUUID()), { id: first, type: 'x' }] }, /resources\.1\.type/],
    ['6102', { resources: [turbo()] }, /OS::Sfs::Turbo/], ['6103', { resources: [server(randomUUID()), server(first)] }, new RegExp(`${first}.*${vault.id}`)],
    ['6104', { resources: [server(first), server(first)] }, new RegExp(first)], ['6100', { resources: Array.from({ length: 257 }, () => server(randomUUID())) }, /256/],
  ]
  for (const [code, body, text] of bad) await refused(service, code, 'POST', path, body, text)
  assert.deepEqual((await show(service, elsewhere.id)).resources, [])
})

test('a removal marks the resources, tells a task of it, and is refused for what is busy, locked or not there', async () => {
  await using service = await startTestService({ agent: 'none' })
  const [first, second, third] = [randomUUID(), randomUUID(), randomUUID()]
  const vault = await create(service, { resources: [turbo(first), { ...turbo(second), name: 'two' }, turbo(third)] })
  const path = `${VAULTS}/${vault.id}/removeresources`
  const setStatus = (status: 'protecting' | 'restoring' | 'available') =>
    db(service).updateTable('vault_resources').set({ protect_status: status }).where('resource_id', '=', first as never).execute()
  const bad: [string, unknown][] = [
    ['9900', undefined], ['9900', {}], ['9900', { resource_ids: [] }], ['9900', { resource_ids: 'x' }], ['9900', { resource_ids: [1] }], ['9900', { resource_ids: ['x'] }],
    ['9900', { resource_ids: Array.from({ length: 257 }, () => randomUUID()) }], ['6135', { resource_ids: [second, randomUUID()] }],
  ]
  for (const [code, body] of bad) await refused(service, code, 'POST', path, body)
  await setStatus('protecting')
  await refused(service, '6125', 'POST', path, { resource_ids: [second, first] })
  await setStatus('restoring')
  await refused(service, '6125', 'POST', path, { resource_ids: [second, first] }, /being restored/)
  await setStatus('available')
  const answer = await service.call('POST', path, { resource_ids: [first, second, first] })
  assert.equal(answer.status, 200)
  assert.deepEqual(answer.body, { remove_resource_ids: [first, second] })
  const { resources } = await show(service, vault.id)
  assert.deepEqual(new Map(resources.map((resource) => [resource.id, resource.protect_status])), new Map([
    [first, 'removing'], [second, 'removing'], [third, 'available'],
  ]))
  await refused(service, '6134', 'POST', path, { resource_ids: [first] })
  await refused(service, '6134', 'POST', `${VAULTS}/${vault.id}/addresources`, { resources: [turbo(first)] })
  const logs = await service.call<{ operation_logs: { operation_type: string, status: string, extra_info: { remove_resources: { resources: { id: string }[] } } }[] }>(
    'GET', `/v3/{project_id}/operation-logs?vault_id=${vault.id}`)
  const [log, ...others] = logs.body.operation_logs
  assert.equal(others.length, 0)
  assert.equal(log?.operation_type, 'remove_resource')
  assert.deepEqual(log?.extra_info.remove_resources.resources.map((resource) => resource.id).toSorted(), [first, second].toSorted())
  await refused(service, '6112', 'DELETE', `${VAULTS}/${vault.id}`)

  const locked = await create(service, { locked: true, resources: [turbo()] })
  await refused(service, '6110', 'POST', `${VAULTS}/${locked.id}/removeresources`, { resource_ids: [locked.resources[0]?.id] }, /locked/)
})

test('a deletion marks the vault and tells a task of it, and nothing changes the vault any more', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service, { resources: [turbo()] })
  const path = `${VAULTS}/${vault.id}`
  const answer = await service.call('DELETE', path)
  assert.equal(answer.status, 204)
  assert.equal((await show(service, vault.id)).billing.status, 'deleting')
  await refused(service, '6203', 'DELETE', path, undefined, /being deleted already/)
  await refused(service, '6112', 'PUT', path, { vault: { name: 'x' } })
  await refused(service, '6112', 'POST', `${path}/addresources`, { resources: [turbo()] })
  await refused(service, '6112', 'POST', `${path}/removeresources`, { resource_ids: [vault.resources[0]?.id] })
  const logs = await service.call<{ operation_logs: { operation_type: string, extra_info: object }[] }>('GET', `/v3/{project_id}/operation-logs?vault_id=${vault.id}`)
  assert.deepEqual(logs.body.operation_logs.map((log) => log.operation_type), ['vault_delete'])
})

test('the status of a vault decides what may be done with it', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service, { resources: [turbo()] })
  const path = `${VAULTS}/${vault.id}`
  const setStatus = (status: 'lock' | 'frozen' | 'error') => db(service).updateTable('vaults').set({ status }).execute()
  await setStatus('lock')
  assert.equal((await service.call('POST', `${path}/addresources`, { resources: [turbo()] })).status, 200)
  await refused(service, '6112', 'PUT', path, { vault: { billing: { size: 20 } } })
  await refused(service, '6111', 'DELETE', path, undefined, /lock/)
  await setStatus('frozen')
  assert.equal((await show(service, vault.id)).frozen, true)
  await refused(service, '6112', 'POST', `${path}/addresources`, { resources: [turbo()] })
  await refused(service, '6112', 'PUT', path, { vault: { name: 'x' } })
  await refused(service, '6111', 'DELETE', path)
  await setStatus('error')
  assert.equal((await service.call('DELETE', path)).status, 204)
})

test('the recovery kit names the repository and opens the password for nobody else', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service)
  const other = await create(service)
  const kit = async (id: string) => {
    const answer = await service.call<{ recovery_kit: Record<string, unknown> }>('GET', `/x/v1/{project_id}/vaults/${id}/recovery-kit`)
    assert.equal(answer.headers.get('cache-control'), 'no-store')
    return answer.body.recovery_kit
  }
  const { password, ...rest } = await kit(vault.id)
  assert.deepEqual(rest, {
    vault_id: vault.id, vault_name: 'docs', repository: join(service.dataDir, 'vaults', service.projectId, vault.id), repository_id: null, exists: false, variables: [],
  })
  assert.match(String(password), /^[A-Za-z0-9_-]{43}$/)
  assert.notEqual((await kit(other.id))['password'], password)
  const rows = await db(service).selectFrom('vaults').selectAll().execute()
  assert.ok(!JSON.stringify(rows).includes(String(password)))
})

test('an unknown project and somebody else\'s get one answer, and nothing of each other', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service)
  const foreign = 'f'.repeat(32) as typeof service.bootstrap.project_id
  await db(service).insertInto('projects').values({ id: foreign as never, domain_id: service.bootstrap.domain_id as never, name: 'other' }).execute()
  const calls: [string, string, unknown][] = [
    ['GET', '/vaults', undefined], ['POST', '/vaults', { vault: { name: 'x', billing, resources: [] } }], ['GET', `/vaults/${vault.id}`, undefined],
    ['PUT', `/vaults/${vault.id}`, { vault: { name: 'x' } }], ['DELETE', `/vaults/${vault.id}`, undefined], ['POST', `/vaults/${vault.id}/addresources`, { resources: [turbo()] }],
    ['POST', `/vaults/${vault.id}/removeresources`, { resource_ids: [randomUUID()] }],
  ]
  for (const [method, path, body] of calls) {
    const answers = await Promise.all([foreign, randomUUID(), 'x'].map((project) => service.call<Refusal>(method, `/v3/${project}${path}`, body)))
    for (const { status, body: refusal } of answers) {
      assert.equal(status, 403)
      assert.equal(refusal.error_code, 'APIGW.0302')
      assert.equal(refusal.error_msg, answers[0]?.body.error_msg)
    }
    assert.equal((await service.call(method, `/v3/{project_id}${path}`, body, { headers: { 'x-auth-token': '' } })).status, 401)
  }
  assert.deepEqual(await show(service, vault.id), vault)
  // A vault of another project does not exist for this one, whatever its id.
  await db(service).updateTable('vaults').set({ project_id: foreign as never }).execute()
  await refused(service, '6105', 'GET', `${VAULTS}/${vault.id}`)
  assert.equal((await service.call<{ count: number }>('GET', VAULTS)).body.count, 0)
})

test('what a resource\'s backups amount to is counted in its vault', async () => {
  await using service = await startTestService({ agent: 'none' })
  const [first, second] = [randomUUID(), randomUUID()]
  const vault = await create(service, { resources: [turbo(first), turbo(second)] })
  const run = await service.call<{ checkpoint: { id: string } }>('POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: vault.id, parameters: { resources: [first] } } })
  assert.equal(run.status, 200)
  await db(service).updateTable('backups').set({ stored_bytes: 3 * 1024 ** 2 + 1, status: 'available' }).execute()
  const { resources } = await show(service, vault.id)
  const amounts = new Map(resources.map(({ id, backup_count, backup_size }) => [id, { backup_count, backup_size }]))
  assert.deepEqual(amounts.get(first), { backup_count: 1, backup_size: 4 })
  assert.deepEqual(amounts.get(second), { backup_count: 0, backup_size: 0 })
})
