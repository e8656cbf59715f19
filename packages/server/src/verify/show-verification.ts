import type { ListVerificationsQuery } from '@opencbr/contract'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import type { BackupId, ProjectId, VaultId, VerificationId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findVerification, selectVerificationPage } from './verification-store.ts'

const PAGE_MAX = 1000

export async function showVerification(db: Reader, projectId: ProjectId, id: string): Promise<Row<'verifications'>> {
  const verificationId = parseUuid<VerificationId>('verification_id', id)
  const row = await findVerification(db, projectId, verificationId)
  if (row === undefined) throw new Failure('verification.not_found', { verificationId })
  return row
}

/** A page of the project's verifications, newest first, and how many match altogether. */
export async function listVerifications(
  db: Reader, projectId: ProjectId, query: ListVerificationsQuery,
): Promise<{ rows: Row<'verifications'>[], count: number, limit: number, offset: number }> {
  const limit = Math.min(query.limit ?? PAGE_MAX, PAGE_MAX)
  const offset = query.offset ?? 0
  const filter = {
    vaultId: query.vault_id === undefined ? undefined : parseUuid<VaultId>('vault_id', query.vault_id),
    backupId: query.backup_id === undefined ? undefined : parseUuid<BackupId>('backup_id', query.backup_id),
  }
  return { ...await selectVerificationPage(db, projectId, filter, { limit, offset, marker: query.marker }), limit, offset }
}
