/**
 * Starts a restore: a directory goes into a directory that the caller names, a disk onto itself or
 * onto another declared disk that is large enough. What can be refused is refused before anything
 * is changed; the agent judges paths and sizes again when it writes.
 *
 * A backup that was shared is read from its owner's vault and written for the receiver: task and target
 * are the receiver's, and the job keeps whose the backup is.
 */
import { normalize } from 'node:path'
import { isAllowedDestination } from '@opencbr/agent'
import type { RestoreBackupBody } from '@opencbr/contract'
import { listPathsBeingRead } from '../agents/index.ts'
import { pathRulesOf } from '../config.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { BackupId, OperationLogId, ProjectId, ResourceId, VaultId } from '../ids.ts'
import { insertJob, listLiveRestores, parseJobPayload, type RestorePayload } from '../jobs/index.ts'
import { insertOperationLog, type OperationParts } from '../operations/index.ts'
import { parseUuid } from '../parse-id.ts'
import { findResource, pathsOverlap } from '../resources/index.ts'
import { changeBackup } from './backup-store.ts'
import { findReadableBackup, findVisibleBackup } from './backup-list-store.ts'
import { setProtectStatus } from './record-protect-status.ts'

type Order = RestoreBackupBody['restore']

const DIRECTORY = 'OS::Sfs::Turbo'
const SERVER_FILES = 'OS::Native::Server'
const DISK = 'OS::Cinder::Volume'

export async function restoreBackup(
  deps: Pick<Deps, 'db' | 'clock' | 'config' | 'wakeAgents'>,
  caller: { projectId: ProjectId, requestId: string },
  id: string,
  order: Order,
): Promise<OperationLogId> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  const { backup } = await getBackup(deps.db, caller.projectId, backupId)
  // Looking at the file system is nothing to do inside a transaction, and does not depend on one.
  const payload = await chooseTarget(deps, caller.projectId, backup, order)
  const operationLogId = await deps.db.transaction().execute((tx) => start(tx, deps.clock.now(), caller, backupId, payload))
  deps.wakeAgents()
  return operationLogId
}

interface BackupToRestore {
  readonly backup: Row<'backups'>
  /** Of a received backup, the vault that accepted it. */
  readonly receiverVaultId: VaultId | undefined
}

async function getBackup(db: Reader, projectId: ProjectId, backupId: BackupId): Promise<BackupToRestore> {
  const backup = await findReadableBackup(db, projectId, backupId)
  if (backup === undefined) throw new Failure('backup.not_found', { backupId })
  const share = backup.project_id === projectId ? undefined : await findVisibleBackup(db, projectId, backupId)
  return { backup, receiverVaultId: share?.receiver_vault_id ?? undefined }
}

async function chooseTarget(
  { config }: Pick<Deps, 'config'>, projectId: ProjectId, backup: Row<'backups'>, order: Order,
): Promise<RestorePayload> {
  const owner = backup.project_id === projectId ? {} : { ownerProjectId: backup.project_id }
  if (backup.resource_type === DIRECTORY || backup.resource_type === SERVER_FILES) {
    const field = 'restore.details.destination_path'
    const path = order.details?.destination_path
    if (path === undefined) throw new Failure('parameter.invalid', { field, reason: 'it is mandatory for the backup of a directory' })
    if (!path.startsWith('/')) throw new Failure('parameter.invalid', { field, reason: 'it must be an absolute path' })
    if (!await isAllowedDestination(path, pathRulesOf(config, projectId))) {
      throw new Failure('parameter.invalid', { field, reason: 'it does not lie inside a directory that the operator allows' })
    }
    return { target: 'directory', destinationPath: normalize(path).replace(/(?<=.)\/$/, ''), resourceId: backup.resource_id, ...owner }
  }
  if (backup.resource_type === DISK) {
    if (order.volume_id === undefined && backup.project_id !== projectId) {
      throw new Failure('parameter.invalid', { field: 'restore.volume_id', reason: 'it is mandatory for the shared backup of a disk' })
    }
    const resourceId = order.volume_id === undefined ? backup.resource_id : parseUuid<ResourceId>('restore.volume_id', order.volume_id)
    return { target: 'disk', resourceId, ...owner }
  }
  throw new Failure('not_supported', { field: 'backup_id', reason: `backups of ${backup.resource_type} cannot be restored by this server` })
}

