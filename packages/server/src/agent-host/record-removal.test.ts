/** Removals over an invented catalogue, which has what no run makes yet: parts, shares and replicas. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openDatabase, type Database } from '../db/database.ts'
import type { JobKind, Row } from '../db/schema.ts'
import { newUuid, type DomainId, type OperationLogId, type ProjectId, type VaultId } from '../ids.ts'
import { insertJob, leaseJobs, type JobPayloads } from '../jobs/index.ts'
import { insertOperationLog } from '../operations/index.ts'
import { populate } from '../populate/index.ts'
import { openSecrets } from '../secrets.ts'
import { findVault } from '../vaults/index.ts'
import { failRemoval, recordRemoval, startRemoval } from './record-removal.ts'

const projectId = 'a'.repeat(32) as ProjectId
const TABLES = ['backups', 'backup_members', 'replication_records', 'checkpoints', 'vault_resources', 'vaults'] as const

interface World {
  readonly db: Database
  /** A top-level backup with parts, in a vault that has other backups too. */
  readonly parent: Row<'backups'>
  readonly start: <Kind extends JobKind>(kind: Kind, payload: JobPayloads[Kind]) => Promise<Row<'jobs'>>
  readonly rows: () => Promise<Record<(typeof TABLES)[number], Record<string, unknown>[]>>
}

async function withCatalogue(run: (world: World) => Promise<void>): Promise<void> {
  const db = await openDatabase(':memory:')
  try {
    await db.insertInto('domains').values({ id: 'd'.repeat(32) as DomainId, name: 'domain' }).execute()
    await db.insertInto('projects').values({ id: projectId, domain_id: 'd'.repeat(32) as DomainId, name: 'project' }).execute()
    await populate({ db, secrets: openSecrets(randomBytes(32)) }, { backups: 400, vaults: 3, resources: 12, projectId })
    const parent = await db.selectFrom('backups').selectAll().where('project_id', '=', projectId)
      .where('id', 'in', db.selectFrom('backups').select('parent_id').where('parent_id', 'is not', null).$castTo<{ parent_id: Row<'backups'>['id'] }>())
      .orderBy('id').limit(1).executeTakeFirstOrThrow()
    await run({
      db,
      parent,
      start: (kind, payload) => startJob(db, parent.vault_id, kind, payload),
      rows: async () => Object.fromEntries(await Promise.all(TABLES.map(async (table) => [table, await db.selectFrom(table).selectAll().execute()]))),
    })
  } finally {
    await db.destroy()
  }
}

async function startJob<Kind extends JobKind>(db: Database, vaultId: VaultId, kind: Kind, payload: JobPayloads[Kind]): Promise<Row<'jobs'>> {
  return db.transaction().execute(async (tx) => {
    const vault = await findVault(tx, projectId, vaultId)
    assert.ok(vault !== undefined)
    const operationLogId: OperationLogId = await insertOperationLog(tx, { type: 'delete', vault, requestId: 'r', parts: {}, createdAt: 1 })
    await insertJob(tx, { kind, projectId, vaultId, operationLogId, payload, createdAt: 1 })
    const [job] = await leaseJobs(tx, { holder: newUuid<OperationLogId>(), limit: 1, now: 2 })
    assert.ok(job !== undefined)
    return job
  })
}

function textOf(rows: readonly Record<string, unknown>[]): string[] {
  return rows.map((row) => JSON.stringify(row)).toSorted()
}

/** What is left must be what was there without what had to go, and nothing of that. */
function assertLeft(before: Record<string, unknown>[], after: Record<string, unknown>[], goes: (row: Record<string, unknown>) => boolean, what: string): void {
  assert.ok(before.some(goes), `${what}: something had to go`)
  assert.deepEqual(textOf(after), textOf(before.filter((row) => !goes(row))), what)
}

test('a backup goes with its parts, its shares and its records of replication, and nothing else does', async () => {
  await withCatalogue(async ({ db, parent, start, rows }) => {
    const before = await rows()
    const parts = before.backups.filter((row) => row['parent_id'] === parent.id).map((row) => row['id'] as typeof parent.id)
    const ids = [parent.id, ...parts]
    await db.insertInto('backup_members').values({
      id: newUuid<OperationLogId>(), backup_id: parent.id, project_id: projectId, dest_project_id: 'c'.repeat(32) as ProjectId,
      status: 'pending', vault_id: null, image_id: null, created_at: 1, updated_at: 1,
    }).execute()
    const job = await start('delete_backup', { backupIds: ids })
    const forgotten = await db.transaction().execute((tx) => startRemoval(tx, job, 3))
    assert.deepEqual(forgotten.toSorted(), ids.toSorted())
    const marked = await db.selectFrom('backups').select('id').where('status', '=', 'deleting').where('updated_at', '=', 3).execute()
    assert.deepEqual(marked.map((row) => row.id).toSorted(), ids.toSorted())
    await db.transaction().execute((tx) => recordRemoval(tx, job, 4))
    const after = await rows()
    const goes = (row: Record<string, unknown>): boolean => ids.includes((row['backup_id'] ?? row['id']) as typeof parent.id)
    assertLeft(before.backups, after.backups, goes, 'backups')
    assert.ok(!after.backup_members.some(goes))
    assert.ok(!after.replication_records.some(goes))
  })
})

