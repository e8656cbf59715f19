/** Sharing between projects: states and codes, both sides' views, and what a receiver can do with a share. */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { Backup, ListBackupsResponse, Member, MembersAnswer, OperationLog } from '@opencbr/contract'
import type { TestAnswer, TestService } from '@opencbr/testkit'
import { startTestService } from '@opencbr/testkit'
import { startBackupService, until, type BackupService } from './support/backup-service.ts'
import { compareTrees } from './support/compare-trees.ts'
import { addTenant, type Tenant } from './support/tenants.ts'

const GB = 1024 ** 3
const MB = 1024 ** 2

type Call = Tenant['call']

async function createVault(call: Call, { type = 'turbo', size = 10 } = {}): Promise<string> {
  const answer = await call<{ vault: { id: string } }>('POST', '/v3/{project_id}/vaults', {
    vault: { name: 'v', billing: { object_type: type, protect_type: 'backup', size, consistent_level: 'crash_consistent' }, resources: [] },
  })
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body.vault.id
}

/** A backup as a run would leave it, without data: for what happens around backups. */
async function insertBackup(service: TestService, projectId: string, vaultId: string, changes: Record<string, unknown> = {}): Promise<string> {
  const id = crypto.randomUUID()
  const row = {
    id, project_id: projectId, vault_id: vaultId, checkpoint_id: crypto.randomUUID(), parent_id: null, name: 'b', description: '',
    status: 'available', image_type: 'backup', resource_id: crypto.randomUUID(), resource_name: 'r', resource_type: 'OS::Sfs::Turbo',
    resource_size_gb: 1, resource_az: '', enterprise_project_id: '0', provider_id: '3f3c3220-245c-4805-b811-758870015881', incremental: 1,
    auto_trigger: 0, created_at: 1, updated_at: 1, protected_at: 1, expired_at: null, bootable: null, snapshot_id: 'a'.repeat(64),
    support_lld: 0, supported_restore_mode: 'na', contain_system_disk: 0, encrypted: 0, system_disk: 0, is_multi_az: 0,
    os_images_data: null, source_path: '/r', content_bytes: MB, stored_bytes: MB, version: 0, ...changes,
  }
  await service.service.deps.db.insertInto('backups').values(row as never).execute()
  return id
}

function expectCode(answer: TestAnswer<unknown>, code: string): void {
  assert.equal((answer.body as { error_code?: string }).error_code, `BackupService.${code}`, JSON.stringify(answer.body))
}

const membersOf = (backupId: string): string => `/v3/{project_id}/backups/${backupId}/members`

async function share(owner: Call, backupId: string, ...receivers: readonly string[]): Promise<TestAnswer<MembersAnswer>> {
  return owner<MembersAnswer>('POST', membersOf(backupId), { members: receivers })
}

async function answerShare(receiver: Tenant, backupId: string, status: string, vaultId?: string): Promise<TestAnswer<{ member: Member }>> {
  return receiver.call('PUT', `${membersOf(backupId)}/${receiver.projectId}`, { status, ...(vaultId === undefined ? {} : { vault_id: vaultId }) })
}

async function idsSeen(call: Call, query: string): Promise<string[]> {
  const { body } = await call<ListBackupsResponse>('GET', `/v3/{project_id}/backups?${query}`)
  assert.equal(body.count, body.backups.length)
  return body.backups.map((backup) => backup.id).toSorted()
}

async function usedMb(call: Call, vaultId: string): Promise<number> {
  return (await call<{ vault: { billing: { used: number } } }>('GET', `/v3/{project_id}/vaults/${vaultId}`)).body.vault.billing.used
}

