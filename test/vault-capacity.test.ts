/** How full vaults are, from what their repositories really take up, and what follows from it. */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Event, Vault } from '@opencbr/contract'
import { startTestService, type TestService } from '@opencbr/testkit'
import { startBackupService, until, type BackupService } from './support/backup-service.ts'

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

/** Every file of a directory with its content; undefined when there is no directory. */
async function contentOf(directory: string): Promise<Map<string, string> | undefined> {
  const entries = await fs.readdir(directory, { recursive: true, withFileTypes: true }).catch(() => undefined)
  if (entries === undefined) return undefined
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).toSorted()
  return new Map(await Promise.all(files.map(async (path) => [path, (await fs.readFile(path)).toString('hex')] as const)))
}

async function failsOverCapacity({ steps }: BackupService, vaultId: string, resources?: readonly string[]): Promise<void> {
  const { id } = await steps.startCheckpoint(vaultId, resources === undefined ? {} : { resources })
  assert.equal((await steps.checkpointEnd(id)).status, 'error')
  const task = await steps.taskOf(id)
  assert.equal(task.status, 'failed')
  assert.equal(task.error_info.code, 'BackupService.6114')
  assert.match(task.error_info.message, /hold more than its size/)
}

test('a run that would pass the capacity fails before it writes anything, and one in a full vault does not start', async () => {
  await using backup = await startBackupService()
  const { service, steps } = backup
  const { tree, resource } = await makeTree(backup, 48)
  const other = join(backup.root, 'other')
  await fs.mkdir(other)
  const otherResource = await steps.declare(other)
  const vaultId = await steps.createVault('turbo', [resource, otherResource])
  const repository = join(backup.dataDir, 'vaults', service.projectId, vaultId)

  // Not even a repository is made for a first run.
  await fill(service, vaultId, 20)
  await failsOverCapacity(backup, vaultId, [resource])
  assert.equal(await contentOf(repository), undefined)

  // Nor anything added to one that is there, in a first run of a resource and in a later one.
  assert.equal((await steps.backUp(vaultId, { resources: [otherResource] }))[0]?.status, 'available')
  await fill(service, vaultId, 20)
  const before = await contentOf(repository)
  await failsOverCapacity(backup, vaultId, [resource])
  await fill(service, vaultId, 60)
  assert.equal((await steps.backUp(vaultId, { resources: [resource] }))[0]?.status, 'available')
  for (let n = 0; n < 3; n += 1) await fs.writeFile(join(tree, `f${n}`), randomBytes(MB))
  await fill(service, vaultId, 2)
  const grown = await contentOf(repository)
  assert.ok(before !== undefined && grown !== undefined && grown.size > before.size)
  await failsOverCapacity(backup, vaultId, [resource])
  assert.deepEqual(await contentOf(repository), grown)
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

test('a run fits when only little of its source is new, or compresses well enough', async () => {
  await using backup = await startBackupService()
  const { service, steps } = backup
  const { tree, resource } = await makeTree(backup, 24)
  await fs.writeFile(join(tree, 'zeros'), Buffer.alloc(24 * MB))
  const image = join(backup.root, 'image')
  await fs.writeFile(image, Buffer.concat(Array.from({ length: 24 }, (_, n) => Buffer.from('a line of text\n'.repeat(MB / 15 + n)))))
  const vaultId = await steps.createVault('turbo', [resource])
  // What compresses, before there is a repository.
  await fill(service, vaultId, 30)
  assert.equal((await steps.backUp(vaultId))[0]?.status, 'available')
  assert.ok((await steps.vault(vaultId)).billing.used >= 100 * 1024 - 10)
  // What is there already, also in another place, and 3 MB that are not.
  await fs.rename(join(tree, 'f0'), join(tree, 'g0'))
  for (let n = 1; n < 4; n += 1) await fs.writeFile(join(tree, `f${n}`), randomBytes(MB))
  await fill(service, vaultId, 4)
  assert.equal((await steps.backUp(vaultId))[0]?.status, 'available')
  assert.equal((await steps.backUp(vaultId, { incremental: false }))[0]?.status, 'available')

  const disks = await steps.createVault('disk', [await steps.declare(image, 'OS::Cinder::Volume')], 'disks')
  await fill(service, disks, 4)
  assert.equal((await steps.backUp(disks))[0]?.status, 'available')
})

test('several runs in one vault do not pass its capacity together, and one that fits only alone waits', async () => {
  await using backup = await startBackupService(undefined, { config: { writersPerVault: 2 } })
  const { service, steps } = backup
  const resources = await Promise.all(['a', 'b', 'c'].map(async (name) => {
    const tree = join(backup.root, name)
    await fs.mkdir(tree)
    for (let n = 0; n < 24; n += 1) await fs.writeFile(join(tree, `f${n}`), randomBytes(MB))
    return steps.declare(tree)
  }))
  const vaultId = await steps.createVault('turbo', resources)
  await fill(service, vaultId, 60)
  const { id } = await steps.startCheckpoint(vaultId)
  await steps.checkpointEnd(id)
  const ends = (await steps.tasks()).map((task) => task.error_info.code).toSorted()
  // Two fit, whichever; the third one does not.
  assert.deepEqual(ends, ['', '', 'BackupService.6114'])
  assert.ok((await steps.vault(vaultId)).billing.used <= 100 * 1024)
  assert.deepEqual(await service.service.deps.db.selectFrom('jobs').select('id').where('reserved_bytes', 'is not', null).execute(), [])
})

test('cancelled in the dry pass, a run leaves nothing', async () => {
  await using backup = await startBackupService()
  const { service, steps, root } = backup
  const image = join(root, 'image')
  // Long enough to be met in the middle: all of it is read, and next to nothing is stored.
  await fs.writeFile(image, '')
  const pattern = Buffer.alloc(MB, 'a line of text\n')
  for (let n = 0; n < 512; n += 1) {
    pattern.writeUInt32LE(n)
    await fs.appendFile(image, pattern)
  }
  const vaultId = await steps.createVault('disk', [await steps.declare(image, 'OS::Cinder::Volume')])
  await fill(service, vaultId, 400)
  const { id } = await steps.startCheckpoint(vaultId)
  const task = await until('the dry pass', async () => {
    const found = await steps.taskOf(id)
    return found.extra_info.common.progress > 0 ? found : undefined
  })
  assert.ok(task.extra_info.common.progress < 50, 'the dry pass is the first half')
  assert.equal((await service.call('POST', `/x/v1/{project_id}/tasks/${task.id}/cancel`)).status, 202)
  assert.match((await steps.taskEnd(task.id)).error_info.message, /^Cancelled/)
  assert.equal(await contentOf(join(backup.dataDir, 'vaults', service.projectId, vaultId)), undefined)
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
  // Before the run wrote anything, that is.
  assert.match(event.message, /had no room for a run and has grown from 100 to 125 GB/)
  assert.equal((await events(service, 'kind=vault.expanded')).length, 1)

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
