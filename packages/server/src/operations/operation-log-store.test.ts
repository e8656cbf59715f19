import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import { openDatabase, type Database } from '../db/database.ts'
import { Failure } from '../failures.ts'
import { newUuid, type OperationLogId, type ProjectId, type ResourceId, type VaultId } from '../ids.ts'
import { listOperationLogs } from './list-operation-logs.ts'
import type { OperationVault } from './operation-log.ts'
import { advanceOperation, finishOperation, insertOperationLog, startOperation } from './operation-log-store.ts'
import { operationLogToWire } from './operation-log-wire.ts'
import { showOperationLog } from './show-operation-log.ts'

const projectId = 'a'.repeat(32) as ProjectId
const vault: OperationVault = {
  id: newUuid<VaultId>(), project_id: projectId, name: 'docs', enterprise_project_id: '0', provider_id: 'engine',
}

async function withDatabase(run: (db: Database) => Promise<void>): Promise<void> {
  const db = await openDatabase(':memory:')
  try {
    await run(db)
  } finally {
    await db.destroy()
  }
}

function add(db: Database, createdAt: number, resourceName = 'mail', of: OperationVault = vault): Promise<OperationLogId> {
  return db.transaction().execute((tx) => insertOperationLog(tx, {
    type: 'delete', vault: of, requestId: '0123456789abcdef0123456789abcdef', createdAt,
    resource: { id: newUuid<ResourceId>(), type: 'OS::Sfs::Turbo', name: resourceName },
    parts: { delete: { backup_id: 'b', backup_name: 'n' } },
  }))
}

test('a task goes from waiting over running to its end, and its times are written once', async () => {
  await withDatabase(async (db) => {
    const id = await add(db, 1_000_000)
    const show = async () => operationLogToWire(await showOperationLog(db, projectId, id))
    const waiting = await show()
    assert.equal(waiting.status, 'waiting')
    assert.equal(waiting.started_at, null)
    assert.equal(waiting.extra_info.common.request_id, 'req-01234567-89ab-cdef-0123-456789abcdef')
    assert.deepEqual(waiting.extra_info.delete, { backup_id: 'b', backup_name: 'n' })

    await db.transaction().execute(async (tx) => {
      await startOperation(tx, id, 2_000_000)
      await advanceOperation(tx, id, 40.7, 3_000_000)
      await advanceOperation(tx, id, 12, 4_000_000)
      await startOperation(tx, id, 5_000_000)
      await advanceOperation(tx, id, 250, 6_000_000)
    })
    const running = await show()
    assert.equal(running.status, 'running')
    assert.equal(running.started_at, '1970-01-01T00:00:02.000000')
    assert.equal(running.ended_at, null)
    assert.equal(running.extra_info.common.progress, 99)

    await db.transaction().execute(async (tx) => {
      await finishOperation(tx, id, { status: 'success', now: 7_000_000 })
      await finishOperation(tx, id, { status: 'failed', now: 8_000_000, error: { code: 'BackupService.9910', message: 'late' } })
    })
    const ended = await show()
    assert.equal(ended.status, 'success')
    assert.equal(ended.ended_at, '1970-01-01T00:00:07.000000')
    assert.deepEqual(ended.error_info, { code: '', message: '' })
    assert.equal(ended.extra_info.common.progress, 100)
  })
})

test('tasks page newest first by offset and by marker, ties included, and each is seen once', async () => {
  await withDatabase(async (db) => {
    const ids: string[] = []
    for (let n = 0; n < 25; n++) ids.push(await add(db, 1000 + Math.floor(n / 5)))
    await add(db, 5000, 'mail', { ...vault, project_id: 'b'.repeat(32) as ProjectId })
    const byOffset: string[] = []
    for (let offset = 0; ; offset += 7) {
      const page = await listOperationLogs(db, projectId, { limit: 7, offset })
      assert.equal(page.count, 25)
      if (page.rows.length === 0) break
      byOffset.push(...page.rows.map((row) => row.id))
    }
    const byMarker: string[] = []
    for (let marker: string | undefined; ;) {
      const page = await listOperationLogs(db, projectId, { limit: 7, ...(marker === undefined ? {} : { marker }) })
      if (page.rows.length === 0) break
      byMarker.push(...page.rows.map((row) => row.id))
      marker = byMarker.at(-1)
    }
    assert.deepEqual(byOffset, byMarker)
    assert.deepEqual(byOffset.toSorted(), ids.toSorted())
    assert.deepEqual((await listOperationLogs(db, projectId, { marker: newUuid<OperationLogId>() })).rows, [])
    assert.equal((await listOperationLogs(db, projectId, { limit: 5000 })).limit, 1000)
  })
})