test('a share is offered, accepted into a vault, given back, and withdrawn; both sides see it', async () => {
  await using service = await startTestService({ agent: 'none' })
  const [owner, receiver, stranger] = [await addTenant(service, 'owner'), await addTenant(service, 'receiver', { ownDomain: true }), await addTenant(service, 'stranger')]
  const backupId = await insertBackup(service, owner.projectId, await createVault(owner.call))
  const vaultId = await createVault(receiver.call)

  const offered = await share(owner.call, backupId, receiver.projectId)
  assert.equal(offered.status, 200)
  const [member] = offered.body.members
  assert.deepEqual(
    [offered.body.count, member?.status, member?.dest_project_id, member?.vault_id, member?.image_id, member?.updated_at],
    [1, 'pending', receiver.projectId, null, null, null],
  )
  assert.deepEqual(await idsSeen(receiver.call, 'own_type=shared&member_status=pending'), [backupId])
  assert.deepEqual(await idsSeen(receiver.call, ''), [])
  const pending = await receiver.call<{ backup: Backup }>('GET', `/v3/{project_id}/backups/${backupId}`)
  assert.deepEqual([pending.body.backup.vault_id, pending.body.backup.project_id], [null, owner.projectId])
  expectCode(await stranger.call('GET', `/v3/{project_id}/backups/${backupId}`), '6200')

  service.clock.advanceSeconds(1)
  const accepted = await answerShare(receiver, backupId, 'accepted', vaultId)
  assert.deepEqual([accepted.status, accepted.body.member.status, accepted.body.member.vault_id], [200, 'accepted', vaultId])
  assert.notEqual(accepted.body.member.updated_at, null)
  assert.equal(await usedMb(receiver.call, vaultId), 1)
  assert.deepEqual(await idsSeen(receiver.call, `own_type=all_granted&vault_id=${vaultId}`), [backupId])
  assert.equal((await receiver.call<{ backup: Backup }>('GET', `/v3/{project_id}/backups/${backupId}`)).body.backup.vault_id, vaultId)
  assert.equal((await owner.call<{ backup: Backup }>('GET', `/v3/{project_id}/backups/${backupId}`)).body.backup.vault_id === vaultId, false)
  assert.deepEqual(await idsSeen(owner.call, 'member_status=accepted'), [backupId])
  const again = await answerShare(receiver, backupId, 'accepted', vaultId)
  assert.deepEqual([again.status, await usedMb(receiver.call, vaultId)], [200, 1])

  const domain = await receiver.call<{ domain_id: string, project_name: string }>('GET', `/v3/domain/${owner.projectId}`)
  assert.deepEqual([domain.body.domain_id, domain.body.project_name], [service.bootstrap.domain_id, 'owner'])
  for (const id of [owner.projectId, 'x']) assert.equal((await stranger.call('GET', `/v3/domain/${id}`)).status, 404)

  assert.equal((await answerShare(receiver, backupId, 'rejected')).body.member.vault_id, null)
  assert.equal(await usedMb(receiver.call, vaultId), 0)
  assert.deepEqual(await idsSeen(receiver.call, 'own_type=shared&member_status=accepted'), [])
  assert.equal((await answerShare(receiver, backupId, 'accepted', vaultId)).status, 200)

  assert.equal((await receiver.call('DELETE', `${membersOf(backupId)}/${receiver.projectId}`)).status, 404, 'only the owner withdraws')
  assert.equal((await owner.call('DELETE', `${membersOf(backupId)}/${receiver.projectId}`)).status, 204)
  assert.equal(await usedMb(receiver.call, vaultId), 0)
  expectCode(await receiver.call('GET', `/v3/{project_id}/backups/${backupId}`), '6200')
  expectCode(await owner.call('DELETE', `${membersOf(backupId)}/${receiver.projectId}`), '6705')
})

