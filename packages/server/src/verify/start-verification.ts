import type { VerifyBody } from '@opencbr/contract'
import { findBackup } from '../backups/index.ts'
import type { Transaction } from '../db/database.ts'
import type { NewRow, Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import { newUuid, type BackupId, type OperationLogId, type ProjectId, type VaultId, type VerificationId } from '../ids.ts'
import { insertJob, type JobPayloads } from '../jobs/index.ts'
import { operationRequestId } from '../operations/index.ts'
import { parseUuid } from '../parse-id.ts'
import { findVault } from '../vaults/index.ts'
import { findLiveVerification, insertVerification } from './verification-store.ts'

interface Caller {
  readonly projectId: ProjectId
  readonly requestId: string
}

type Order = VerifyBody['verification']
type StartDeps = Pick<Deps, 'db' | 'clock' | 'wakeAgents'>

/** Backups that are being restored are read, and can be verified too. */
const READABLE = new Set<Row<'backups'>['status']>(['available', 'waiting_restore', 'restoring'])

/**
 * Starts to verify a backup of the project's own. One that waits or runs for the same already is
 * answered instead of another.
 */
export async function verifyBackup(deps: StartDeps, caller: Caller, id: string, order: Order): Promise<Row<'verifications'>> {
  const backupId = parseUuid<BackupId>('backup_id', id)
  const samplePercent = readSample(order)
  const row = await deps.db.transaction().execute(async (tx) => {
    const backup = await findBackup(tx, caller.projectId, backupId)
    if (backup === undefined) throw new Failure('backup.not_found', { backupId })
    if (!READABLE.has(backup.status) || backup.snapshot_id === null) {
      const status = READABLE.has(backup.status) ? 'without data of its own' : backup.status
      throw new Failure('backup.status_forbids_reading', { backupId, status })
    }
    return start(tx, await getVault(tx, caller.projectId, backup.vault_id), {
      ...describe(order, samplePercent), backup_id: backupId, scope: 'backup', request_id: operationRequestId(caller.requestId), created_at: deps.clock.now(),
    })
  })
  deps.wakeAgents()
  return row
}

/** Starts to verify all of a vault, its index and packs included. */
export async function verifyVault(deps: StartDeps, caller: Caller, id: string, order: Order): Promise<Row<'verifications'>> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const samplePercent = readSample(order)
  if (order.level === 'drill') throw new Failure('parameter.invalid', { field: 'verification.level', reason: 'a drill is of one backup' })
  const row = await deps.db.transaction().execute(async (tx) => start(tx, await getVault(tx, caller.projectId, vaultId), {
    ...describe(order, samplePercent), backup_id: null, scope: 'vault', request_id: operationRequestId(caller.requestId), created_at: deps.clock.now(),
  }))
  deps.wakeAgents()
  return row
}

function readSample({ level, sample_percent: percent }: Order): number | null {
  const field = 'verification.sample_percent'
  if (level === 'sample') {
    if (percent === undefined) throw new Failure('parameter.invalid', { field, reason: 'it is mandatory at level sample' })
    return percent
  }
  if (percent !== undefined) throw new Failure('parameter.invalid', { field, reason: `level ${level} takes no sample` })
  return null
}

function describe({ level }: Order, samplePercent: number | null) {
  return { level, sample_percent: samplePercent }
}

async function getVault(tx: Transaction, projectId: ProjectId, vaultId: VaultId): Promise<Row<'vaults'>> {
  const vault = await findVault(tx, projectId, vaultId)
  if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
  if (vault.status === 'deleting') throw new Failure('vault.wrong_status', { vaultId, status: vault.status })
  return vault
}

type Wanted = Pick<NewRow<'verifications'>, 'backup_id' | 'scope' | 'level' | 'sample_percent' | 'request_id' | 'created_at'>

async function start(tx: Transaction, vault: Row<'vaults'>, wanted: Wanted): Promise<Row<'verifications'>> {
  const known = await findLiveVerification(tx, {
    project_id: vault.project_id, vault_id: vault.id, backup_id: wanted.backup_id ?? null,
    scope: wanted.scope, level: wanted.level, sample_percent: wanted.sample_percent ?? null,
  })
  return known ?? insertVerificationJob(tx, vault, wanted)
}

/** The row and its job; the job names the row where others name their operation log. */
export async function insertVerificationJob(
  tx: Transaction, vault: Pick<Row<'vaults'>, 'id' | 'project_id'>, wanted: Wanted, scrub?: JobPayloads['verify']['scrub'],
): Promise<Row<'verifications'>> {
  const row: Row<'verifications'> = {
    id: newUuid<VerificationId>(),
    project_id: vault.project_id,
    vault_id: vault.id,
    backup_id: wanted.backup_id ?? null,
    scope: wanted.scope,
    level: wanted.level,
    sample_percent: wanted.sample_percent ?? null,
    status: 'waiting',
    progress: 0,
    whole: null,
    snapshots: 0,
    packs: 0,
    packs_read: 0,
    bytes_read: 0,
    findings_count: 0,
    findings: '[]',
    error_code: '',
    error_message: '',
    request_id: wanted.request_id,
    created_at: wanted.created_at,
    started_at: null,
    ended_at: null,
  }
  await insertVerification(tx, row)
  await insertJob(tx, {
    kind: 'verify',
    projectId: vault.project_id,
    vaultId: vault.id,
    ...(row.backup_id === null ? {} : { backupId: row.backup_id }),
    operationLogId: row.id as string as OperationLogId,
    payload: { verificationId: row.id, ...(scrub === undefined ? {} : { scrub }) },
    createdAt: row.created_at,
  })
  return row
}
