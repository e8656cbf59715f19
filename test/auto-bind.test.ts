/** Resources that vaults take in by themselves before a scheduled run. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { Event, Vault } from '@opencbr/contract'
import { bindAutomatically } from '@opencbr/server'
import { startTestService, type TestService } from '@opencbr/testkit'

const GB = 1024 ** 3

async function declare(service: TestService, name: string, sizeGb: number, tags: Readonly<Record<string, string>> = {}, type = 'OS::Sfs::Turbo'): Promise<string> {
  const { db, clock } = service.service.deps
  const id = randomUUID()
  service.clock.tick()
  await db.insertInto('resources').values({
    id, project_id: service.projectId, type, name, path: `/${name}`, size_bytes: sizeGb * GB, created_at: clock.now(), updated_at: clock.now(),
  } as never).execute()
  for (const [key, value] of Object.entries(tags)) await db.insertInto('resource_tags').values({ resource_id: id, key, value } as never).execute()
  return id
}

async function create(service: TestService, size: number, more: object = {}): Promise<Vault> {
  const { status, body } = await service.call<{ vault: Vault }>('POST', '/v3/{project_id}/vaults', {
    vault: {
      name: 'binder', resources: [], auto_bind: true, billing: { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size }, ...more,
    },
  })
  assert.equal(status, 200, JSON.stringify(body))
  return body.vault
}

/** What the scheduler does before a run; answers the names of what is in the vault then. */
async function cycle(service: TestService, { id }: Vault): Promise<string[]> {
  const { deps } = service.service
  await deps.db.transaction().execute(async (tx) => {
    const row = await tx.selectFrom('vaults').selectAll().where('id', '=', id as never).executeTakeFirstOrThrow()
    await bindAutomatically(deps, tx, row)
  })
  const { body } = await service.call<{ vault: Vault }>('GET', `/v3/{project_id}/vaults/${id}`)
  return body.vault.resources.map((resource) => resource.name).toSorted()
}

async function events(service: TestService, query = ''): Promise<Event[]> {
  return (await service.call<{ events: Event[] }>('GET', `/x/v1/{project_id}/events?${query}`)).body.events
}

test('a vault takes in what is unprotected and fits, and tells of it once', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service, 200)
  await declare(service, 'mail', 50)
  await declare(service, 'disk', 1, {}, 'OS::Cinder::Volume')
  const held = await declare(service, 'held', 5)
  await create(service, 100, { name: 'other', auto_bind: false, resources: [{ id: held, type: 'OS::Sfs::Turbo' }] })
  assert.deepEqual(await cycle(service, vault), ['mail'])
  assert.deepEqual(await cycle(service, vault), ['mail'])
  const [event, ...more] = await events(service)
  assert.deepEqual(more, [])
  assert.equal(event?.kind, 'vault.resources_bound')
  assert.equal(event.vault_id, vault.id)
  assert.match(event.message, /binder has taken in by itself: mail\./)
})

test('the free allocation must be above 40 GB and above the resource, each time anew', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service, 100)
  await declare(service, 'a-as-large-as-the-vault', 100)
  await declare(service, 'b-fits', 59)
  await declare(service, 'c-fits-while-41-are-free', 40)
  await declare(service, 'd-too-late', 1)
  assert.deepEqual(await cycle(service, vault), ['b-fits', 'c-fits-while-41-are-free'])
  const [failed] = await events(service, 'kind=vault.binding_failed')
  assert.equal(failed?.facts['error_code'], 'BackupService.6142')
  assert.match(failed.message, /a-as-large-as-the-vault \(100 GB\), d-too-late \(1 GB\)/)
  await cycle(service, vault)
  assert.equal((await events(service, 'kind=vault.binding_failed')).length, 1, 'the same is not told again')
  const small = await create(service, 40, { name: 'small' })
  assert.deepEqual(await cycle(service, small), [])
  const roomy = await create(service, 200, { name: 'roomy' })
  await declare(service, 'e-fits-elsewhere', 2)
  await cycle(service, small)
  assert.equal((await events(service, `kind=vault.binding_failed&vault_id=${small.id}`)).length, 1, 'what another vault will take is no failure')
  assert.deepEqual(await cycle(service, roomy), ['a-as-large-as-the-vault', 'd-too-late', 'e-fits-elsewhere'])
})

test('with rules a resource needs any of the tags; without rules, or when the vault does not bind, nothing else counts', async () => {
  await using service = await startTestService({ agent: 'none' })
  await declare(service, 'web', 1, { team: 'web' })
  await declare(service, 'db', 1, { team: 'db' })
  await declare(service, 'any', 1, { backup: 'whatever' })
  await declare(service, 'bare', 1)
  const idle = await create(service, 100, { auto_bind: false, bind_rules: { tags: [{ key: 'team' }] } })
  assert.deepEqual(await cycle(service, idle), [])
  const vault = await create(service, 100, { bind_rules: { tags: [{ key: 'team', value: 'web' }, { key: 'backup' }] } })
  assert.deepEqual(await cycle(service, vault), ['any', 'web'])
  await service.call('PUT', `/v3/{project_id}/vaults/${vault.id}`, { vault: { bind_rules: { tags: [] } } })
  assert.deepEqual(await cycle(service, vault), ['any', 'bare', 'db', 'web'])
})

