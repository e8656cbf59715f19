import type { SkippedResource } from '@opencbr/contract'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, ProtectStatus, Row } from '../db/schema.ts'
import type { CheckpointId, ProjectId, ResourceId, VaultId } from '../ids.ts'
import { listLiveRestores, parseJobPayload } from '../jobs/index.ts'
import { findResource, listSourcePaths, pathsOverlap } from '../resources/index.ts'
import { judgeCheckpoint } from './checkpoint.ts'

export async function insertCheckpoint(tx: Transaction, row: NewRow<'checkpoints'>): Promise<void> {
  await tx.insertInto('checkpoints').values(row).execute()
}

export async function findCheckpoint(
  reader: Reader, projectId: ProjectId, id: CheckpointId,
): Promise<Row<'checkpoints'> | undefined> {
  return reader.selectFrom('checkpoints').selectAll()
    .where('project_id', '=', projectId).where('id', '=', id)
    .executeTakeFirst()
}

/** The vault as it is while the transaction lasts. */
export async function findVaultToRun(tx: Transaction, projectId: ProjectId, id: VaultId): Promise<Row<'vaults'> | undefined> {
  return tx.selectFrom('vaults').selectAll()
    .where('project_id', '=', projectId).where('id', '=', id)
    .executeTakeFirst()
}

/** In the order in which they were associated. */
export async function listResourcesToRun(tx: Transaction, projectId: ProjectId, vaultId: VaultId): Promise<Row<'vault_resources'>[]> {
  return tx.selectFrom('vault_resources').selectAll()
    .where('project_id', '=', projectId).where('vault_id', '=', vaultId)
    .orderBy('added_at').orderBy('resource_id')
    .execute()
}

/** Of the given resources those in whose place, or around it, somebody restores at the moment. */
export async function listWrittenTo(tx: Transaction, resources: readonly Row<'vault_resources'>[]): Promise<Set<ResourceId>> {
  const restores = await listLiveRestores(tx)
  if (restores.length === 0) return new Set()
  const targets = restores.map((job) => ({ projectId: job.project_id, ...parseJobPayload(job, 'restore') }))
  const places = await Promise.all(targets.map(async (target) =>
    (target.target === 'directory' ? target.destinationPath : (await findResource(tx, target.projectId, target.resourceId))?.path)))
  const [first] = resources
  const read = first === undefined ? [] : await listSourcePaths(tx, first.project_id, resources.map((each) => each.resource_id))
  return new Set(read
    .filter(({ path }) => places.some((place) => place !== undefined && pathsOverlap(path, place)))
    .map(({ resourceId }) => resourceId))
}

/**
 * Brings a checkpoint in line with its backups, after one of them changed: its status follows them
 * (`judgeCheckpoint` says how), and it goes with the last of them.
 */
export async function settleCheckpoint(
  tx: Transaction, projectId: ProjectId, id: CheckpointId, { deletionFailed = false }: { deletionFailed?: boolean } = {},
): Promise<void> {
  const checkpoint = await findCheckpoint(tx, projectId, id)
  if (checkpoint === undefined) return
  const backups = await tx.selectFrom('backups').select('status')
    .where('project_id', '=', projectId).where('checkpoint_id', '=', id)
    .execute()
  if (backups.length === 0) {
    await tx.deleteFrom('checkpoints').where('project_id', '=', projectId).where('id', '=', id).execute()
    return
  }
  const status = judgeCheckpoint(checkpoint.status, backups.map((backup) => backup.status), { deletionFailed })
  if (status === checkpoint.status) return
  await tx.updateTable('checkpoints').set({ status }).where('project_id', '=', projectId).where('id', '=', id).execute()
}

/** How many ids a statement names: databases limit their number. */
const IDS_AT_ONCE = 500

/** Takes those of the checkpoints out of the catalogue that have no backup left: many at once, since each statement marks anew. */
export async function deleteEmptyCheckpoints(tx: Transaction, projectId: ProjectId, ids: readonly CheckpointId[]): Promise<void> {
  for (let at = 0; at < ids.length; at += IDS_AT_ONCE) {
    await tx.deleteFrom('checkpoints').where('project_id', '=', projectId).where('id', 'in', ids.slice(at, at + IDS_AT_ONCE))
      .where(({ not, exists, selectFrom }) => not(exists(selectFrom('backups').select('backups.id')
        .where('backups.project_id', '=', projectId).whereRef('backups.checkpoint_id', '=', 'checkpoints.id'))))
      .execute()
  }
}

/** A resource as its checkpoint shows it. */
export interface CheckpointResource {
  readonly id: ResourceId
  readonly name: string
  readonly type: string
  readonly size_gb: number
  /** Null when the resource has left the vault. */
  readonly protect_status: ProtectStatus | null
  /** Bytes that the backups of the resource added to the vault. */
  readonly stored_bytes: number
  readonly backup_count: number
}

export async function listCheckpointResources(
  reader: Reader, projectId: ProjectId, checkpoint: { id: CheckpointId, vault_id: VaultId },
): Promise<CheckpointResource[]> {
  const rows = await reader.selectFrom('backups as backup')
    .leftJoin('vault_resources as member', (join) => join
      .onRef('member.vault_id', '=', 'backup.vault_id').onRef('member.resource_id', '=', 'backup.resource_id'))
    .leftJoin('vault_usage as usage', (join) => join
      .onRef('usage.vault_id', '=', 'backup.vault_id').onRef('usage.resource_id', '=', 'backup.resource_id'))
    .select([
      'backup.resource_id as id', 'backup.resource_name as name', 'backup.resource_type as type',
      'backup.resource_size_gb as size_gb', 'member.protect_status as protect_status', 'usage.backup_count', 'usage.stored_bytes',
    ])
    .where('backup.project_id', '=', projectId).where('backup.checkpoint_id', '=', checkpoint.id)
    .where('backup.parent_id', 'is', null)
    .orderBy('backup.name').orderBy('backup.id')
    .execute()
  return rows.map((row) => ({ ...row, backup_count: Number(row.backup_count ?? 0), stored_bytes: Number(row.stored_bytes ?? 0) }))
}

export function parseSkipped(json: string): SkippedResource[] {
  return JSON.parse(json) as SkippedResource[]
}

/** After backups left a vault: checkpoints of which nothing is left there are where their other backups are. */
export async function moveCheckpoints(tx: Transaction, projectId: ProjectId, vaultId: VaultId, ids: readonly CheckpointId[]): Promise<void> {
  for (const id of new Set(ids)) {
    const backups = await tx.selectFrom('backups').select('vault_id').distinct()
      .where('project_id', '=', projectId).where('checkpoint_id', '=', id).execute()
    const [elsewhere] = backups
    if (elsewhere === undefined || backups.some((backup) => backup.vault_id === vaultId)) continue
    await tx.updateTable('checkpoints').set({ vault_id: elsewhere.vault_id })
      .where('project_id', '=', projectId).where('id', '=', id).execute()
  }
}