test('what cannot be shared, and what cannot be answered, has its code', async () => {
  await using service = await startTestService({ agent: 'none' })
  const [owner, receiver] = [await addTenant(service, 'owner'), await addTenant(service, 'receiver')]
  const vaultId = await createVault(owner.call)
  const make = (changes: Record<string, unknown> = {}) => insertBackup(service, owner.projectId, vaultId, changes)
  const backupId = await make()
  const { db } = service.service.deps

  for (const id of ['f'.repeat(32), 'x', owner.projectId]) expectCode(await share(owner.call, backupId, receiver.projectId, id), '6704')
  assert.equal((await owner.call<MembersAnswer>('GET', membersOf(backupId))).body.count, 0, 'all or none')
  expectCode(await share(owner.call, backupId, receiver.projectId, receiver.projectId), '9900')
  for (const body of [{}, { members: [] }, { domains: ['a'] }, { members: Array.from({ length: 11 }, () => receiver.projectId) }]) {
    expectCode(await owner.call('POST', membersOf(backupId), body), '9900')
  }
  expectCode(await share(owner.call, crypto.randomUUID(), receiver.projectId), '6200')
  expectCode(await share(receiver.call, backupId, owner.projectId), '6200')
  for (const status of ['error', 'waiting_restore', 'deleting', 'protecting']) expectCode(await share(owner.call, await make({ status }), receiver.projectId), '6702')
  expectCode(await share(owner.call, await make({ image_type: 'replication' }), receiver.projectId), '6707')
  expectCode(await share(owner.call, await make({ parent_id: backupId }), receiver.projectId), '6707')
  expectCode(await share(owner.call, await make({ encrypted: 1, resource_type: 'OS::Nova::Server' }), receiver.projectId), '6709')
  assert.equal((await share(owner.call, backupId, receiver.projectId)).status, 200)
  expectCode(await share(owner.call, backupId, receiver.projectId), '6703')
  expectCode(await share(receiver.call, backupId, owner.projectId), '6714')

  const full = await createVault(receiver.call)
  await db.updateTable('vaults').set({ used_bytes: 10 * GB }).where('id', '=', full as never).execute()
  const busy = await createVault(receiver.call)
  await db.updateTable('vaults').set({ status: 'error' }).where('id', '=', busy as never).execute()
  for (const [vault, code] of [
    [await createVault(receiver.call, { type: 'disk' }), '6713'], [full, '6129'], [busy, '6712'], [vaultId, '6105'], [crypto.randomUUID(), '6105'],
    [undefined, '6706'], ['x', '9900'],
  ] as const) expectCode(await answerShare(receiver, backupId, 'accepted', vault), code)
  expectCode(await answerShare(receiver, backupId, 'pending'), '6706')
  expectCode(await answerShare(receiver, backupId, 'perhaps'), '9900')
  expectCode(await owner.call('PUT', `${membersOf(backupId)}/${receiver.projectId}`, { status: 'rejected' }), '6706')
  expectCode(await receiver.call('PUT', `${membersOf(backupId)}/${owner.projectId}`, { status: 'rejected' }), '6705')
  expectCode(await receiver.call('GET', `${membersOf(backupId)}/${owner.projectId}`), '6705')

  assert.equal((await answerShare(receiver, backupId, 'accepted', await createVault(receiver.call))).status, 200)
  await db.updateTable('backup_members').set({ image_id: 'image' }).where('backup_id', '=', backupId as never).execute()
  expectCode(await answerShare(receiver, backupId, 'rejected'), '6710')
  expectCode(await owner.call('DELETE', `${membersOf(backupId)}/${receiver.projectId}`), '6710')
  expectCode(await receiver.call('DELETE', `/v3/{project_id}/backups/${backupId}`), '6204')
  expectCode(await owner.call('DELETE', `/v3/{project_id}/backups/${backupId}`), '6204')
  await db.updateTable('vaults').set({ status: 'lock' }).where('id', '=', vaultId as never).execute()
  expectCode(await share(owner.call, await make(), receiver.projectId), '6712')
})

test('a server may be told to share backups of servers only', async () => {
  await using service = await startTestService({ agent: 'none', config: { shareServersOnly: true } })
  const [owner, receiver] = [await addTenant(service, 'owner'), await addTenant(service, 'receiver')]
  const vaultId = await createVault(owner.call, { type: 'server' })
  expectCode(await share(owner.call, await insertBackup(service, owner.projectId, vaultId), receiver.projectId), '6700')
  assert.equal((await share(owner.call, await insertBackup(service, owner.projectId, vaultId, { resource_type: 'OS::Nova::Server' }), receiver.projectId)).status, 200)
})

