import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, PolicyId, ProjectId } from '../ids.ts'
import { insertJob, listLiveJobs, parseJobPayload } from '../jobs/index.ts'
import { insertOperationLog } from '../operations/index.ts'
import { settleCheckpoint } from '../checkpoints/index.ts'
import { parseUuid } from '../parse-id.ts'
import { mayExpire, refuseBackupDeletionIfLocked } from '../vaults/index.ts'
import { changeBackup, findBackup, listChildren } from './backup-store.ts'

/**
 * Starts the deletion of a backup, with its parts. For a project that the backup is shared with, this
 * ends its share and touches nothing else.
 */
export async function deleteBackup(
  deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents'>, caller: { projectId: ProjectId, requestId: string }, id: string,
): Promise<void> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  const isOwn = await deps.db.transaction().execute(async (tx) => {
    const backup = await findBackup(tx, caller.projectId, backupId)
    if (backup === undefined) {
      await endShare(tx, caller.projectId, backupId, deps.clock.now())
      return false
    }
    await startDeletion(tx, backup, caller.requestId, deps.clock.now())
    return true
  })
  if (isOwn) deps.wakeAgents()
}

/** For retention: a locked vault lets its automatic backups go in their own time. Throws as a deletion by a call does. */
export async function expireBackup(
  tx: Transaction, backup: Row<'backups'>, expiry: { readonly requestId: string, readonly policyId: PolicyId, readonly now: number },
): Promise<void> {
  await startDeletion(tx, backup, expiry.requestId, expiry.now, expiry.policyId)
}

async function startDeletion(tx: Transaction, backup: Row<'backups'>, requestId: string, now: number, expiredBy?: PolicyId): Promise<void> {
  const { project_id: projectId, id: backupId } = backup
  const vault = await tx.selectFrom('vaults').selectAll()
    .where('project_id', '=', projectId).where('id', '=', backup.vault_id)
    .executeTakeFirst()
  if (vault === undefined) throw new Failure('backup.not_found', { backupId })
  await assertDeletable(tx, backup, vault, now, expiredBy)
  const parts = [backup, ...await listChildren(tx, projectId, backupId)]
  for (const part of parts) await changeBackup(tx, projectId, part.id, { status: 'waiting_delete', updated_at: now })
  await settleCheckpoint(tx, projectId, backup.checkpoint_id)
  const operationLogId = await insertOperationLog(tx, {
    type: 'delete',
    vault,
    backupId,
    policyId: expiredBy,
    resource: { id: backup.resource_id, type: backup.resource_type, name: backup.resource_name },
    requestId,
    parts: { delete: { backup_id: backupId, backup_name: backup.name } },
    createdAt: now,
  })
  await insertJob(tx, {
    kind: 'delete_backup',
    projectId,
    vaultId: vault.id,
    backupId,
    operationLogId,
    payload: { backupIds: parts.map((part) => part.id), formerStatus: backup.status === 'error' ? 'error' : 'available' },
    createdAt: now,
  })
}

async function assertDeletable(
  tx: Transaction, backup: Row<'backups'>, vault: Row<'vaults'>, now: number, expiredBy: PolicyId | undefined,
): Promise<void> {
  const { id: backupId, status, parent_id: parentId } = backup
  if (parentId !== null) throw new Failure('backup.is_child', { backupId, parentId })
  if (status === 'waiting_restore' || status === 'restoring' || await isBeingReplicated(tx, backup) || await isBeingMoved(tx, backup)) throw new Failure('backup.in_use', { backupId })
  if (status !== 'available' && status !== 'error') throw new Failure('backup.status_forbids_delete', { backupId, status })
  if (expiredBy === undefined || !mayExpire(vault, backup, now)) refuseBackupDeletionIfLocked(vault, backup)
  const [image] = JSON.parse(backup.os_images_data ?? '[]') as { image_id: string }[]
  if (image !== undefined) throw new Failure('backup.used_by_image', { backupId, imageId: image.image_id })
  const shared = await tx.selectFrom('backup_members').select('image_id')
    .where('backup_id', '=', backupId).where('image_id', 'is not', null).limit(1).executeTakeFirst()
  if (typeof shared?.image_id === 'string') throw new Failure('backup.used_by_image', { backupId, imageId: shared.image_id })
  if (await isComparedWith(tx, backup)) {
    throw new Failure('vault.backups_in_progress', { vaultId: vault.id, reason: `the resource ${backup.resource_id} is being backed up, compared with its newest backup` })
  }
}

async function isBeingReplicated(tx: Transaction, { project_id, id }: Row<'backups'>): Promise<boolean> {
  return await tx.selectFrom('replication_records').select('id')
    .where('project_id', '=', project_id).where('backup_id', '=', id).where('status', 'in', ['waiting_replicate', 'replicating'])
    .executeTakeFirst() !== undefined
}

/** A backup that is being copied into another vault must be there when that is done. */
async function isBeingMoved(tx: Transaction, { project_id, vault_id, resource_id }: Row<'backups'>): Promise<boolean> {
  const jobs = (await listLiveJobs(tx, project_id, vault_id)).filter((job) => job.kind === 'migrate_resource')
  return jobs.some((job) => parseJobPayload(job, 'migrate_resource').resourceIds.includes(resource_id))
}

/** The newest backup of a resource stays while the next one of it is being made. */
async function isComparedWith(tx: Transaction, backup: Row<'backups'>): Promise<boolean> {
  const later = await tx.selectFrom('backups').select('status')
    .where('project_id', '=', backup.project_id).where('vault_id', '=', backup.vault_id)
    .where('resource_id', '=', backup.resource_id).where('parent_id', 'is', null)
    .where('created_at', '>=', backup.created_at).where('id', '!=', backup.id)
    .where('status', 'in', ['waiting_protect', 'protecting', 'available'])
    .execute()
  return later.length > 0 && later.every((each) => each.status !== 'available')
}

async function endShare(tx: Transaction, projectId: ProjectId, backupId: BackupId, now: number): Promise<void> {
  const share = await tx.selectFrom('backup_members').selectAll()
    .where('dest_project_id', '=', projectId).where('backup_id', '=', backupId).where('status', '!=', 'rejected')
    .executeTakeFirst()
  if (share === undefined) throw new Failure('backup.not_found', { backupId })
  if (share.image_id !== null) throw new Failure('backup.used_by_image', { backupId, imageId: share.image_id })
  await tx.updateTable('backup_members').set({ status: 'rejected', vault_id: null, updated_at: now }).where('id', '=', share.id).execute()
}
