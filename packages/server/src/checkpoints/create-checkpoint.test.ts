import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setProtectStatus } from '../backups/index.ts'
import { openDatabase, type Database } from '../db/database.ts'
import type { NewRow } from '../db/schema.ts'
import { Failure, type FailureCode } from '../failures.ts'
import { newUuid, type ProjectId, type ResourceId, type UserId, type VaultId } from '../ids.ts'
import { listLiveJobs } from '../jobs/index.ts'
import { settleCheckpoint } from './checkpoint-store.ts'
import { checkpointToWire } from './checkpoint-wire.ts'
import { createCheckpoint } from './create-checkpoint.ts'
import { showCheckpoint } from './show-checkpoint.ts'

const projectId = 'a'.repeat(32) as ProjectId
const caller = { projectId, requestId: 'f'.repeat(32) }
const GB = 1024 ** 3

interface World {
  readonly db: Database
  readonly vaultId: VaultId
  readonly resourceIds: readonly ResourceId[]
  readonly woken: () => number
  readonly create: (parameters?: Parameters<typeof createCheckpoint>[2]['parameters'], vaultId?: string) => ReturnType<typeof createCheckpoint>
}

async function withVault(
  run: (world: World) => Promise<void>, vault: Partial<NewRow<'vaults'>> = {}, resources = 2,
): Promise<void> {
  const db = await openDatabase(':memory:')
  const vaultId = newUuid<VaultId>()
  const resourceIds: ResourceId[] = []
  let woken = 0
  try {
    await db.insertInto('vaults').values({
      id: vaultId, project_id: projectId, user_id: 'b'.repeat(32) as UserId, name: 'docs', description: null, enterprise_project_id: '0',
      provider_id: 'engine', status: 'available', protect_type: 'backup', object_type: 'turbo', cloud_type: 'public',
      consistent_level: 'crash_consistent', charging_mode: 'post_paid', is_multi_az: 0, size_gb: 10, used_bytes: 0, auto_bind: 0,
      bind_rules: '{}', auto_expand: 0, smn_notify: 1, threshold_percent: 80, locked: 0, demand_billing: 0, availability_zone: '',
      sys_lock_source_service: '', backup_name_prefix: null, repository_url: null, repository_id: null, password_sealed: '',
      created_at: 1, updated_at: 1, ...vault,
    }).execute()
    for (let n = 0; n < resources; n++) {
      const resourceId = newUuid<ResourceId>()
      resourceIds.push(resourceId)
      await db.insertInto('vault_resources').values({
        vault_id: vaultId, resource_id: resourceId, project_id: projectId, resource_type: 'OS::Sfs::Turbo', name: `folder-${n}`,
        size_gb: 7, protect_status: 'available', auto_protect: 1, extra_info: '{}', added_at: n,
      }).execute()
    }
    const deps = {
      db, clock: { now: () => Date.UTC(2026, 0, 15) * 1000 }, wakeAgents: () => { woken += 1 },
      config: {
        dataDir: '/nowhere', listen: { host: '127.0.0.1', port: 0 }, region: 'test-1', allowPaths: [], strictResources: false, logLevel: 'silent' as const,
      },
    }
    await run({
      db, vaultId, resourceIds, woken: () => woken,
      create: (parameters, id = vaultId) => createCheckpoint(deps, caller, { vault_id: id, ...(parameters === undefined ? {} : { parameters }) }),
    })
  } finally {
    await db.destroy()
  }
}

const failsWith = (code: FailureCode, words?: RegExp) => (error: unknown) =>
  error instanceof Failure && error.code === code && (words?.test(error.message) ?? true)

test('a run writes checkpoint, backups, tasks and jobs together, and answers with the checkpoint', async () => {
  await withVault(async ({ db, vaultId, resourceIds, create, woken }) => {
    const wire = checkpointToWire(await create({ name: 'before', description: 'upgrade' }))
    assert.equal(wire.status, 'protecting')
    assert.equal(wire.created_at, '2026-01-15T00:00:00.000000')
    assert.deepEqual(wire.extra_info, { name: 'before', description: 'upgrade', retention_duration: -1 })
    assert.deepEqual(wire.vault.resources.map((each) => each.id), resourceIds)
    assert.deepEqual(wire.vault.resources[0], {
      id: resourceIds[0], name: 'folder-0', type: 'OS::Sfs::Turbo', protect_status: 'protecting',
      resource_size: '7', backup_size: '0', backup_count: '1', extra_info: null,
    })
    const backups = await db.selectFrom('backups').selectAll().orderBy('name').execute()
    assert.deepEqual(backups.map((each) => [each.name, each.status, each.resource_az]), [
      ['before-0001', 'waiting_protect', 'test-1'], ['before-0002', 'waiting_protect', 'test-1'],
    ])
    const logs = await db.selectFrom('operation_logs').selectAll().execute()
    assert.deepEqual(logs.map((log) => [log.operation_type, log.status, log.vault_id, log.checkpoint_id, log.request_id.slice(0, 13)]), [
      ['backup', 'waiting', vaultId, wire.id, 'req-ffffffff-'], ['backup', 'waiting', vaultId, wire.id, 'req-ffffffff-'],
    ])
    assert.equal((await listLiveJobs(db, projectId, vaultId)).length, 2)
    assert.equal(woken(), 1)
    assert.deepEqual(checkpointToWire(await showCheckpoint(db, projectId, wire.id)), wire)
  })
})