test('shares are listed with filters, orders and pages', async () => {
  await using service = await startTestService({ agent: 'none' })
  const owner = await addTenant(service, 'owner')
  const receivers = [await addTenant(service, 'r1'), await addTenant(service, 'r2'), await addTenant(service, 'r3')]
  const backupId = await insertBackup(service, owner.projectId, await createVault(owner.call))
  for (const receiver of receivers) {
    service.clock.tick()
    await share(owner.call, backupId, receiver.projectId)
  }
  const [first, second, third] = receivers
  assert.ok(first && second && third)
  await answerShare(second, backupId, 'rejected')
  const list = async (query: string, call = owner.call) => {
    const { body } = await call<MembersAnswer>('GET', `${membersOf(backupId)}?${query}`)
    return [body.count, body.members.map((member) => receivers.findIndex((each) => each.projectId === member.dest_project_id) + 1)]
  }
  assert.deepEqual(await list(''), [3, [3, 2, 1]])
  assert.deepEqual(await list('sort=created_at:asc&limit=2'), [3, [1, 2]])
  assert.deepEqual(await list('offset=2'), [3, [1]])
  assert.deepEqual(await list('offset=7'), [3, []])
  assert.deepEqual(await list('status=rejected'), [1, [2]])
  assert.deepEqual(await list(`dest_project_id=${third.projectId}`), [1, [3]])
  assert.deepEqual(await list('sort=status,created_at:asc'), [3, [2, 1, 3]])
  const page = await owner.call<MembersAnswer>('GET', `${membersOf(backupId)}?limit=1&sort=status,created_at:asc`)
  assert.deepEqual(await list(`limit=1&sort=status,created_at:asc&marker=${page.body.members[0]?.id}`), [3, [1]])
  assert.deepEqual(await list(`marker=${crypto.randomUUID()}`), [3, []])
  assert.deepEqual(await list('', first.call), [1, [1]], 'a receiver sees its own share and no other receiver')
  assert.deepEqual(await list(`dest_project_id=${second.projectId}`, first.call), [0, []])
  expectCode(await owner.call('GET', `${membersOf(backupId)}?sort=name`), '9900')
})

// --- A model of who may see what, against the server ---------------------------------------------------

interface Share { status: 'pending' | 'accepted' | 'rejected', vaultId: string | null }
interface Model { readonly shares: Map<string, Share> }
interface Real {
  readonly tenants: readonly Tenant[]
  readonly vaults: readonly string[]
  readonly backups: readonly { readonly id: string, readonly owner: number }[]
}

const keyOf = (backup: number, receiver: number): string => `${backup} ${receiver}`

function at<Item>(items: readonly Item[], index: number): Item {
  const item = items[index]
  assert.ok(item !== undefined)
  return item
}

/** Every project sees its own backups and its shares in their state, and nothing else, by any way of asking. */
async function checkViews(model: Model, { tenants, backups, vaults }: Real): Promise<void> {
  for (const [place, { call }] of tenants.entries()) {
    const own = backups.filter((backup) => backup.owner === place).map((backup) => backup.id).toSorted()
    const received = backups.flatMap(({ id }, index) => {
      const given = model.shares.get(keyOf(index, place))
      return given === undefined ? [] : [{ id, ...given }]
    })
    const receivedIds = received.map(({ id }) => id).toSorted()
    assert.deepEqual(await idsSeen(call, ''), own)
    assert.deepEqual(await idsSeen(call, 'own_type=shared'), receivedIds)
    assert.deepEqual(await idsSeen(call, 'own_type=all_granted'), [...own, ...receivedIds].toSorted())
    const accepted = received.filter((each) => each.status === 'accepted')
    assert.deepEqual(await idsSeen(call, 'own_type=shared&member_status=accepted'), accepted.map(({ id }) => id).toSorted())
    assert.equal(await usedMb(call, at(vaults, place)), accepted.length)
    for (const { id } of backups) {
      const { status } = await call('GET', `/v3/{project_id}/backups/${id}`)
      assert.equal(status, own.includes(id) || receivedIds.includes(id) ? 200 : 404)
    }
  }
}

class Offer implements fc.AsyncCommand<Model, Real> {
  readonly backup: number
  readonly receiver: number
  constructor(backup: number, receiver: number) { this.backup = backup; this.receiver = receiver }
  toString = (): string => `offer ${this.backup} to ${this.receiver}`
  check = (): boolean => true
  async run(model: Model, real: Real): Promise<void> {
    const { id, owner } = at(real.backups, this.backup)
    const { status } = await share(at(real.tenants, owner).call, id, at(real.tenants, this.receiver).projectId)
    const isGood = owner !== this.receiver && !model.shares.has(keyOf(this.backup, this.receiver))
    assert.equal(status, isGood ? 200 : 400)
    if (isGood) model.shares.set(keyOf(this.backup, this.receiver), { status: 'pending', vaultId: null })
    await checkViews(model, real)
  }
}

