import assert from 'node:assert/strict'
import { test } from 'node:test'
import { insertBackups } from '../backups/index.ts'
import { openDatabase, type Database } from '../db/database.ts'
import type { BackupStatus, NewRow, ProtectStatus } from '../db/schema.ts'
import {
  newUuid, type BackupId, type CheckpointId, type OperationLogId, type ProjectId, type ResourceId, type UserId, type VaultId,
} from '../ids.ts'
import { insertJob, leaseJobs } from '../jobs/index.ts'
import { insertOperationLog, startOperation } from '../operations/index.ts'
import { insertVault } from '../vaults/vault-store.ts'
import { reconcile } from './reconcile.ts'

const projectId = 'a'.repeat(32) as ProjectId

async function withDatabase(run: (db: Database) => Promise<void>): Promise<void> {
  const db = await openDatabase(':memory:')
  try {
    await run(db)
  } finally {
    await db.destroy()
  }
}

interface Made {
  readonly vaultId: VaultId
  readonly backupId: BackupId
  readonly operationLogId: OperationLogId | undefined
}

/** A vault with one resource and one backup that is in between, with or without a task and a job. */
async function make(
  db: Database, status: BackupStatus, protectStatus: ProtectStatus, has: { task?: boolean, job?: 'backup' | 'restore' | 'delete_backup' } = {},
): Promise<Made> {
  const vault: NewRow<'vaults'> = {
    id: newUuid<VaultId>(), project_id: projectId, user_id: 'b'.repeat(32) as UserId, name: 'docs', description: null, enterprise_project_id: '0',
    provider_id: 'engine', status: 'available', protect_type: 'backup', object_type: 'turbo', cloud_type: 'public',
    consistent_level: 'crash_consistent', charging_mode: 'post_paid', is_multi_az: 0, size_gb: 10, used_bytes: 0, auto_bind: 0,
    bind_rules: '{}', auto_expand: 0, smn_notify: 1, threshold_percent: 80, locked: 0, demand_billing: 0, availability_zone: '',
    sys_lock_source_service: '', backup_name_prefix: null, repository_url: null, repository_id: null, password_sealed: '',
    created_at: 1, updated_at: 1,
  }
  const [backupId, resourceId, checkpointId] = [newUuid<BackupId>(), newUuid<ResourceId>(), newUuid<CheckpointId>()]
  let operationLogId: OperationLogId | undefined
  await db.transaction().execute(async (tx) => {
    await insertVault(tx, vault, [])
    await tx.insertInto('vault_resources').values({
      vault_id: vault.id, resource_id: resourceId, project_id: projectId, resource_type: 'OS::Sfs::Turbo', name: 'folder',
      size_gb: 1, protect_status: protectStatus, auto_protect: 1, extra_info: '{}', added_at: 1,
    }).execute()
    await tx.insertInto('checkpoints').values({
      id: checkpointId, project_id: projectId, vault_id: vault.id, status: 'protecting', name: 'run', description: '',
      auto_trigger: 0, incremental: 1, skipped_resources: '[]', created_at: 1,
    }).execute()
    await insertBackups(tx, [{
      id: backupId, project_id: projectId, vault_id: vault.id, checkpoint_id: checkpointId, parent_id: null, name: 'run', description: '', status,
      image_type: 'backup', resource_id: resourceId, resource_name: 'folder', resource_type: 'OS::Sfs::Turbo', resource_size_gb: 1,
      resource_az: 'z', enterprise_project_id: '0', provider_id: 'engine', incremental: 1, auto_trigger: 0, created_at: 1, updated_at: 1,
      protected_at: null, expired_at: null, bootable: null, snapshot_id: null, support_lld: 0, supported_restore_mode: 'na',
      contain_system_disk: 0, encrypted: 1, system_disk: 0, is_multi_az: 0, os_images_data: null, source_path: null, content_bytes: 0,
      stored_bytes: 0, version: 3,
    }])
    if (has.task === true || has.job !== undefined) {
      operationLogId = await insertOperationLog(tx, { type: 'backup', vault, checkpointId, backupId, requestId: 'r', parts: {}, createdAt: 1 })
      await startOperation(tx, operationLogId, 2)
    }
    if (has.job !== undefined && operationLogId !== undefined) {
      await insertJob(tx, {
        kind: has.job, projectId, vaultId: vault.id, backupId, operationLogId, createdAt: 1,
        payload: { resourceId, incremental: true, target: 'disk', backupIds: [backupId] },
      })
    }
  })
  return { vaultId: vault.id, backupId, operationLogId }
}