test('every filter narrows the list, and the time window finds what is going on', async () => {
  await withDatabase(async (db) => {
    const old = await add(db, Date.UTC(2020, 0, 1) * 1000, 'mail')
    const running = await add(db, Date.UTC(2020, 0, 2) * 1000, 'wiki')
    await db.transaction().execute(async (tx) => {
      await startOperation(tx, old, Date.UTC(2020, 0, 1, 1) * 1000)
      await finishOperation(tx, old, { status: 'failed', now: Date.UTC(2020, 0, 1, 2) * 1000, error: { code: 'c', message: 'm' } })
      await startOperation(tx, running, Date.UTC(2020, 0, 2, 1) * 1000)
    })
    const find = async (query: Parameters<typeof listOperationLogs>[2]) =>
      (await listOperationLogs(db, projectId, query)).rows.map((row) => row.id)
    assert.deepEqual(await find({}), [running, old])
    assert.deepEqual(await find({ status: ['running'] }), [running])
    assert.deepEqual(await find({ status: ['running', 'failed'] }), [running, old])
    assert.deepEqual(await find({ operation_type: ['backup'] }), [])
    assert.deepEqual(await find({ resource_name: 'wiki' }), [running])
    assert.deepEqual(await find({ vault_id: vault.id, vault_name: 'docs', provider_id: 'engine', enterprise_project_id: '0' }), [running, old])
    assert.deepEqual(await find({ enterprise_project_id: 'other' }), [])
    assert.deepEqual(await find({ enterprise_project_id: 'all_granted_eps' }), [running, old])
    assert.deepEqual(await find({ start_time: '2020-01-01T01:00:01Z' }), [running])
    assert.deepEqual(await find({ end_time: '2020-01-01T02:00:00Z' }), [old])
    assert.deepEqual(await find({ end_time: '2020-01-01T01:59:59Z' }), [])
    assert.deepEqual(await find({ start_time: '2020-01-02T00:00:00Z', end_time: '2020-01-03T00:00:00Z' }), [running])
    await assert.rejects(find({ start_time: '2020-02-30T00:00:00Z' }), (error) => error instanceof Failure && error.code === 'parameter.invalid')
  })
})

test('a task of another project does not exist', async () => {
  await withDatabase(async (db) => {
    const id = await add(db, 1)
    await assert.rejects(showOperationLog(db, 'b'.repeat(32) as ProjectId, id), (error) => error instanceof Failure && error.code === 'operation_log.not_found')
    await assert.rejects(showOperationLog(db, projectId, 'nonsense'), (error) => error instanceof Failure && error.code === 'parameter.invalid')
  })
})

test('the lists that clients ask for again and again are found by an index, and read in its order', async () => {
  await withDatabase(async (db) => {
    const plan = async (condition: string): Promise<string> => {
      const query = `select * from operation_logs where project_id = 'a' and ${condition} order by created_at desc, id desc limit 10`
      return (await sql.raw<{ detail: string }>(`explain query plan ${query}`).execute(db)).rows.map((row) => row.detail).join('; ')
    }
    assert.match(await plan(`vault_id = 'v'`), /^SEARCH operation_logs USING INDEX operation_logs_of_vault \(project_id=\? AND vault_id=\?\)$/)
    assert.match(await plan(`resource_id = 'r'`), /^SEARCH operation_logs USING INDEX operation_logs_resource \(project_id=\? AND resource_id=\?\)$/)
    assert.match(await plan(`status = 'running'`), /^SEARCH operation_logs USING INDEX operation_logs_status \(project_id=\? AND status=\?\)$/)
    assert.match(await plan('1 = 1'), /^SEARCH operation_logs USING INDEX operation_logs_project \(project_id=\?\)$/)
  })
})
