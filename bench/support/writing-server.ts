/**
 * The service in a process of its own that also writes as its agents' reports make it write: in the same process, with the
 * same functions and in the same transactions, while it answers calls. Started by `serveWriting`.
 */
import { fork } from 'node:child_process'
import { setImmediate } from 'node:timers/promises'
import { openService, type ServerConfig } from '@opencbr/server'
import { recordEnd } from '../../packages/server/src/agent-host/end-job.ts'
import { startBackup } from '../../packages/server/src/agent-host/record-backup.ts'
import { startRemoval } from '../../packages/server/src/agent-host/record-removal.ts'
import type { Row } from '../../packages/server/src/db/schema.ts'
import { newUuid, type BackupId, type CheckpointId } from '../../packages/server/src/ids.ts'
import { insertJob } from '../../packages/server/src/jobs/index.ts'
import { insertOperationLog } from '../../packages/server/src/operations/index.ts'
import { logInEverywhere, type ServedDirectory } from './served-directory.ts'

export interface WritingServer extends ServedDirectory {
  /** Records so many finished backups, one after the other; answers how long each took. */
  readonly record: (count: number) => Promise<number[]>
  /** Takes out so many backups, each by a job of its own as retention does; answers how long each took. */
  readonly remove: (count: number) => Promise<number[]>
  /** Takes out whole vaults, each at once, until at least so many backups are gone; answers how long each took. */
  readonly removeVaults: (count: number) => Promise<number[]>
}

type Order = { readonly kind: 'record' | 'remove' | 'removeVaults', readonly count: number } | { readonly kind: 'end' }