test('a vault never holds more than 256 resources', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vault = await create(service, 10_000)
  for (let n = 0; n < 260; n += 1) await declare(service, `r${n}`, 1)
  assert.equal((await cycle(service, vault)).length, 256)
})

test('a scheduled run takes in what matches and backs it up, in the vault that runs soonest; one without a policy never does', async () => {
  await using service = await startTestService({ agent: 'none' })
  const rules = { bind_rules: { tags: [{ key: 'team', value: 'web' }] } }
  const vaults = [await create(service, 100, { name: 'late', ...rules }), await create(service, 100, { name: 'soon', ...rules }), await create(service, 100, { name: 'never', ...rules })]
  for (const [place, hour] of [[0, 12], [1, 10]] as const) {
    const { body: { policy } } = await service.call<{ policy: { id: string } }>('POST', '/v3/{project_id}/policies', { policy: {
      name: 'p', operation_type: 'backup', operation_definition: {}, trigger: { properties: { pattern: [`FREQ=DAILY;INTERVAL=1;BYHOUR=${hour};BYMINUTE=00`] } },
    } })
    assert.equal((await service.call('POST', `/v3/{project_id}/vaults/${vaults[place]?.id}/associatepolicy`, { policy_id: policy.id })).status, 200)
  }
  const web = await declare(service, 'web', 5, { team: 'web' })
  await declare(service, 'mail', 5, { team: 'mail' })
  // To 10:30, and to 12:30.
  for (let turn = 0; turn < 2; turn += 1) {
    service.clock.advanceSeconds(2 * 3600)
    await service.service.scheduler.tick()
  }
  const { body: { backups } } = await service.call<{ backups: { resource_id: string, vault_id: string, status: string }[] }>('GET', '/v3/{project_id}/backups')
  assert.deepEqual(backups.map((backup) => [backup.resource_id, backup.vault_id, backup.status]), [[web, vaults[1]?.id, 'waiting_protect']])
  const { body: { operation_logs: tasks } } = await service.call<{ operation_logs: { vault_name: string, status: string, error_info: { code: string } }[] }>('GET', '/v3/{project_id}/operation-logs')
  assert.deepEqual(tasks.map((task) => [task.vault_name, task.status, task.error_info.code]), [['late', 'skipped', 'BackupService.0001'], ['soon', 'waiting', '']])
})

test('tags are declared with a resource, shown with it and as a protectable, and changed', async () => {
  await using service = await startTestService({ agent: 'none', config: { allowPaths: [import.meta.dirname] } })
  const resource = { type: 'OS::Sfs::Turbo', path: import.meta.dirname, tags: [{ key: ' team ', value: 'web' }, { key: 'b' }] }
  const declared = await service.call<{ resource: { id: string, tags: unknown } }>('POST', '/x/v1/{project_id}/resources', { resource })
  assert.equal(declared.status, 201)
  const { id } = declared.body.resource
  const shown = async () => (await service.call<{ resource: { tags: unknown } }>('GET', `/x/v1/{project_id}/resources/${id}`)).body.resource.tags
  assert.deepEqual(await shown(), [{ key: 'b', value: '' }, { key: 'team', value: 'web' }])
  const { body } = await service.call<{ instance: { detail: { tags: unknown } } }>('GET', `/v3/{project_id}/protectables/turbo/instances/${id}`)
  assert.deepEqual(body.instance.detail.tags, ['b=', 'team=web'])
  const changed = await service.call('PUT', `/x/v1/{project_id}/resources/${id}/tags`, { tags: [{ key: 'c', value: 'd' }] })
  assert.equal(changed.status, 200)
  assert.deepEqual(await shown(), [{ key: 'c', value: 'd' }])
  for (const tags of [[{ key: 'a*' }], [{ key: 'a' }, { key: ' a' }]]) {
    assert.equal((await service.call('PUT', `/x/v1/{project_id}/resources/${id}/tags`, { tags })).status, 400)
  }
  assert.equal((await service.call('PUT', `/x/v1/{project_id}/resources/${randomUUID()}/tags`, { tags: [] })).status, 404)
  assert.equal((await service.call('DELETE', `/x/v1/{project_id}/resources/${id}`)).status, 204)
  assert.deepEqual(await service.service.deps.db.selectFrom('resource_tags').selectAll().execute(), [])
})
