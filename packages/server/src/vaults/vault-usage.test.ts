/** The counters of a vault against a recount, after anything that may happen to backups and shares. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseTestDatabase } from '@opencbr/testkit'
import * as fc from 'fast-check'
import { openDatabase, type Database, type Transaction } from '../db/database.ts'
import type { NewRow } from '../db/schema.ts'
import { newUuid, type BackupId, type CheckpointId, type ProjectId, type ResourceId, type UserId, type VaultId } from '../ids.ts'

const projectId = 'a'.repeat(32) as ProjectId
const otherProjectId = 'b'.repeat(32) as ProjectId
const vaultIds = [newUuid<VaultId>(), newUuid<VaultId>()]
const resourceIds = [newUuid<ResourceId>(), newUuid<ResourceId>(), newUuid<ResourceId>()]

function vaultRow(id: VaultId): NewRow<'vaults'> {
  return {
    id, project_id: projectId, user_id: 'u' as UserId, name: 'v', description: null, enterprise_project_id: '0', provider_id: 'p', status: 'available',
    protect_type: 'backup', object_type: 'turbo', cloud_type: 'public', consistent_level: 'crash_consistent', charging_mode: 'post_paid', is_multi_az: 0,
    size_gb: 10, used_bytes: 0, auto_bind: 0, bind_rules: '{}', auto_expand: 0, smn_notify: 1, threshold_percent: 80, locked: 0, demand_billing: 0,
    availability_zone: '', sys_lock_source_service: '', backup_name_prefix: null, repository_url: null, repository_id: null, password_sealed: '',
    created_at: 1, updated_at: 1,
  }
}

function backupRow(id: BackupId, vaultId: VaultId, resourceId: ResourceId, parentId: BackupId | null, storedBytes: number): NewRow<'backups'> {
  return {
    id, project_id: projectId, vault_id: vaultId, checkpoint_id: newUuid<CheckpointId>(), parent_id: parentId, name: 'b', description: '', status: 'available',
    image_type: 'backup', resource_id: resourceId, resource_name: 'r', resource_type: 'OS::Sfs::Turbo', resource_size_gb: 1, resource_az: 'z',
    enterprise_project_id: '0', provider_id: 'p', incremental: 1, auto_trigger: 0, created_at: 1, updated_at: 1, protected_at: null, expired_at: null,
    bootable: null, snapshot_id: null, support_lld: 0, supported_restore_mode: 'na', contain_system_disk: 0, encrypted: 1, system_disk: 0, is_multi_az: 0,
    os_images_data: null, source_path: null, content_bytes: 0, stored_bytes: storedBytes, version: 3,
  }
}

async function recount(db: Database): Promise<{ usage: unknown[], shared: unknown[] }> {
  const usage = await db.selectFrom('backups')
    .select(({ fn, eb }) => [
      'vault_id', 'resource_id', fn.sum<number>(eb.case().when('parent_id', 'is', null).then(1).else(0).end()).as('backup_count'),
      fn.sum<number>('stored_bytes').as('stored_bytes'),
    ])
    .groupBy(['vault_id', 'resource_id']).orderBy('vault_id').orderBy('resource_id').execute()
  const members = await db.selectFrom('backup_members').selectAll().where('status', '=', 'accepted').execute()
  const backups = await db.selectFrom('backups').selectAll().execute()
  const shared = vaultIds.toSorted().map((id) => ({
    id,
    shared_bytes: members.filter((member) => member.vault_id === id)
      .flatMap((member) => backups.filter((backup) => backup.id === member.backup_id || backup.parent_id === member.backup_id))
      .reduce((sum, backup) => sum + backup.stored_bytes, 0),
  }))
  return { usage: usage.filter((row) => row.backup_count > 0 || row.stored_bytes > 0), shared }
}

async function counted(db: Database): Promise<{ usage: unknown[], shared: unknown[] }> {
  const usage = await db.selectFrom('vault_usage').select(['vault_id', 'resource_id', 'backup_count', 'stored_bytes'])
    .where(({ eb, or }) => or([eb('backup_count', '>', 0), eb('stored_bytes', '>', 0)])).orderBy('vault_id').orderBy('resource_id').execute()
  const shared = await db.selectFrom('vaults').select(['id', 'shared_bytes']).orderBy('id').execute()
  return { usage, shared }
}

const place = fc.nat({ max: 1000 })
const step = fc.oneof(
  fc.record({ kind: fc.constant('insert' as const), vault: place, resource: place, bytes: fc.nat({ max: 1e9 }), child: fc.boolean(), at: place }),
  fc.record({ kind: fc.constant('resize' as const), at: place, bytes: fc.nat({ max: 1e9 }) }),
  fc.record({ kind: fc.constant('move' as const), resource: place, vault: place }),
  fc.record({ kind: fc.constant('delete' as const), at: place }),
  fc.record({ kind: fc.constant('empty' as const), vault: place }),
  fc.record({ kind: fc.constant('share' as const), at: place, vault: place }),
  fc.record({ kind: fc.constant('withdraw' as const), at: place, how: fc.constantFrom('reject' as const, 'delete' as const) }),
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

function pick<Item>(items: readonly Item[], at: number): Item | undefined {
  return items[at % Math.max(1, items.length)]
}

async function take(tx: Transaction, done: Step): Promise<void> {
  const vaultId = 'vault' in done ? pick(vaultIds, done.vault) : undefined
  const tops = await tx.selectFrom('backups').select('id').where('parent_id', 'is', null).orderBy('id').execute()
  const top = 'at' in done ? pick(tops, done.at)?.id : undefined
  const resourceId = 'resource' in done ? pick(resourceIds, done.resource) : undefined
  switch (done.kind) {
    case 'insert':
      await tx.insertInto('backups').values(backupRow(newUuid<BackupId>(), vaultId!, resourceId!, done.child ? top ?? null : null, done.bytes)).execute()
      break
    case 'resize':
      if (top !== undefined) await tx.updateTable('backups').set({ stored_bytes: done.bytes, status: 'error' }).where('id', '=', top).execute()
      // As a migration does, shares of what changed are counted anew.
      await tx.updateTable('backup_members').set(({ ref }) => ({ status: ref('status') })).execute()
      break
    case 'move':
      await tx.updateTable('backups').set({ vault_id: vaultId! }).where('resource_id', '=', resourceId!).execute()
      break
    case 'delete':
      if (top === undefined) break
      await tx.deleteFrom('backups').where(({ eb, or }) => or([eb('id', '=', top), eb('parent_id', '=', top)])).execute()
      await tx.deleteFrom('backup_members').where('backup_id', '=', top).execute()
      break
    case 'empty':
      await tx.deleteFrom('backup_members').where('backup_id', 'in', tx.selectFrom('backups').select('id').where('vault_id', '=', vaultId!)).execute()
      await tx.deleteFrom('backup_members').where('backup_id', 'in', tx.selectFrom('backups').select('parent_id').where('vault_id', '=', vaultId!).$castTo<{ parent_id: BackupId }>()).execute()
      await tx.deleteFrom('backups').where('vault_id', '=', vaultId!).execute()
      break
    case 'share':
      if (top === undefined) break
      await tx.insertInto('backup_members').values({
        id: newUuid<BackupId>(), backup_id: top, project_id: projectId, dest_project_id: otherProjectId, status: 'accepted', vault_id: vaultId!,
        image_id: null, created_at: 1, updated_at: 1,
      }).onConflict((conflict) => conflict.columns(['backup_id', 'dest_project_id']).doUpdateSet({ status: 'accepted', vault_id: vaultId! })).execute()
      break
    case 'withdraw': {
      if (top === undefined) break
      if (done.how === 'delete') await tx.deleteFrom('backup_members').where('backup_id', '=', top).execute()
      else await tx.updateTable('backup_members').set({ status: 'rejected', vault_id: null }).where('backup_id', '=', top).execute()
      break
    }
  }
  // What happens to the rows of a share's backup is followed by its withdrawal or its recount.
  await tx.updateTable('backup_members').set(({ ref }) => ({ status: ref('status') })).execute()
}

test('the counters of vaults agree with a recount, whatever happens to backups and shares, and nothing of what is taken back counts', async () => {
  await using database = await chooseTestDatabase()
  const db = await openDatabase(database.url)
  try {
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(step, fc.boolean()), { maxLength: 40 }), async (steps) => {
      await db.deleteFrom('backup_members').execute()
      await db.deleteFrom('backups').execute()
      await db.deleteFrom('vaults').execute()
      await db.insertInto('vaults').values(vaultIds.map(vaultRow)).execute()
      for (const [done, isTakenBack] of steps) {
        await db.transaction().execute(async (tx) => {
          await take(tx, done)
          if (isTakenBack) throw new Error('taken back')
        }).catch((error: Error) => assert.equal(error.message, 'taken back'))
      }
      assert.equal(JSON.stringify(await counted(db)), JSON.stringify(await recount(db)))
      await db.deleteFrom('backups').execute()
      assert.deepEqual(await db.selectFrom('vault_usage').selectAll().execute(), [], 'rows of what is gone are gone')
    }), { numRuns: 60 })
  } finally {
    await db.destroy()
  }
})