test('resources that are busy are skipped by name and reason, and a run needs one that is not', async () => {
  await withVault(async ({ db, vaultId, resourceIds, create }) => {
    const [first, second] = resourceIds
    assert.ok(first !== undefined && second !== undefined)
    await db.transaction().execute((tx) => setProtectStatus(tx, projectId, vaultId, [first], 'restoring'))
    const wire = checkpointToWire(await create())
    assert.match(wire.extra_info.name, /^manualbk_docs-[0-9a-f]{4}$/)
    assert.deepEqual(wire.vault.resources.map((each) => each.id), [second])
    assert.deepEqual(wire.vault.skipped_resources, [
      { id: first, type: 'OS::Sfs::Turbo', name: 'folder-0', code: 'BackupService.6215', reason: 'The resource is being restored.' },
    ])
    assert.equal((await db.selectFrom('backups').select('name').executeTakeFirstOrThrow()).name, wire.extra_info.name)
    await assert.rejects(create(), failsWith('checkpoint.nothing_to_back_up', /busy/))
    await assert.rejects(create({ resources: [second] }), failsWith('checkpoint.nothing_to_back_up'))
    assert.equal((await db.selectFrom('checkpoints').selectAll().execute()).length, 1)
  })
})

test('a run may name resources by either list, and empty lists count as absent', async () => {
  await withVault(async ({ db, resourceIds, create }) => {
    const [first, second] = resourceIds
    assert.ok(first !== undefined && second !== undefined)
    const one = await create({ resources: [second.toUpperCase(), second] })
    assert.deepEqual(one.resources.map((each) => each.id), [second])
    await db.updateTable('vault_resources').set({ protect_status: 'available' }).execute()
    const two = await create({ resource_details: [{ id: first, type: 'OS::Sfs::Turbo' }], incremental: false })
    assert.deepEqual([two.resources.map((each) => each.id), two.checkpoint.incremental], [[first], 0])
    await db.updateTable('vault_resources').set({ protect_status: 'available' }).execute()
    assert.equal((await create({ resources: [], resource_details: [] })).resources.length, 2)
  })
})

test('what a run may not be is refused with the cloud\'s code, and changes nothing', async () => {
  await withVault(async ({ db, resourceIds, create }) => {
    const stranger = newUuid<ResourceId>()
    await assert.rejects(create({}, 'nonsense'), failsWith('parameter.invalid', /checkpoint\.vault_id/))
    await assert.rejects(create({}, newUuid<VaultId>()), failsWith('vault.not_found'))
    await assert.rejects(create({ resources: [stranger] }), failsWith('checkpoint.resource_not_inside', new RegExp(stranger)))
    await assert.rejects(create({ resources: ['x'] }), failsWith('parameter.invalid', /parameters\.resources\.0/))
    await assert.rejects(create({ resource_details: [{ id: String(resourceIds[0]), type: 'OS::Cinder::Volume' }] }), failsWith('parameter.invalid', /resource_details\.0\.type/))
    await assert.rejects(create({ policy_id: newUuid<ResourceId>() }), failsWith('policy.not_found'))
    for (const table of ['checkpoints', 'backups', 'operation_logs', 'jobs'] as const) {
      assert.deepEqual(await db.selectFrom(table).selectAll().execute(), [], table)
    }
  })
  await withVault(({ create }) => assert.rejects(create(), failsWith('vault.status_forbids_backup')), { status: 'frozen' })
  await withVault(({ create }) => assert.rejects(create(), failsWith('vault.kind_forbids_backup')), { protect_type: 'replication' })
  await withVault(({ create }) => assert.rejects(create(), failsWith('vault.over_capacity')), { used_bytes: 10 * GB + 1 })
  await withVault(({ create }) => assert.rejects(create(), failsWith('checkpoint.nothing_to_back_up', /holds no resources/)), {}, 0)
  await withVault(({ create }) => assert.rejects(create(), failsWith('vault.over_capacity')), { used_bytes: 10 * GB })
  await withVault(async ({ create }) => assert.equal((await create()).resources.length, 2), { used_bytes: 10 * GB - 1 })
})

test('a checkpoint is over with its last backup, and gone with it', async () => {
  await withVault(async ({ db, create }) => {
    const { checkpoint } = await create()
    const settle = () => db.transaction().execute((tx) => settleCheckpoint(tx, projectId, checkpoint.id))
    const status = async () => (await showCheckpoint(db, projectId, checkpoint.id)).checkpoint.status
    const [first, second] = await db.selectFrom('backups').select('id').execute()
    assert.ok(first !== undefined && second !== undefined)
    await db.updateTable('backups').set({ status: 'available' }).where('id', '=', first.id).execute()
    await settle()
    assert.equal(await status(), 'protecting')
    await db.updateTable('backups').set({ status: 'error' }).where('id', '=', second.id).execute()
    await settle()
    assert.equal(await status(), 'error')
    await db.deleteFrom('backups').execute()
    await settle()
    await assert.rejects(status(), failsWith('checkpoint.not_found'))
    await assert.rejects(showCheckpoint(db, 'b'.repeat(32) as ProjectId, checkpoint.id), failsWith('checkpoint.not_found'))
  })
})