class Answer implements fc.AsyncCommand<Model, Real> {
  readonly backup: number
  readonly receiver: number
  readonly status: 'accepted' | 'rejected'
  constructor(backup: number, receiver: number, accepts: boolean) {
    this.backup = backup
    this.receiver = receiver
    this.status = accepts ? 'accepted' : 'rejected'
  }
  toString = (): string => `${this.receiver} ${this.status} ${this.backup}`
  check = (): boolean => true
  async run(model: Model, real: Real): Promise<void> {
    const { id, owner } = at(real.backups, this.backup)
    const { status } = await answerShare(at(real.tenants, this.receiver), id, this.status, at(real.vaults, this.receiver))
    const given = model.shares.get(keyOf(this.backup, this.receiver))
    assert.equal(status, given === undefined ? 404 : 200, owner === this.receiver ? 'its own' : '')
    if (given !== undefined) {
      given.status = this.status
      given.vaultId = this.status === 'accepted' ? at(real.vaults, this.receiver) : null
    }
    await checkViews(model, real)
  }
}

class Withdraw implements fc.AsyncCommand<Model, Real> {
  readonly backup: number
  readonly by: number
  readonly receiver: number
  constructor(backup: number, by: number, receiver: number) { this.backup = backup; this.by = by; this.receiver = receiver }
  toString = (): string => `${this.by} withdraws ${this.backup} from ${this.receiver}`
  check = (): boolean => true
  async run(model: Model, real: Real): Promise<void> {
    const { id, owner } = at(real.backups, this.backup)
    const { status } = await at(real.tenants, this.by).call('DELETE', `${membersOf(id)}/${at(real.tenants, this.receiver).projectId}`)
    const isGood = this.by === owner && model.shares.has(keyOf(this.backup, this.receiver))
    assert.equal(status, isGood ? 204 : 404)
    if (isGood) model.shares.delete(keyOf(this.backup, this.receiver))
    await checkViews(model, real)
  }
}

class DeleteReceived implements fc.AsyncCommand<Model, Real> {
  readonly backup: number
  readonly receiver: number
  constructor(backup: number, receiver: number) { this.backup = backup; this.receiver = receiver }
  toString = (): string => `${this.receiver} deletes ${this.backup}`
  /** Deleting an own backup is another story. */
  check = (): boolean => this.receiver !== this.backup % 3
  async run(model: Model, real: Real): Promise<void> {
    const { status } = await at(real.tenants, this.receiver).call('DELETE', `/v3/{project_id}/backups/${at(real.backups, this.backup).id}`)
    const given = model.shares.get(keyOf(this.backup, this.receiver))
    const isGood = given !== undefined && given.status !== 'rejected'
    assert.equal(status, isGood ? 204 : 404)
    if (given !== undefined) Object.assign(given, { status: 'rejected', vaultId: null })
    await checkViews(model, real)
  }
}

test('no project ever sees a backup that was not shared with it, whatever three projects do', async () => {
  await using service = await startTestService({ agent: 'none' })
  const tenants = [await addTenant(service, 'a'), await addTenant(service, 'b', { ownDomain: true }), await addTenant(service, 'c')]
  const vaults = await Promise.all(tenants.map((tenant) => createVault(tenant.call)))
  const backups: { id: string, owner: number }[] = []
  for (let count = 0; count < 4; count += 1) {
    const owner = count % 3
    backups.push({ id: await insertBackup(service, at(tenants, owner).projectId, at(vaults, owner)), owner })
  }
  const backup = fc.nat({ max: backups.length - 1 })
  const project = fc.nat({ max: 2 })
  const commands = fc.commands([
    fc.tuple(backup, project).map((args) => new Offer(...args)),
    fc.tuple(backup, project, fc.boolean()).map((args) => new Answer(...args)),
    fc.tuple(backup, project, project).map((args) => new Withdraw(...args)),
    fc.tuple(backup, project).map((args) => new DeleteReceived(...args)),
  ], { maxCommands: 12 })
  await fc.assert(fc.asyncProperty(commands, async (chosen) => {
    await service.service.deps.db.deleteFrom('backup_members').execute()
    await fc.asyncModelRun(() => ({ model: { shares: new Map() }, real: { tenants, vaults, backups } }), chosen)
  }), { numRuns: 15 })
})

