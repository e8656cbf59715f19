/**
 * Work for agents, in the same database and the same transactions as what it is about.
 *
 * A job is `waiting`, `leased` by one agent process (`lease_holder`), or ended. A holder that died
 * gives nothing back by itself: whoever sees it die requeues what it held, so a lease needs no
 * expiry and no clock. `attempts` counts leases; one that was parked does not count.
 */
import { sql } from 'kysely'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { JobKind, Row } from '../db/schema.ts'
import { newUuid, type BackupId, type JobId, type OperationLogId, type ProjectId, type VaultId } from '../ids.ts'
import { EXCLUSIVE_KINDS, type JobPayloads } from './job.ts'

export interface NewJob<Kind extends JobKind> {
  readonly kind: Kind
  readonly projectId: ProjectId
  readonly vaultId: VaultId
  readonly backupId?: BackupId | undefined
  /** A second vault that the job works in. */
  readonly targetVaultId?: VaultId | undefined
  readonly operationLogId: OperationLogId
  readonly payload: JobPayloads[Kind]
  readonly createdAt: Micros
}

export async function insertJob<Kind extends JobKind>(tx: Transaction, job: NewJob<Kind>): Promise<JobId> {
  const id = newUuid<JobId>()
  await tx.insertInto('jobs').values({
    id,
    kind: job.kind,
    project_id: job.projectId,
    vault_id: job.vaultId,
    backup_id: job.backupId ?? null,
    target_vault_id: job.targetVaultId ?? null,
    operation_log_id: job.operationLogId,
    payload: JSON.stringify(job.payload),
    status: 'waiting',
    attempts: 0,
    lease_holder: null,
    leased_at: null,
    cancel_requested_at: null,
    created_at: job.createdAt,
  }).execute()
  return id
}

/** More than one at a time would only share the source's disk and the repository's. */
export const WRITERS_PER_VAULT = 1

/**
 * Leases up to `limit` jobs in the order they were made. Within a vault nothing overtakes a job that
 * must run alone, and such a job waits for all before it; and at most `writersPerVault` backups run
 * in one vault at a time. A job that somebody else leased meanwhile is left to them.
 */
export async function leaseJobs(
  tx: Transaction, lease: { holder: string, limit: number, now: Micros, writersPerVault?: number | undefined },
): Promise<Row<'jobs'>[]> {
  const leased: Row<'jobs'>[] = []
  // One by one: each changes what may run beside it.
  while (leased.length < lease.limit) {
    const job = await findReadyJob(tx, lease.writersPerVault ?? WRITERS_PER_VAULT)
    if (job === undefined) break
    const change = { status: 'leased', lease_holder: lease.holder, leased_at: lease.now, attempts: job.attempts + 1 } as const
    const { numUpdatedRows } = await tx.updateTable('jobs').set(change)
      .where('id', '=', job.id).where('status', '=', 'waiting')
      .executeTakeFirst()
    if (numUpdatedRows > 0n) leased.push({ ...job, ...change })
  }
  return leased
}

function findReadyJob(tx: Transaction, writersPerVault: number): Promise<Row<'jobs'> | undefined> {
  return tx.selectFrom('jobs as job').selectAll('job')
    .where('job.status', '=', 'waiting')
    .where(({ not, exists, selectFrom }) => not(exists(
      selectFrom('jobs as other').select('other.id')
        .where(({ eb, or }) => or([
          eb('other.vault_id', '=', eb.ref('job.vault_id')), eb('other.vault_id', '=', eb.ref('job.target_vault_id')),
          eb('other.target_vault_id', '=', eb.ref('job.vault_id')), eb('other.target_vault_id', '=', eb.ref('job.target_vault_id')),
        ]))
        .where('other.status', 'in', ['leased', 'waiting'])
        .where(({ eb, and, or }) => or([
          eb('other.status', '=', 'leased'),
          eb('other.created_at', '<', eb.ref('job.created_at')),
          and([eb('other.created_at', '=', eb.ref('job.created_at')), eb('other.id', '<', eb.ref('job.id'))]),
        ]))
        .where(({ eb, or }) => or([
          eb('job.kind', 'in', EXCLUSIVE_KINDS), eb('other.kind', 'in', EXCLUSIVE_KINDS),
        ])),
    )))
    .where(({ eb, or, selectFrom }) => or([
      eb('job.kind', '!=', 'backup'),
      eb(
        selectFrom('jobs as writer').select(({ fn }) => fn.countAll<number>().as('count'))
          .whereRef('writer.vault_id', '=', 'job.vault_id')
          .where('writer.status', '=', 'leased').where('writer.kind', '=', 'backup'),
        '<', writersPerVault,
      ),
    ]))
    .orderBy('job.created_at').orderBy('job.id')
    .limit(1)
    .executeTakeFirst()
}

export async function findJobOfTask(reader: Reader, projectId: ProjectId, id: OperationLogId): Promise<Row<'jobs'> | undefined> {
  return reader.selectFrom('jobs').selectAll().where('operation_log_id', '=', id).where('project_id', '=', projectId).executeTakeFirst()
}

