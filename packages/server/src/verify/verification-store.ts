/** SQL of verifications. Rows change only in the transactions that begin, advance or end their jobs. */
import type { SelectQueryBuilder } from 'kysely'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, Row, RowChange, Schema } from '../db/schema.ts'
import type { BackupId, ProjectId, VaultId, VerificationId } from '../ids.ts'

export interface VerificationFilter {
  readonly vaultId?: VaultId | undefined
  readonly backupId?: BackupId | undefined
}

export interface VerificationPage {
  readonly limit: number
  readonly offset: number
  /** Id of the last one seen; wins over the offset. */
  readonly marker?: string | undefined
}

export async function insertVerification(tx: Transaction, row: NewRow<'verifications'>): Promise<void> {
  await tx.insertInto('verifications').values(row).execute()
}

export async function findVerification(db: Reader, projectId: ProjectId, id: VerificationId): Promise<Row<'verifications'> | undefined> {
  return db.selectFrom('verifications').selectAll().where('project_id', '=', projectId).where('id', '=', id).executeTakeFirst()
}

/** Of the same thing in the same way, and not at its end. */
export async function findLiveVerification(
  db: Reader, wanted: Pick<Row<'verifications'>, 'project_id' | 'vault_id' | 'backup_id' | 'scope' | 'level' | 'sample_percent'>,
): Promise<Row<'verifications'> | undefined> {
  return db.selectFrom('verifications').selectAll()
    .where('project_id', '=', wanted.project_id).where('vault_id', '=', wanted.vault_id)
    .where('backup_id', wanted.backup_id === null ? 'is' : '=', wanted.backup_id)
    .where('scope', '=', wanted.scope).where('level', '=', wanted.level)
    .where('sample_percent', wanted.sample_percent === null ? 'is' : '=', wanted.sample_percent)
    .where('status', 'in', ['waiting', 'running'])
    .orderBy('created_at', 'desc').limit(1)
    .executeTakeFirst()
}

/** Newest first. An unknown marker gives an empty page. */
export async function selectVerificationPage(
  db: Reader, projectId: ProjectId, filter: VerificationFilter, page: VerificationPage,
): Promise<{ rows: Row<'verifications'>[], count: number }> {
  const { count } = await matching(db.selectFrom('verifications'), projectId, filter)
    .select(({ fn }) => fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  let rows = matching(db.selectFrom('verifications').selectAll(), projectId, filter)
    .orderBy('created_at', 'desc').orderBy('id', 'desc').limit(page.limit)
  if (page.marker === undefined) {
    rows = rows.offset(page.offset)
  } else {
    const last = await findVerification(db, projectId, page.marker as VerificationId)
    if (last === undefined) return { rows: [], count: Number(count) }
    rows = rows.where(({ eb, refTuple, tuple }) => eb(refTuple('created_at', 'id'), '<', tuple(last.created_at, last.id)))
  }
  return { rows: await rows.execute(), count: Number(count) }
}

function matching<Output>(
  query: SelectQueryBuilder<Schema, 'verifications', Output>, projectId: ProjectId, { vaultId, backupId }: VerificationFilter,
): SelectQueryBuilder<Schema, 'verifications', Output> {
  let narrowed = query.where('project_id', '=', projectId)
  if (vaultId !== undefined) narrowed = narrowed.where('vault_id', '=', vaultId)
  if (backupId !== undefined) narrowed = narrowed.where('backup_id', '=', backupId)
  return narrowed
}

export async function startVerificationRow(tx: Transaction, id: VerificationId, now: Micros): Promise<void> {
  await tx.updateTable('verifications').set({ status: 'running', started_at: now }).where('id', '=', id).where('status', '=', 'waiting').execute()
}

/** Progress in percent; it never goes back, and reaches 100 only at the end. */
export async function advanceVerification(tx: Transaction, id: VerificationId, percent: number): Promise<void> {
  const progress = Math.max(0, Math.min(99, Math.floor(percent)))
  await tx.updateTable('verifications').set({ progress })
    .where('id', '=', id).where('status', '=', 'running').where('progress', '<', progress)
    .execute()
}

export async function endVerification(
  tx: Transaction, id: VerificationId, now: Micros, change: RowChange<'verifications'> & { readonly status: 'success' | 'failed' },
): Promise<void> {
  await tx.updateTable('verifications').set((eb) => ({
    ...change, started_at: eb.fn.coalesce('started_at', eb.val(now)), ended_at: now,
  })).where('id', '=', id).where('status', 'in', ['waiting', 'running']).execute()
}

/** Takes out what ended before a time, but for the last run of each scrub. */
export async function deleteVerifications(tx: Transaction, endedBefore: Micros): Promise<void> {
  await tx.deleteFrom('verifications').where('ended_at', '<', endedBefore)
    .where('id', 'not in', tx.selectFrom('vault_scrubs').select('verification_id').where('verification_id', 'is not', null).$castTo<{ verification_id: VerificationId }>())
    .execute()
}
