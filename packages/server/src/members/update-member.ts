import type { UpdateMemberBody } from '@opencbr/contract'
import type { Transaction } from '../db/database.ts'
import type { Row, RowChange } from '../db/schema.ts'
import { findBackup } from '../backups/index.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, ProjectId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findVault, noteFill, usedBytesOf } from '../vaults/index.ts'
import { changeMember, measureBackup } from './member-store.ts'
import { getMember } from './show-members.ts'

const BYTES_PER_MB = 1024 ** 2
const BYTES_PER_GB = 1024 ** 3

/**
 * The receiver answers: pending becomes accepted or rejected, and what was accepted is given back by
 * rejecting it. What was rejected may still be accepted, as long as the owner has not withdrawn it.
 */
export async function updateMember(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, id: string, memberId: string, { status, vault_id: vaultText }: UpdateMemberBody,
): Promise<Row<'backup_members'>> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  return db.transaction().execute(async (tx) => {
    const member = await getMember(tx, projectId, backupId, memberId)
    if (member.dest_project_id !== projectId) throw new Failure('member.bad_update', { reason: 'only the receiving project answers a share' })
    const now = clock.now()
    const change = status === 'accepted'
      ? await planAcceptance(tx, projectId, member, vaultText, now)
      : planRejection(member, status, now)
    await changeMember(tx, member.id, change)
    for (const vaultId of new Set([member.vault_id, change.vault_id ?? null])) if (vaultId !== null) await noteFill(tx, projectId, vaultId, now)
    return { ...member, ...change } as Row<'backup_members'>
  })
}

async function planAcceptance(
  tx: Transaction, projectId: ProjectId, member: Row<'backup_members'>, vaultText: string | undefined, now: number,
): Promise<RowChange<'backup_members'>> {
  if (vaultText === undefined) throw new Failure('member.bad_update', { reason: 'vault_id names the vault that takes the backup' })
  const vaultId = parseUuid<VaultId>('vault_id', vaultText)
  const vault = await findVault(tx, projectId, vaultId)
  if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
  // Accepting again into the same vault is no change; into another one, it moves.
  if (member.status === 'accepted' && member.vault_id === vaultId) return { status: 'accepted' }
  if (member.image_id !== null) throw new Failure('member.used_by_image', { backupId: member.backup_id, imageId: member.image_id })
  const backup = await findBackup(tx, member.project_id, member.backup_id)
  const source = backup === undefined ? undefined : await findVault(tx, member.project_id, backup.vault_id)
  if (backup === undefined || source === undefined) throw new Failure('backup.not_found', { backupId: member.backup_id })
  if (backup.status === 'waiting_delete' || backup.status === 'deleting' || backup.status === 'error') {
    throw new Failure('member.bad_update', { reason: `the backup is ${backup.status}` })
  }
  if (vault.protect_type !== 'backup' || vault.object_type !== source.object_type) {
    throw new Failure('member.vault_kind', { vaultId, objectType: vault.object_type, expected: source.object_type })
  }
  if (vault.status !== 'available') throw new Failure('member.vault_status', { vaultId, status: vault.status })
  const sizeBytes = await measureBackup(tx, member.backup_id)
  const freeBytes = Math.max(0, vault.size_gb * BYTES_PER_GB - usedBytesOf(vault))
  if (sizeBytes > freeBytes) {
    throw new Failure('vault.target_full', { vaultId, needed: Math.ceil(sizeBytes / BYTES_PER_MB), available: Math.floor(freeBytes / BYTES_PER_MB) })
  }
  return { status: 'accepted', vault_id: vaultId, updated_at: now }
}

function planRejection(member: Row<'backup_members'>, status: UpdateMemberBody['status'], now: number): RowChange<'backup_members'> {
  if (status === 'pending') throw new Failure('member.bad_update', { reason: 'a share is accepted or rejected' })
  if (member.image_id !== null) throw new Failure('member.used_by_image', { backupId: member.backup_id, imageId: member.image_id })
  if (member.status === 'rejected') return { status }
  return { status, vault_id: null, updated_at: now }
}
