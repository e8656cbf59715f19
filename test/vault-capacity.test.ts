/** How full vaults are, from what their repositories really take up, and what follows from it. */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Event, Vault } from '@opencbr/contract'
import { startTestService, type TestService } from '@opencbr/testkit'
import { startBackupService, type BackupService } from './support/backup-service.ts'

const GB = 1024 ** 3
const MB = 1024 ** 2

/** A vault in which as much is used as if `freeMb` were left of its size: what is measured comes on top of shares. */
async function fill(service: TestService, vaultId: string, freeMb: number): Promise<void> {
  const { db } = service.service.deps
  await db.updateTable('vaults').set(({ ref, eb }) => ({ shared_bytes: eb(eb(ref('size_gb'), '*', GB), '-', eb.parens('used_bytes', '+', freeMb * MB)) as never }))
    .where('id', '=', vaultId as never).execute()
}

async function makeTree({ root, steps }: BackupService, megabytes: number): Promise<{ tree: string, resource: string }> {
  const tree = join(root, 'tree')
  await fs.mkdir(tree)
  for (let n = 0; n < megabytes; n += 1) await fs.writeFile(join(tree, `f${n}`), randomBytes(MB))
  return { tree, resource: await steps.declare(tree) }
}

async function vaultOf(service: TestService, id: string): Promise<Vault> {
  return (await service.call<{ vault: Vault }>('GET', `/v3/{project_id}/vaults/${id}`)).body.vault
}

async function events(service: TestService, query = ''): Promise<Event[]> {
  return (await service.call<{ events: Event[] }>('GET', `/x/v1/{project_id}/events?${query}`)).body.events
}

test('a run that would pass the capacity stops before it does, and one in a full vault does not start', async () => {
  await using backup = await startBackupService()
  const { service, steps } = backup
  const { resource } = await makeTree(backup, 48)
  const vaultId = await steps.createVault('turbo', [resource])
  await fill(service, vaultId, 20)
  const { id } = await steps.startCheckpoint(vaultId)
  const checkpoint = await steps.checkpointEnd(id)
  assert.equal(checkpoint.status, 'error')
  const task = await steps.taskOf(id)
  assert.equal(task.status, 'failed')
  assert.equal(task.error_info.code, 'BackupService.6114')
  assert.match(task.error_info.message, /hold more than its size/)
  const { billing } = await vaultOf(service, vaultId)
  assert.ok(billing.used <= 100 * 1024, `${billing.used} MB are used of 100 GB`)
  assert.equal(billing.size, 100)

  await fill(service, vaultId, 0)
  const refused = await service.call<{ error_code: string }>('POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: vaultId, parameters: {} } })
  assert.equal(refused.status, 400)
  assert.equal(refused.body.error_code, 'BackupService.6114')
  // Enlarging makes room, and the same resource is backed up whole.
  assert.equal((await service.call('PUT', `/v3/{project_id}/vaults/${vaultId}`, { vault: { billing: { size: 101 } } })).status, 200)
  const [made] = await steps.backUp(vaultId)
  assert.equal(made?.status, 'available')
})

test('a vault that grows by itself takes what comes, and tells how it has grown', async () => {
  await using backup = await startBackupService()
  const { service, steps } = backup
  const { resource } = await makeTree(backup, 8)
  const vaultId = await steps.createVault('turbo', [resource])
  assert.equal((await service.call('PUT', `/v3/{project_id}/vaults/${vaultId}`, { vault: { auto_expand: true } })).status, 200)
  await fill(service, vaultId, 2)
  const [made] = await steps.backUp(vaultId)
  assert.equal(made?.status, 'available')
  assert.equal((await vaultOf(service, vaultId)).billing.size, 125)
  const [event] = await events(service, 'kind=vault.expanded')
  assert.equal(event?.vault_id, vaultId)
  assert.deepEqual([event.facts['from'], event.facts['to']], [100, 125])

  // Full before the switch is turned on: that changes nothing for what is there.
  const other = await steps.createVault('turbo', [], 'other')
  await fill(service, other, 0)
  assert.equal((await service.call('PUT', `/v3/{project_id}/vaults/${other}`, { vault: { auto_expand: true } })).status, 200)
  assert.equal((await vaultOf(service, other)).billing.size, 100)
  const refused = await service.call<{ error_code: string }>('POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: other, parameters: {} } })
  assert.equal(refused.body.error_code, 'BackupService.6114')
})

test('reaching the threshold is an event, once per crossing, and none without notifications', async () => {
  await using service = await startTestService({ agent: 'none' })
  const create = async (name: string, more: object = {}) => (await service.call<{ vault: Vault }>('POST', '/v3/{project_id}/vaults', {
    vault: { name, resources: [], billing: { consistent_level: 'crash_consistent', object_type: 'turbo', protect_type: 'backup', size: 100 }, ...more },
  })).body.vault.id
  const [loud, quiet] = [await create('loud'), await create('quiet', { smn_notify: false })]
  const put = async (id: string, vault: object) => assert.equal((await service.call('PUT', `/v3/{project_id}/vaults/${id}`, { vault })).status, 200)
  const told = async () => (await events(service, 'kind=vault.threshold_reached')).map((event) => event.facts['percent'])
  await service.service.deps.db.updateTable('vaults').set({ used_bytes: 50 * GB }).execute()
  await put(loud, { threshold: 51 })
  assert.deepEqual(await told(), [])
  await put(loud, { threshold: 50 })
  await put(loud, { threshold: 40 })
  await put(quiet, { threshold: 50 })
  assert.deepEqual(await told(), [50])
  await put(loud, { billing: { size: 200 } })
  service.clock.tick()
  await put(loud, { billing: { size: 60 } })
  assert.deepEqual(await told(), [83, 50])
  const { body } = await service.call<{ updated_vaults_id: string[] }>('PUT', '/v3/{project_id}/vaults/batch-update', { vault: { smn_notify: true, threshold: 40 } })
  assert.deepEqual(body.updated_vaults_id, [quiet])
  assert.deepEqual((await events(service)).map((event) => event.vault_name).toSorted(), ['loud', 'loud', 'quiet'])
})

test('events page newest first, by kind and vault, and nobody sees those of others', async () => {
  await using service = await startTestService({ agent: 'none' })
  const vaultIds = [randomUUID(), randomUUID()]
  for (let n = 0; n < 9; n += 1) {
    await service.service.deps.db.insertInto('events').values({
      id: randomUUID(), project_id: n === 8 ? 'f'.repeat(32) : service.projectId, kind: n % 2 === 0 ? 'a.b' : 'c.d', vault_id: vaultIds[n % 2],
      vault_name: 'v', resource_id: null, message: `m${n}`, facts: '{}', created_at: Math.floor(n / 2),
    } as never).execute()
  }
  const whole = await events(service)
  assert.equal(whole.length, 8)
  assert.deepEqual(whole.map((event) => event.created_at), whole.map((event) => event.created_at).toSorted().toReversed())
  assert.equal((await events(service, 'kind=a.b')).length, 4)
  assert.equal((await events(service, `vault_id=${vaultIds[1]?.toUpperCase()}`)).length, 4)
  assert.deepEqual([...await events(service, 'limit=3'), ...await events(service, `limit=9&marker=${whole[2]?.id}`)], whole)
  assert.deepEqual(await events(service, 'limit=3&offset=5'), whole.slice(5))
  assert.deepEqual(await events(service, 'marker=unknown'), [])
})
