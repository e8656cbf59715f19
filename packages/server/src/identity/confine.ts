/**
 * What a user sees whose roles count for some enterprise projects only: vaults, and with them backups,
 * restore points and tasks, that are not of these do not exist for it. Lists are narrowed by the filter
 * that they have; operations that would show or change more than single things of a known enterprise
 * project are denied.
 */
import type { Reader } from '../db/database.ts'
import { Failure } from '../failures.ts'
import type { BackupId, CheckpointId, OperationLogId, ProjectId, VaultId } from '../ids.ts'
import { isUuid } from '../ids.ts'

export interface ConfinedCall {
  readonly operationId: string
  readonly projectId: ProjectId
  readonly params: Readonly<Record<string, unknown>>
  readonly body: unknown
  /** Whether the operation lists, with a filter by enterprise project. */
  readonly hasFilter: boolean
}

/** Of the project as a whole, and of no enterprise project. */
const HARMLESS: ReadonlySet<string> = new Set([
  'listFeatures', 'showFeature', 'showReplicationCapabilities', 'listResources', 'showResource', 'showProtectable', 'createCheckpoint', 'createVault',
])
const DEPTH_MAX = 8

/** Throws unless the call stays within the enterprise projects; answers false for operations that cannot be confined. */
export async function confine(db: Reader, seen: ReadonlySet<string>, call: ConfinedCall): Promise<boolean> {
  const named = [...namesIn(call.params), ...namesIn(call.body)]
  for (const { kind, id } of named) await assertSeen(db, seen, call.projectId, kind, id)
  if (call.operationId === 'createVault') assertOwnVault(seen, call.body)
  return named.length > 0 || call.hasFilter || HARMLESS.has(call.operationId)
}

type Kind = 'vault' | 'backup' | 'checkpoint' | 'operation_log'

const KINDS: Readonly<Record<string, Kind>> = {
  vault_id: 'vault', destination_vault_id: 'vault', backup_id: 'backup', checkpoint_id: 'checkpoint', operation_log_id: 'operation_log', task_id: 'operation_log',
}

function namesIn(value: unknown, depth = 0): { kind: Kind, id: string }[] {
  if (typeof value !== 'object' || value === null || depth > DEPTH_MAX) return []
  return Object.entries(value).flatMap(([name, member]: [string, unknown]) => {
    const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined
    if (kind !== undefined && typeof member === 'string') return isUuid(member) ? [{ kind, id: member.toLowerCase() }] : []
    return namesIn(member, depth + 1)
  })
}

async function assertSeen(db: Reader, seen: ReadonlySet<string>, projectId: ProjectId, kind: Kind, id: string): Promise<void> {
  const found = await findEnterpriseProject(db, projectId, kind, id)
  // What does not exist is told by the operation itself.
  if (found === undefined || seen.has(found)) return
  switch (kind) {
    case 'vault': throw new Failure('vault.not_found', { vaultId: id })
    case 'backup': throw new Failure('backup.not_found', { backupId: id })
    case 'checkpoint': throw new Failure('checkpoint.not_found', { checkpointId: id })
    default: throw new Failure('operation_log.not_found')
  }
}

/** A backup that was received is of the enterprise project of the vault that accepted it, and of none before. */
async function findEnterpriseProject(db: Reader, projectId: ProjectId, kind: Kind, id: string): Promise<string | undefined> {
  const ofVault = (vaultId: VaultId) => db.selectFrom('vaults').select('enterprise_project_id as is')
    .where('project_id', '=', projectId).where('id', '=', vaultId).executeTakeFirst()
  switch (kind) {
    case 'vault':
      return (await ofVault(id as VaultId))?.is
    case 'backup': {
      const own = await db.selectFrom('backups').select('enterprise_project_id as is').where('project_id', '=', projectId).where('id', '=', id as BackupId).executeTakeFirst()
      if (own !== undefined) return own.is
      const share = await db.selectFrom('backup_members').select('vault_id').where('dest_project_id', '=', projectId).where('backup_id', '=', id as BackupId).executeTakeFirst()
      if (share === undefined) return undefined
      return share.vault_id === null ? '' : (await ofVault(share.vault_id))?.is
    }
    case 'checkpoint': {
      const checkpoint = await db.selectFrom('checkpoints').select('vault_id').where('project_id', '=', projectId).where('id', '=', id as CheckpointId).executeTakeFirst()
      return checkpoint === undefined ? undefined : (await ofVault(checkpoint.vault_id))?.is
    }
    default:
      return (await db.selectFrom('operation_logs').select('enterprise_project_id as is').where('project_id', '=', projectId).where('id', '=', id as OperationLogId).executeTakeFirst())?.is
  }
}

function assertOwnVault(seen: ReadonlySet<string>, body: unknown): void {
  const { vault } = body as { vault?: { enterprise_project_id?: string } }
  const wanted = vault?.enterprise_project_id ?? '0'
  if (!seen.has(wanted)) throw new Failure('parameter.invalid', { field: 'vault.enterprise_project_id', reason: 'the caller is confined to other enterprise projects' })
}
