/** SQL of scrubs. */
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { ProjectId, VaultId, VerificationId } from '../ids.ts'
import { SCRUB_AHEAD_MAX } from './scrub.ts'

export interface ScrubView {
  readonly vaultId: VaultId
  /** Undefined when the vault is not scrubbed. */
  readonly scrub: Row<'vault_scrubs'> | undefined
  readonly last: Row<'verifications'> | undefined
}

export async function findScrub(db: Reader, projectId: ProjectId, vaultId: VaultId): Promise<Row<'vault_scrubs'> | undefined> {
  return db.selectFrom('vault_scrubs').selectAll().where('project_id', '=', projectId).where('vault_id', '=', vaultId).executeTakeFirst()
}

export async function deleteScrub(tx: Transaction, projectId: ProjectId, vaultId: VaultId): Promise<void> {
  await tx.deleteFrom('vault_scrubs').where('project_id', '=', projectId).where('vault_id', '=', vaultId).execute()
}

/** Those whose next run is due, longest waiting first. */
export async function listDueScrubs(db: Reader, now: Micros, limit: number): Promise<Row<'vault_scrubs'>[]> {
  return db.selectFrom('vault_scrubs').selectAll()
    .where(({ eb, or }) => or([eb('try_at', '<=', now), eb('try_at', '>', now + SCRUB_AHEAD_MAX)]))
    .orderBy('try_at').orderBy('vault_id').limit(limit)
    .execute()
}

/** Takes a due run for this server alone: answers whether nobody else had. */
export async function claimScrub(tx: Transaction, due: Row<'vault_scrubs'>, tryAt: Micros): Promise<boolean> {
  const { numUpdatedRows } = await tx.updateTable('vault_scrubs').set({ try_at: tryAt })
    .where('vault_id', '=', due.vault_id).where('try_at', '=', due.try_at)
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

export async function setScrubRun(tx: Transaction, vaultId: VaultId, verificationId: VerificationId): Promise<void> {
  await tx.updateTable('vault_scrubs').set({ verification_id: verificationId }).where('vault_id', '=', vaultId).execute()
}

/** What a run has read need not be read again before its time; a run that is not the last one moves nothing. */
export async function moveScrub(
  tx: Transaction, vaultId: VaultId, verificationId: VerificationId, state: { position: number, coveredUntil: Micros, dueAt: Micros },
): Promise<void> {
  await tx.updateTable('vault_scrubs')
    .set({ position: state.position, covered_until: state.coveredUntil, try_at: state.dueAt })
    .where('vault_id', '=', vaultId).where('verification_id', '=', verificationId)
    .execute()
}