async function start(
  tx: Transaction, now: number, { projectId, requestId }: { projectId: ProjectId, requestId: string }, backupId: BackupId, payload: RestorePayload,
): Promise<OperationLogId> {
  const { backup, receiverVaultId } = await getBackup(tx, projectId, backupId)
  const source = await findVault(tx, backup.project_id, backup.vault_id)
  // The vault in which the caller sees the backup: the task is about that one.
  const vault = receiverVaultId === undefined ? source : await findVault(tx, projectId, receiverVaultId)
  if (source === undefined || vault === undefined) throw new Failure('backup.not_found', { backupId })
  for (const { status } of [source, vault]) {
    if (status !== 'available' && status !== 'lock') throw new Failure('restore.vault_status', { vaultId: vault.id, status })
  }
  if (backup.status !== 'available') throw new Failure('restore.backup_status', { backupId, status: backup.status })
  if (backup.snapshot_id === null || backup.source_path === null) {
    throw new Failure('not_supported', { field: 'backup_id', reason: 'this backup has no data of its own' })
  }
  const target = payload.target === 'disk' ? await getTargetDisk(tx, projectId, backup, payload.resourceId) : undefined
  await assertNotBusy(tx, projectId, [backup.resource_id, payload.resourceId])
  const place = payload.target === 'directory' ? payload.destinationPath : target?.path
  if (place !== undefined) {
    await assertNoOtherRestore(tx, payload, place)
    await assertNotBeingRead(tx, projectId, payload, place)
    await assertNoAgentReads(tx, projectId, payload, place)
  }

  await changeBackup(tx, backup.project_id, backupId, { status: 'waiting_restore', updated_at: now })
  for (const { vault_id } of await listHolders(tx, projectId, [payload.resourceId])) {
    await setProtectStatus(tx, projectId, vault_id, [payload.resourceId], 'restoring')
  }
  const part: NonNullable<OperationParts['restore']> = {
    backup_id: backup.id,
    backup_name: backup.name,
    ...(payload.target === 'disk'
      ? { target_resource_id: payload.resourceId, target_resource_name: target?.name ?? null }
      : { destination_path: payload.destinationPath }),
  }
  const operationLogId = await insertOperationLog(tx, {
    type: 'restore',
    vault,
    backupId,
    resource: { id: backup.resource_id, type: backup.resource_type, name: backup.resource_name },
    requestId,
    parts: { restore: part },
    createdAt: now,
  })
  // In the queue it is a job of the vault that it reads, whose backups must stay meanwhile.
  await insertJob(tx, { kind: 'restore', projectId, vaultId: source.id, backupId, operationLogId, payload, createdAt: now })
  return operationLogId
}

function findVault(tx: Transaction, projectId: ProjectId, vaultId: VaultId): Promise<Row<'vaults'> | undefined> {
  return tx.selectFrom('vaults').selectAll().where('project_id', '=', projectId).where('id', '=', vaultId).executeTakeFirst()
}

async function getTargetDisk(tx: Transaction, projectId: ProjectId, backup: Row<'backups'>, resourceId: ResourceId): Promise<Row<'resources'>> {
  const target = await findResource(tx, projectId, resourceId)
  if (target === undefined) throw new Failure('restore.disk_not_found', { resourceId })
  if (target.type !== DISK) {
    throw new Failure('parameter.invalid', { field: 'restore.volume_id', reason: `the resource ${resourceId} is no disk but of type ${target.type}` })
  }
  if (target.size_bytes < backup.content_bytes) throw new Failure('restore.target_too_small', { target: resourceId })
  return target
}

function listHolders(tx: Transaction, projectId: ProjectId, resourceIds: readonly ResourceId[]) {
  return tx.selectFrom('vault_resources').select(['vault_id', 'resource_id', 'protect_status'])
    .where('project_id', '=', projectId).where('resource_id', 'in', resourceIds)
    .execute()
}

async function assertNotBusy(tx: Transaction, projectId: ProjectId, resourceIds: readonly ResourceId[]): Promise<void> {
  for (const { vault_id: vaultId, resource_id: resourceId, protect_status: status } of await listHolders(tx, projectId, resourceIds)) {
    if (status === 'protecting') throw new Failure('restore.source_busy', { resourceId })
    if (status === 'removing') throw new Failure('vault.resources_being_removed', { vaultId })
  }
}

/**
 * Two restores into one another would leave a mixture of both, whosever they are. Of somebody else's
 * nothing is told but that the place is taken.
 */
async function assertNoOtherRestore(tx: Transaction, payload: RestorePayload, place: string): Promise<void> {
  for (const job of await listLiveRestores(tx)) {
    const other = parseJobPayload(job, 'restore')
    const otherPlace = other.target === 'directory' ? other.destinationPath : (await findResource(tx, job.project_id, other.resourceId))?.path
    if (otherPlace !== undefined && pathsOverlap(place, otherPlace)) throw alreadyRunning(payload, place)
  }
}

function alreadyRunning(payload: RestorePayload, place: string): Failure {
  return new Failure('restore.already_running', { target: payload.target === 'disk' ? payload.resourceId : place })
}

/** A backup that runs over a destination would hold half of what is being restored: the caller's or anybody's. */
async function assertNotBeingRead(tx: Transaction, projectId: ProjectId, payload: RestorePayload, place: string): Promise<void> {
  const read = await tx.selectFrom('vault_resources as member')
    .innerJoin('resources as resource', (join) => join
      .onRef('resource.id', '=', 'member.resource_id').onRef('resource.project_id', '=', 'member.project_id'))
    .select(['resource.id', 'resource.path', 'resource.project_id'])
    .where('member.protect_status', '=', 'protecting')
    .execute()
  const met = read.filter(({ path }) => pathsOverlap(path, place))
  const own = met.find((resource) => resource.project_id === projectId)
  if (own === undefined) {
    if (met.length > 0) throw alreadyRunning(payload, place)
    return
  }
  if (payload.target === 'directory') throw new Failure('restore.source_busy', { resourceId: own.id })
  throw new Failure('restore.disk_busy', { resourceId: payload.resourceId, reason: `it lies in the resource ${own.id}, which is being backed up` })
}

/** The same for the directories of agents; of another project's it is only said that the place is busy. */
async function assertNoAgentReads(tx: Transaction, projectId: ProjectId, payload: RestorePayload, place: string): Promise<void> {
  const met = (await listPathsBeingRead(tx)).find(({ dir_path }) => pathsOverlap(dir_path, place))
  if (met === undefined) return
  if (met.project_id === projectId) throw new Failure('restore.source_busy', { resourceId: met.resource_id })
  throw new Failure('restore.already_running', { target: payload.target === 'disk' ? payload.resourceId : place })
}