test('a resource leaves its vault with its backups in it and their parts', async () => {
  await withCatalogue(async ({ db, parent, start, rows }) => {
    const before = await rows()
    const job = await start('remove_resource', { resourceIds: [parent.resource_id] })
    await db.transaction().execute((tx) => startRemoval(tx, job, 3))
    await db.transaction().execute((tx) => recordRemoval(tx, job, 4))
    const after = await rows()
    const isOf = (row: Record<string, unknown>): boolean => row['resource_id'] === parent.resource_id && row['vault_id'] === parent.vault_id
    const gone = new Set(before.backups.filter(isOf).map((row) => row['id']))
    assertLeft(before.backups, after.backups, (row) => gone.has(row['id']) || gone.has(row['parent_id']), 'backups')
    assertLeft(before.vault_resources, after.vault_resources, isOf, 'vault_resources')
    const log = await db.selectFrom('operation_logs').select(['status', 'extra_info']).executeTakeFirstOrThrow()
    assert.deepEqual([log.status, JSON.parse(log.extra_info)], [
      'success', { remove_resources: { fail_count: 0, total_count: before.backups.length - after.backups.length } },
    ])
    const empty = before.checkpoints.filter((row) => before.backups.some((each) => each['checkpoint_id'] === row['id']) && !after.backups.some((each) => each['checkpoint_id'] === row['id']))
    for (const { id } of empty) assert.ok(!after.checkpoints.some((row) => row['id'] === id), 'a checkpoint goes with its last backup')
  })
})

test('a vault goes with everything in it, and no other does', async () => {
  await withCatalogue(async ({ db, parent, start, rows }) => {
    const before = await rows()
    const job = await start('delete_vault', {})
    await db.transaction().execute((tx) => startRemoval(tx, job, 3))
    await db.transaction().execute((tx) => recordRemoval(tx, job, 4))
    const after = await rows()
    const gone = new Set(before.backups.filter((row) => row['vault_id'] === parent.vault_id).map((row) => row['id']))
    for (const table of ['backups', 'checkpoints', 'vault_resources'] as const) {
      assertLeft(before[table], after[table], (row) => row['vault_id'] === parent.vault_id, table)
    }
    // Shares of what went no longer count for those who had accepted them.
    const unshared = (vaults: typeof before.vaults) => vaults.map((row) => ({ ...row, shared_bytes: 0 }))
    assertLeft(unshared(before.vaults), unshared(after.vaults), (row) => row['id'] === parent.vault_id, 'vaults')
    // What the vault had accepted is given back.
    const givenBack = before.backup_members.map((row) => (row['vault_id'] === parent.vault_id ? { ...row, status: 'rejected', vault_id: null } : row))
    assertLeft(givenBack, after.backup_members, (row) => gone.has(row['backup_id']), 'backup_members')
    assertLeft(before.replication_records, after.replication_records, (row) => gone.has(row['backup_id']), 'replication_records')
    const log = await db.selectFrom('operation_logs').select('extra_info').executeTakeFirstOrThrow()
    assert.equal((JSON.parse(log.extra_info) as { vault_delete: { total_count: number } }).vault_delete.total_count, gone.size)
  })
})

test('a removal that fails leaves everything, in error', async () => {
  await withCatalogue(async ({ db, parent, start, rows }) => {
    const before = await rows()
    const job = await start('delete_vault', {})
    await db.transaction().execute(async (tx) => {
      await startRemoval(tx, job, 3)
      await failRemoval(tx, job, { code: 'BackupService.9910', message: 'no' }, 4)
    })
    const after = await rows()
    assert.equal(after.backups.length, before.backups.length)
    for (const row of after.backups.filter((each) => each['vault_id'] === parent.vault_id)) assert.equal(row['status'], 'error')
    assert.equal(after.vaults.find((row) => row['id'] === parent.vault_id)?.['status'], 'error')
    const log = await db.selectFrom('operation_logs').select(['status', 'error_code', 'error_message']).executeTakeFirstOrThrow()
    assert.deepEqual({ ...log }, { status: 'failed', error_code: 'BackupService.6121', error_message: 'no' })
  })
})
