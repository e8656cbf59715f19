import type { Reader } from '../db/database.ts'
import { Failure } from '../failures.ts'
import type { CheckpointId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findCheckpoint, listCheckpointResources } from './checkpoint-store.ts'
import type { CheckpointView } from './checkpoint-wire.ts'

export async function showCheckpoint(reader: Reader, projectId: ProjectId, id: string): Promise<CheckpointView> {
  const view = await findCheckpointView(reader, projectId, parseUuid<CheckpointId>('checkpoint_id', id))
  if (view === undefined) throw new Failure('checkpoint.not_found', { checkpointId: id })
  return view
}

export async function findCheckpointView(reader: Reader, projectId: ProjectId, id: CheckpointId): Promise<CheckpointView | undefined> {
  const checkpoint = await findCheckpoint(reader, projectId, id)
  if (checkpoint === undefined) return undefined
  const vault = await reader.selectFrom('vaults').select(['name', 'provider_id'])
    .where('project_id', '=', projectId).where('id', '=', checkpoint.vault_id)
    .executeTakeFirst()
  // A vault takes its checkpoints along; without it there is nothing left to show.
  if (vault === undefined) return undefined
  const { expired_at: expiredAt } = await reader.selectFrom('backups').select(({ fn }) => fn.max('expired_at').as('expired_at'))
    .where('project_id', '=', projectId).where('checkpoint_id', '=', id).where('policy_id', 'is not', null)
    .executeTakeFirstOrThrow()
  return { checkpoint, vault, expiredAt: expiredAt === null ? null : Number(expiredAt), resources: await listCheckpointResources(reader, projectId, checkpoint) }
}