export async function serveWriting(config: ServerConfig): Promise<WritingServer> {
  const child = fork(import.meta.filename, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const ask = async <Answer>(message: unknown): Promise<Answer> => {
    const answer = Promise.withResolvers<Answer>()
    const fail = (code: unknown): void => answer.reject(new Error(`the writing server ended with ${String(code)}`))
    child.once('message', answer.resolve as (value: unknown) => void)
    child.once('exit', fail)
    child.send(message as object)
    try {
      return await answer.promise
    } finally {
      child.off('exit', fail)
    }
  }
  const url = new URL(await ask<string>(config))
  return {
    host: url.hostname,
    port: Number(url.port),
    pid: child.pid ?? 0,
    projects: await logInEverywhere(url, config.dataDir),
    record: (count) => ask({ kind: 'record', count } satisfies Order),
    remove: (count) => ask({ kind: 'remove', count } satisfies Order),
    removeVaults: (count) => ask({ kind: 'removeVaults', count } satisfies Order),
    async [Symbol.asyncDispose]() {
      child.send({ kind: 'end' } satisfies Order)
      await ended
    },
  }
}

async function run(config: ServerConfig): Promise<void> {
  const service = await openService(config, { agent: 'none' })
  const { db, clock } = service.deps
  const { url } = await service.listen()
  const projectId = (await service.deps.db.selectFrom('projects').select('id').where('name', '=', config.region).executeTakeFirstOrThrow()).id

  async function timeWrites(kind: 'record' | 'remove' | 'removeVaults', count: number): Promise<number[]> {
    const durationsMs: number[] = []
    let removed = 0
    const victims = kind === 'remove'
      ? await db.selectFrom('backups').selectAll().where('project_id', '=', projectId).where('parent_id', 'is', null).where('status', '=', 'available')
        .orderBy('created_at').limit(count).execute()
      : []
    for (let done = 0; kind === 'removeVaults' ? removed < count : done < count; done += 1) {
      // Agents report by messages, and between two of them the server does what else there is to do.
      await setImmediate()
      let job: Row<'jobs'>
      if (kind === 'record') job = await db.transaction().execute((tx) => prepareBackup(tx))
      else if (kind === 'remove') {
        const backup = victims[done]
        if (backup === undefined) break
        job = await db.transaction().execute((tx) => prepareRemoval(tx, backup))
      } else {
        const vault = await db.selectFrom('vaults').select(['id', 'name']).where('project_id', '=', projectId)
          .where(({ exists, selectFrom }) => exists(selectFrom('backups').select('id').whereRef('vault_id', '=', 'vaults.id').where('project_id', '=', projectId)))
          .orderBy('id').limit(1).executeTakeFirst()
        if (vault === undefined) break
        removed += (await db.selectFrom('backups').select(({ fn }) => fn.countAll<number>().as('rows')).where('project_id', '=', projectId)
          .where('vault_id', '=', vault.id).executeTakeFirstOrThrow()).rows
        job = await db.transaction().execute((tx) => prepareVaultRemoval(tx, vault.id))
      }
      await setImmediate()
      const startedAt = performance.now()
      await db.transaction().execute((tx) => recordEnd(tx, job, endOf(job), undefined, clock.now()))
      durationsMs.push(performance.now() - startedAt)
    }
    return durationsMs
  }

  type Tx = Parameters<typeof recordEnd>[0]

  /** A checkpoint with one backup that an agent has begun. */
  async function prepareBackup(tx: Tx): Promise<Row<'jobs'>> {
    const now = clock.now()
    const like = await tx.selectFrom('backups').selectAll().where('project_id', '=', projectId).where('parent_id', 'is', null)
      .where('status', '=', 'available').orderBy('id').where('id', '>=', newUuid<BackupId>()).limit(1).executeTakeFirst()
    if (like === undefined) return prepareBackup(tx)
    const checkpointId = newUuid<CheckpointId>()
    const backupId = newUuid<BackupId>()
    await tx.insertInto('checkpoints').values({
      id: checkpointId, project_id: projectId, vault_id: like.vault_id, status: 'protecting', name: 'manualbk_bench', description: '',
      auto_trigger: 0, incremental: 1, skipped_resources: '[]', created_at: now,
    }).execute()
    const { document: _document, ...columns } = like
    await tx.insertInto('backups').values({
      ...columns, id: backupId, checkpoint_id: checkpointId, status: 'waiting_protect', created_at: now, updated_at: now, protected_at: null, snapshot_id: null,
    }).execute()
    const job = await prepareJob(tx, 'backup', like.vault_id, { resourceId: like.resource_id, incremental: true }, backupId)
    await startBackup(tx, job, { ...like, id: backupId, checkpoint_id: checkpointId }, now)
    return job
  }

  async function prepareRemoval(tx: Tx, backup: Row<'backups'>): Promise<Row<'jobs'>> {
    const children = await tx.selectFrom('backups').select('id').where('project_id', '=', projectId).where('parent_id', '=', backup.id).execute()
    const job = await prepareJob(tx, 'delete_backup', backup.vault_id, { backupIds: [backup.id, ...children.map(({ id }) => id)] }, backup.id)
    await startRemoval(tx, job, clock.now())
    return job
  }

  async function prepareVaultRemoval(tx: Tx, vaultId: Row<'vaults'>['id']): Promise<Row<'jobs'>> {
    const job = await prepareJob(tx, 'delete_vault', vaultId, {})
    await startRemoval(tx, job, clock.now())
    return job
  }

  async function prepareJob(
    tx: Tx, kind: 'backup' | 'delete_backup' | 'delete_vault', vaultId: Row<'vaults'>['id'], payload: object, backupId?: BackupId,
  ): Promise<Row<'jobs'>> {
    const now = clock.now()
    const vault = await tx.selectFrom('vaults').selectAll().where('id', '=', vaultId).executeTakeFirstOrThrow()
    const operationLogId = await insertOperationLog(tx, {
      type: kind === 'backup' ? 'backup' : kind === 'delete_backup' ? 'delete' : 'vault_delete', vault, backupId, requestId: '0'.repeat(32), parts: {}, createdAt: now,
    })
    const id = await insertJob(tx, { kind, projectId, vaultId, backupId, operationLogId, payload: payload as never, createdAt: now })
    return tx.updateTable('jobs').set({ status: 'leased', lease_holder: 'bench', leased_at: now, attempts: 1 }).where('id', '=', id).returningAll().executeTakeFirstOrThrow()
  }

  process.on('message', (order: Order) => {
    if (order.kind === 'end') void service.close().then(() => process.exit())
    else void timeWrites(order.kind, order.count).then(tell)
  })
  tell(url)
}

function tell(answer: string | number[]): void {
  process.send?.(answer)
}

function endOf(job: Row<'jobs'>): Parameters<typeof recordEnd>[2] {
  if (job.kind !== 'backup') return { type: 'done', outcome: { kind: 'forget', freedBytes: 0, pendingBytes: 0, warnings: [], warningCount: 0 } }
  return {
    type: 'done',
    outcome: {
      kind: 'backup', snapshotId: newUuid<BackupId>().replaceAll('-', '').repeat(2), repositoryId: '0'.repeat(64), repositoryUrl: '/srv/bench', sourcePath: '/', whole: true,
      missingPaths: [], missingCount: 0, contentBytes: 20_000_000_000, storedBytes: 1_000_000_000, bootable: undefined, warnings: [], warningCount: 0,
    },
  }
}

if (process.argv[1] === import.meta.filename) process.once('message', (config) => void run(config as ServerConfig))
