import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Clock, Micros } from '../clock.ts'
import { openDatabase, type Database } from '../db/database.ts'
import { newUuid, type ProjectId, type VaultId } from '../ids.ts'
import { finishJob, insertJob } from '../jobs/index.ts'
import { finishOperation, insertOperationLog, startOperation } from '../operations/index.ts'
import { openSecrets } from '../secrets.ts'
import { openAgentHost } from './agent-host.ts'
import { discardHistory } from './discard-history.ts'

const projectId = 'a'.repeat(32) as ProjectId
const DAY: Micros = 24 * 3600 * 1_000_000

/** A catalogue in memory, and a clock turned by hand. */
async function openCatalogue(t: TestContext): Promise<{ db: Database, clock: Clock, pass: (micros: Micros) => void }> {
  const db = await openDatabase(':memory:')
  t.after(() => db.destroy())
  let now: Micros = 1000 * DAY
  return { db, clock: { now: () => now }, pass: (micros) => void (now += micros) }
}

/** A task with its job, ended at a time, or running when there is none. */
async function addTask(db: Database, vaultName: string, endedAt: Micros | undefined): Promise<void> {
  const vault = { id: newUuid<VaultId>(), project_id: projectId, name: vaultName, enterprise_project_id: '0', provider_id: 'engine' }
  await db.transaction().execute(async (tx) => {
    const operationLogId = await insertOperationLog(tx, { type: 'vault_delete', vault, requestId: 'r', parts: {}, createdAt: 1 })
    const jobId = await insertJob(tx, { kind: 'delete_vault', projectId, vaultId: vault.id, operationLogId, payload: {}, createdAt: 1 })
    await startOperation(tx, operationLogId, 2)
    if (endedAt === undefined) return
    await finishOperation(tx, operationLogId, { status: 'success', now: endedAt })
    await finishJob(tx, jobId, 'succeeded')
  })
}

async function look(db: Database) {
  const tasks = await db.selectFrom('operation_logs').select(['id', 'vault_name']).orderBy('vault_name').execute()
  const jobs = await db.selectFrom('jobs').select('operation_log_id').execute()
  assert.deepEqual(jobs.map((job) => job.operation_log_id).toSorted(), tasks.map((task) => task.id).toSorted())
  return tasks.map((task) => task.vault_name)
}

test('tasks are discarded with their jobs 30 days after they ended, and never while they run', async (t) => {
  const { db, clock } = await openCatalogue(t)
  await addTask(db, 'just kept', clock.now() - 30 * DAY)
  await addTask(db, 'just too old', clock.now() - 30 * DAY - 1)
  await addTask(db, 'running for ever', undefined)
  await db.transaction().execute((tx) => discardHistory(tx, clock.now()))
  assert.deepEqual(await look(db), ['just kept', 'running for ever'])
})

test('a server discards old tasks when it starts, and then once a day', async (t) => {
  const { db, clock, pass } = await openCatalogue(t)
  await addTask(db, 'fresh', clock.now())
  await addTask(db, 'old', clock.now() - 31 * DAY)
  t.mock.timers.enable({ apis: ['setInterval'] })
  const host = await openAgentHost({
    db,
    clock,
    secrets: openSecrets(new Uint8Array(32)),
    config: {
      dataDir: '/nowhere', listen: { host: '127.0.0.1', port: 0 }, region: 'r', allowPaths: [], strictResources: false, logLevel: 'silent',
    },
  }, {
    catalogueId: undefined, beatEveryMs: undefined, newHolder: () => 'only.one', isListed: async () => () => false, beat: async () => true, leave: async () => {},
  })
  assert.deepEqual(await look(db), ['fresh'])
  pass(31 * DAY)
  t.mock.timers.tick(DAY / 1000)
  await host.close()
  assert.deepEqual(await look(db), [])
})