async function look(db: Database, { vaultId, backupId }: Made) {
  const backup = await db.selectFrom('backups').select(['status', 'checkpoint_id']).where('id', '=', backupId).executeTakeFirstOrThrow()
  const member = await db.selectFrom('vault_resources').select('protect_status').where('vault_id', '=', vaultId).executeTakeFirstOrThrow()
  const checkpoint = await db.selectFrom('checkpoints').select('status').where('id', '=', backup.checkpoint_id).executeTakeFirstOrThrow()
  const log = await db.selectFrom('operation_logs').select('status').where('backup_id', '=', backupId).executeTakeFirst()
  const job = await db.selectFrom('jobs').select(['status', 'attempts']).where('backup_id', '=', backupId).executeTakeFirst()
  return { backup: backup.status, resource: member.protect_status, checkpoint: checkpoint.status, task: log?.status, job: job?.status, attempts: job?.attempts }
}

const run = (db: Database) => db.transaction().execute((tx) => reconcile(tx, { isListed: async () => (holder) => holder.startsWith('living.') }, 9))

test('a leased job waits again at the start, and what it is about stays as it is', async () => {
  await withDatabase(async (db) => {
    const made = await make(db, 'protecting', 'protecting', { job: 'backup' })
    await db.transaction().execute((tx) => leaseJobs(tx, { holder: 'dead', limit: 1, now: 3 }))
    await run(db)
    assert.deepEqual(await look(db, made), {
      backup: 'protecting', resource: 'protecting', checkpoint: 'protecting', task: 'running', job: 'waiting', attempts: 1,
    })
  })
})

test('a job that a living server holds stays with it', async () => {
  await withDatabase(async (db) => {
    const made = await make(db, 'protecting', 'protecting', { job: 'backup' })
    await db.transaction().execute((tx) => leaseJobs(tx, { holder: 'living.agent', limit: 1, now: 3 }))
    await run(db)
    assert.deepEqual(await look(db, made), {
      backup: 'protecting', resource: 'protecting', checkpoint: 'protecting', task: 'running', job: 'leased', attempts: 1,
    })
  })
})

test('a job that was being worked on at the third death too ends, and frees what it held', async () => {
  await withDatabase(async (db) => {
    const made = await make(db, 'restoring', 'restoring', { job: 'restore' })
    for (let death = 0; death < 3; death++) {
      await db.transaction().execute((tx) => leaseJobs(tx, { holder: 'dead', limit: 1, now: 3 }))
      await run(db)
    }
    assert.deepEqual(await look(db, made), {
      backup: 'available', resource: 'available', checkpoint: 'available', task: 'failed', job: 'failed', attempts: 3,
    })
  })
})

test('what is in between and has no job left ends', async () => {
  await withDatabase(async (db) => {
    const cases: [BackupStatus, ProtectStatus, BackupStatus][] = [
      ['waiting_protect', 'protecting', 'error'], ['protecting', 'protecting', 'error'],
      ['waiting_restore', 'restoring', 'available'], ['restoring', 'restoring', 'available'],
      ['waiting_delete', 'available', 'error'], ['deleting', 'removing', 'error'],
    ]
    const made = await Promise.all(cases.map(([status, protect]) => make(db, status, protect, { task: true })))
    await run(db)
    for (const [place, [, , end]] of cases.entries()) {
      const one = made[place]
      assert.ok(one !== undefined)
      assert.deepEqual(await look(db, one), {
        backup: end, resource: 'available', checkpoint: end, task: 'failed', job: undefined, attempts: undefined,
      })
    }
  })
})

test('rows that never had a task are left alone, whatever they show', async () => {
  await withDatabase(async (db) => {
    const made = await make(db, 'deleting', 'protecting')
    const before = await look(db, made)
    await run(db)
    assert.deepEqual(await look(db, made), before)
  })
})

test('work that waits is left to its job', async () => {
  await withDatabase(async (db) => {
    for (const job of ['delete_backup', 'restore'] as const) {
      const made = await make(db, job === 'restore' ? 'waiting_restore' : 'waiting_delete', job === 'restore' ? 'restoring' : 'available', { job })
      const before = await look(db, made)
      await run(db)
      assert.deepEqual({ ...await look(db, made), checkpoint: 'any' }, { ...before, checkpoint: 'any' }, job)
    }
  })
})
