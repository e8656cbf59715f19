import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDatabase, type Database } from '../db/database.ts'
import type { JobKind } from '../db/schema.ts'
import { newUuid, type JobId, type OperationLogId, type ProjectId, type VaultId } from '../ids.ts'
import { findLeasedJob, finishJob, insertJob, leaseJobs, listLeasedJobs, listLiveJobs, requeueJob } from './job-store.ts'

const projectId = 'a'.repeat(32) as ProjectId

async function withDatabase(run: (db: Database, add: (kind: JobKind, vaultId: VaultId) => Promise<JobId>) => Promise<void>): Promise<void> {
  const db = await openDatabase(':memory:')
  let now = 1000
  try {
    await run(db, (kind, vaultId) => db.transaction().execute((tx) => insertJob(tx, {
      kind, projectId, vaultId, operationLogId: newUuid<OperationLogId>(), payload: { backupIds: [] }, createdAt: now++,
    })))
  } finally {
    await db.destroy()
  }
}

const lease = (db: Database, limit: number, holder = 'one') =>
  db.transaction().execute(async (tx) => (await leaseJobs(tx, { holder, limit, now: 5 })).map((job) => job.id))
const end = (db: Database, id: JobId) => db.transaction().execute((tx) => finishJob(tx, id, 'succeeded'))

test('jobs are leased in the order they were made, once', async () => {
  await withDatabase(async (db, add) => {
    const [first, second, third] = [await add('backup', newUuid()), await add('restore', newUuid()), await add('backup', newUuid())]
    assert.deepEqual(await lease(db, 2), [first, second])
    assert.deepEqual(await lease(db, 2), [third])
    assert.deepEqual(await lease(db, 2), [])
    assert.equal((await listLeasedJobs(db, 'one')).length, 3)
    assert.equal((await listLeasedJobs(db, 'two')).length, 0)
  })
})

test('a job that must run alone in its vault waits for those before it, and nothing overtakes it', async () => {
  await withDatabase(async (db, add) => {
    const vault = newUuid<VaultId>()
    const before = await add('backup', vault)
    const alone = await add('delete_backup', vault)
    const after = await add('backup', vault)
    const elsewhere = await add('backup', newUuid())
    assert.deepEqual(await lease(db, 10), [before, elsewhere])
    assert.deepEqual(await lease(db, 10), [])
    await end(db, before)
    assert.deepEqual(await lease(db, 10), [alone])
    assert.deepEqual(await lease(db, 10), [])
    await end(db, alone)
    assert.deepEqual(await lease(db, 10), [after])
  })
})

test('every kind that removes something runs alone', async () => {
  for (const kind of ['delete_backup', 'remove_resource', 'delete_vault'] as const) {
    await withDatabase(async (db, add) => {
      const vault = newUuid<VaultId>()
      const first = await add(kind, vault)
      await add(kind, vault)
      await add('restore', vault)
      assert.deepEqual(await lease(db, 10), [first])
    })
  }
})

test('a job comes back with its attempts counted, unless it was parked', async () => {
  await withDatabase(async (db, add) => {
    const id = await add('backup', newUuid())
    const attempts = async () => (await db.selectFrom('jobs').select('attempts').executeTakeFirstOrThrow()).attempts
    await lease(db, 1)
    assert.equal(await attempts(), 1)
    await db.transaction().execute((tx) => requeueJob(tx, id, 'parked'))
    assert.equal(await attempts(), 0)
    await lease(db, 1)
    await db.transaction().execute((tx) => requeueJob(tx, id, 'broken_off'))
    assert.equal(await attempts(), 1)
    assert.deepEqual(await lease(db, 1, 'two'), [id])
    assert.equal(await attempts(), 2)
  })
})

test('who lost a lease finds no job, and an ended job is not live', async () => {
  await withDatabase(async (db, add) => {
    const vault = newUuid<VaultId>()
    const id = await add('backup', vault)
    await lease(db, 1, 'one')
    assert.equal((await findLeasedJob(db, id, 'one'))?.id, id)
    assert.equal(await findLeasedJob(db, id, 'two'), undefined)
    assert.deepEqual((await listLiveJobs(db, projectId, vault)).map((job) => job.id), [id])
    await end(db, id)
    assert.equal(await findLeasedJob(db, id, 'one'), undefined)
    assert.deepEqual(await listLiveJobs(db, projectId), [])
  })
})