/** Takes a waiting job out of the queue for good; false when it does not wait. */
export async function withdrawJob(tx: Transaction, id: JobId, now: Micros): Promise<boolean> {
  const { numUpdatedRows } = await tx.updateTable('jobs').set({ status: 'failed', cancel_requested_at: now })
    .where('id', '=', id).where('status', '=', 'waiting')
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

/** Asks whoever has leased a job to stop; it ends when they say so. False when nobody has. */
export async function requestCancellation(tx: Transaction, id: JobId, now: Micros): Promise<boolean> {
  const { numUpdatedRows } = await tx.updateTable('jobs')
    .set(({ fn, val }) => ({ cancel_requested_at: fn.coalesce('cancel_requested_at', val(now)) }))
    .where('id', '=', id).where('status', '=', 'leased')
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

/** Of the jobs that somebody holds, those that are to stop. */
export async function listCancelledJobs(reader: Reader, holder: string): Promise<JobId[]> {
  const rows = await reader.selectFrom('jobs').select('id')
    .where('lease_holder', '=', holder).where('status', '=', 'leased').where('cancel_requested_at', 'is not', null)
    .execute()
  return rows.map((row) => row.id)
}

/** The job if this holder still has it: what somebody says who lost the lease must not count. */
export async function findLeasedJob(reader: Reader, id: JobId, holder: string): Promise<Row<'jobs'> | undefined> {
  return reader.selectFrom('jobs').selectAll()
    .where('id', '=', id).where('status', '=', 'leased').where('lease_holder', '=', holder)
    .executeTakeFirst()
}

export async function listLeasedJobs(reader: Reader, holder?: string): Promise<Row<'jobs'>[]> {
  let leased = reader.selectFrom('jobs').selectAll().where('status', '=', 'leased').orderBy('created_at').orderBy('id')
  if (holder !== undefined) leased = leased.where('lease_holder', '=', holder)
  return leased.execute()
}

export async function finishJob(tx: Transaction, id: JobId, status: 'succeeded' | 'failed'): Promise<void> {
  await tx.updateTable('jobs').set({ status, lease_holder: null, reserved_bytes: null }).where('id', '=', id).execute()
}

/** Gives a leased job back. Parked work takes its attempt back too: it was no failure. */
export async function requeueJob(tx: Transaction, id: JobId, how: 'parked' | 'broken_off'): Promise<void> {
  await tx.updateTable('jobs')
    .set({
      status: 'waiting', lease_holder: null, leased_at: null, reserved_bytes: null,
      ...(how === 'parked' ? { attempts: sql<number>`attempts - 1` } : {}),
    })
    .where('id', '=', id).where('status', '=', 'leased')
    .execute()
}

/** Sets room aside for a job, instead of what it had. */
export async function reserveRoom(tx: Transaction, id: JobId, bytes: number): Promise<void> {
  await tx.updateTable('jobs').set({ reserved_bytes: bytes }).where('id', '=', id).execute()
}

/** Bytes that all other jobs in a vault have set aside. */
export async function sumReserved(reader: Reader, { id, vault_id }: Pick<Row<'jobs'>, 'id' | 'vault_id'>): Promise<number> {
  const { bytes } = await reader.selectFrom('jobs').select(({ fn }) => fn.sum<number | null>('reserved_bytes').as('bytes'))
    .where('vault_id', '=', vault_id).where('status', '=', 'leased').where('id', '!=', id)
    .executeTakeFirstOrThrow()
  return Number(bytes ?? 0)
}

/** Takes out the jobs of tasks that ended before a time. */
export async function deleteJobsOfTasks(tx: Transaction, endedBefore: Micros): Promise<void> {
  await tx.deleteFrom('jobs')
    .where('status', 'in', ['succeeded', 'failed'])
    .where('operation_log_id', 'in', tx.selectFrom('operation_logs').select('id').where('ended_at', '<', endedBefore))
    .execute()
}

/** Jobs of a vault that wait or run, oldest first. */
export async function listLiveJobs(reader: Reader, projectId: ProjectId, vaultId?: VaultId): Promise<Row<'jobs'>[]> {
  let live = reader.selectFrom('jobs').selectAll()
    .where('project_id', '=', projectId).where('status', 'in', ['waiting', 'leased'])
    .orderBy('created_at').orderBy('id')
  if (vaultId !== undefined) live = live.where(({ eb, or }) => or([eb('vault_id', '=', vaultId), eb('target_vault_id', '=', vaultId)]))
  return live.execute()
}

/** Restores that wait or run, of whomever: what they write to is nobody else's to read meanwhile. */
export async function listLiveRestores(reader: Reader): Promise<Row<'jobs'>[]> {
  return reader.selectFrom('jobs').selectAll().where('status', 'in', ['waiting', 'leased']).where('kind', '=', 'restore').execute()
}

/** What a job was told; the kind says which form it has. */
export function parseJobPayload<Kind extends JobKind>(job: { readonly payload: string }, _kind: Kind): JobPayloads[Kind] {
  return JSON.parse(job.payload) as JobPayloads[Kind]
}