// --- With real data ------------------------------------------------------------------------------------

/** Waits until the project has nothing to do. */
async function settle(call: Call): Promise<void> {
  await until('the end of all tasks', async () => {
    // One after the other, in the order in which a task goes through them: asked for at once, it could be in neither.
    for (const status of ['waiting', 'running']) {
      if ((await call<{ count: number }>('GET', `/v3/{project_id}/operation-logs?status=${status}`)).body.count !== 0) return undefined
    }
    return true
  })
}

interface Scene {
  readonly own: BackupService
  readonly owner: Tenant
  readonly receiver: Tenant
  readonly backupId: string
  readonly source: string
  readonly ownerVaultId: string
  readonly vaultId: string
}

async function setScene(): Promise<Scene> {
  const own = await startBackupService()
  const { service, root } = own
  const [owner, receiver] = [await addTenant(service, 'owner'), await addTenant(service, 'receiver', { ownDomain: true })]
  const source = join(root, 'source')
  await mkdir(join(source, 'inner'), { recursive: true })
  await writeFile(join(source, 'inner', 'letter'), 'Dear reader')
  await writeFile(join(source, 'picture'), Buffer.alloc(300_000, 'picture'))
  const { body: { resource } } = await owner.call<{ resource: { id: string } }>('POST', '/x/v1/{project_id}/resources', { resource: { type: 'OS::Sfs::Turbo', path: source } })
  const ownerVaultId = await createVault(owner.call)
  await owner.call('POST', `/v3/{project_id}/vaults/${ownerVaultId}/addresources`, { resources: [{ id: resource.id, type: 'OS::Sfs::Turbo' }] })
  await owner.call('POST', '/v3/{project_id}/checkpoints', { checkpoint: { vault_id: ownerVaultId, parameters: { name: 'first' } } })
  await settle(owner.call)
  const [backupId = ''] = await idsSeen(owner.call, 'status=available')
  assert.notEqual(backupId, '')
  return { own, owner, receiver, backupId, source, ownerVaultId, vaultId: await createVault(receiver.call) }
}

test('a receiver restores from a share for as long as it has accepted it', async () => {
  const { own, owner, receiver, backupId, source, vaultId, ownerVaultId } = await setScene()
  await using _service = own
  const to = join(own.root, 'restored')
  const restore = (path: string) => receiver.call<{ job_id: string }>('POST', `/v3/{project_id}/backups/${backupId}/restore`, { restore: { details: { destination_path: path } } })
  expectCode(await restore(to), '6200')
  const offered = await share(owner.call, backupId, receiver.projectId)
  assert.equal(offered.status, 200, JSON.stringify(offered.body))
  expectCode(await restore(to), '6200')
  const accepted = await answerShare(receiver, backupId, 'accepted', vaultId)
  assert.equal(accepted.status, 200, JSON.stringify(accepted.body))
  const started = await restore(to)
  assert.equal(started.status, 202, JSON.stringify(started.body))
  await settle(receiver.call)
  assert.deepEqual(compareTrees(source, to), [])
  const { body } = await receiver.call<{ operation_log: OperationLog }>('GET', `/v3/{project_id}/operation-logs/${started.body.job_id}`)
  assert.deepEqual(
    [body.operation_log.status, body.operation_log.vault_id, body.operation_log.project_id], ['success', vaultId, receiver.projectId],
  )
  const ownersTasks = await owner.call<{ operation_logs: OperationLog[] }>('GET', '/v3/{project_id}/operation-logs')
  assert.deepEqual(ownersTasks.body.operation_logs.map((task) => task.operation_type), ['backup'], 'the task is the receiver\'s')
  assert.deepEqual(await idsSeen(owner.call, 'status=available'), [backupId])

  await owner.call('DELETE', `${membersOf(backupId)}/${receiver.projectId}`)
  expectCode(await restore(join(own.root, 'late')), '6200')
  await share(owner.call, backupId, receiver.projectId)
  await answerShare(receiver, backupId, 'accepted', vaultId)
  assert.equal((await owner.call('DELETE', `/v3/{project_id}/backups/${backupId}`)).status, 204)
  await settle(owner.call)
  assert.deepEqual(await idsSeen(receiver.call, 'own_type=all_granted'), [])
  assert.equal(await usedMb(receiver.call, vaultId), 0)
  assert.equal((await owner.call('DELETE', `/v3/{project_id}/vaults/${ownerVaultId}`)).status, 204)
  await settle(owner.call)
})

test('a share that ends before its restore begins ends the restore', async () => {
  await using own = await startBackupService(undefined, { agent: 'none' })
  const { service, root } = own
  const [owner, receiver] = [await addTenant(service, 'owner'), await addTenant(service, 'receiver')]
  const backupId = await insertBackup(service, owner.projectId, await createVault(owner.call))
  const vaultId = await createVault(receiver.call)
  await share(owner.call, backupId, receiver.projectId)
  await answerShare(receiver, backupId, 'accepted', vaultId)
  const started = await receiver.call<{ job_id: string }>('POST', `/v3/{project_id}/backups/${backupId}/restore`, { restore: { details: { destination_path: join(root, 'to') } } })
  assert.equal(started.status, 202, JSON.stringify(started.body))
  expectCode(await owner.call('DELETE', `/v3/{project_id}/backups/${backupId}`), '6216')
  assert.equal((await owner.call('DELETE', `${membersOf(backupId)}/${receiver.projectId}`)).status, 204)
  await service[Symbol.asyncDispose]()

  await using next = await startBackupService({ root, dataDir: own.dataDir })
  const as = (tenant: Tenant) => <Body>(path: string) => next.service.call<Body>(
    'GET', path.replace('{project_id}', tenant.projectId), undefined, { headers: { 'x-auth-token': tenant.token } },
  )
  await until('the end of the restore', async () => {
    const { body } = await as(receiver)<{ operation_log: OperationLog }>(`/v3/{project_id}/operation-logs/${started.body.job_id}`)
    if (body.operation_log.status !== 'failed') return undefined
    assert.match(body.operation_log.error_info.message ?? '', /not shared with this project any more/)
    return true
  })
  assert.equal((await as(owner)<{ backup: Backup }>(`/v3/{project_id}/backups/${backupId}`)).body.backup.status, 'available')
})

test('a vault that is deleted gives back what it had accepted', async () => {
  await using service = await startTestService()
  const [owner, receiver] = [await addTenant(service, 'owner'), await addTenant(service, 'receiver')]
  const backupId = await insertBackup(service, owner.projectId, await createVault(owner.call))
  const vaultId = await createVault(receiver.call)
  await share(owner.call, backupId, receiver.projectId)
  await answerShare(receiver, backupId, 'accepted', vaultId)
  assert.equal((await receiver.call('DELETE', `/v3/{project_id}/vaults/${vaultId}`)).status, 204)
  await settle(receiver.call)
  const { body } = await owner.call<{ member: Member }>('GET', `${membersOf(backupId)}/${receiver.projectId}`)
  assert.deepEqual([body.member.status, body.member.vault_id], ['rejected', null])
})

test('nobody restores to where somebody else\'s restore writes, and is told no names', async () => {
  await using own = await startBackupService(undefined, { agent: 'none' })
  const { service, root } = own
  const [one, other] = [await addTenant(service, 'one'), await addTenant(service, 'other')]
  const restore = async (tenant: Tenant, path: string) => {
    const backupId = await insertBackup(service, tenant.projectId, await createVault(tenant.call))
    return tenant.call<{ error_msg: string }>('POST', `/v3/{project_id}/backups/${backupId}/restore`, { restore: { details: { destination_path: path } } })
  }
  const place = join(root, 'secret-name-of-one')
  assert.equal((await restore(one, place)).status, 202)
  for (const path of [place, join(place, 'below'), root]) {
    const refused = await restore(other, path)
    expectCode(refused, '2010')
    assert.equal(refused.body.error_msg, `The target ${path} is being restored already.`)
  }
  assert.equal((await restore(other, join(root, 'beside'))).status, 202)
})
