/** A verification's run in the catalogue. Nothing but its own row and the scrub's state changes. */
import type { VerifyAssignment, VerifyOutcome, VaultAccess } from '@opencbr/agent'
import { findBackup } from '../backups/index.ts'
import type { Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { parseJobPayload } from '../jobs/index.ts'
import { recordEvent } from '../events/index.ts'
import { findVault } from '../vaults/index.ts'
import type { OperationError } from '../operations/index.ts'
import { endVerification, findVerification, moveScrub, scrubDueAt, startVerificationRow } from '../verify/index.ts'
import { toOperationError } from './task-errors.ts'

/** The verification as the agent is told it; undefined when what it is about is gone. */
export async function startVerification(
  tx: Transaction, job: Row<'jobs'>, vault: VaultAccess, now: Micros,
): Promise<VerifyAssignment | undefined> {
  const { verificationId, scrub } = parseJobPayload(job, 'verify')
  await startVerificationRow(tx, verificationId, now)
  const row = await findVerification(tx, job.project_id, verificationId)
  if (row === undefined) return undefined
  const common = { kind: 'verify', jobId: job.id, vault, level: row.level, samplePercent: row.sample_percent ?? undefined } as const
  if (scrub !== undefined) return { ...common, scope: { kind: 'packs', span: scrub.span } }
  if (row.backup_id === null) return { ...common, scope: { kind: 'vault' } }
  const backup = await findBackup(tx, job.project_id, row.backup_id)
  if (backup === undefined || backup.snapshot_id === null) return undefined
  return {
    ...common,
    scope: {
      kind: 'backup', backupId: backup.id, snapshotId: backup.snapshot_id, sourcePath: backup.source_path ?? '/',
      isDisk: backup.resource_type === 'OS::Cinder::Volume', contentBytes: backup.content_bytes,
    },
  }
}

export async function recordVerification(tx: Transaction, job: Row<'jobs'>, outcome: VerifyOutcome, now: Micros): Promise<void> {
  const { verificationId, scrub } = parseJobPayload(job, 'verify')
  const error = outcome.whole ? { code: '', message: '' } : toOperationError({ code: 'unknown', message: tellDamage(outcome) })
  await endVerification(tx, verificationId, now, {
    status: outcome.whole ? 'success' : 'failed',
    whole: outcome.whole ? 1 : 0,
    snapshots: outcome.snapshots,
    packs: outcome.packs,
    packs_read: outcome.packsRead,
    bytes_read: outcome.bytesRead,
    findings_count: outcome.findingsCount,
    findings: JSON.stringify(outcome.findings),
    error_code: error.code,
    error_message: error.message,
  })
  // Damage was found by reading: what was read has been read.
  if (scrub !== undefined) {
    await moveScrub(tx, job.vault_id, verificationId, { position: scrub.position, coveredUntil: scrub.coveredUntil, dueAt: scrubDueAt(scrub) })
  }
  if (!outcome.whole) await tellOfDamage(tx, job, outcome, now)
  await deleteJob(tx, job)
}

async function tellOfDamage(tx: Transaction, job: Row<'jobs'>, outcome: VerifyOutcome, now: Micros): Promise<void> {
  const vault = await findVault(tx, job.project_id, job.vault_id)
  if (vault === undefined) return
  await recordEvent(tx, {
    kind: 'vault.damaged',
    projectId: job.project_id,
    vault,
    message: `A verification of the vault ${vault.name} found damage. ${tellDamage(outcome)}`,
    facts: { verification_id: parseJobPayload(job, 'verify').verificationId, backup_id: job.backup_id, findings_count: outcome.findingsCount },
    createdAt: now,
  })
}

export async function failVerification(tx: Transaction, job: Row<'jobs'>, error: OperationError, now: Micros): Promise<void> {
  const { verificationId } = parseJobPayload(job, 'verify')
  await endVerification(tx, verificationId, now, { status: 'failed', error_code: error.code, error_message: error.message })
  await deleteJob(tx, job)
}

/** The verification stays and has no operation log by whose age its job could go. */
async function deleteJob(tx: Transaction, job: Row<'jobs'>): Promise<void> {
  await tx.deleteFrom('jobs').where('id', '=', job.id).execute()
}

const NAMED_MAX = 3

function tellDamage({ findings, findingsCount }: VerifyOutcome): string {
  const errors = findings.filter((finding) => finding.severity === 'error')
  const named = errors.slice(0, NAMED_MAX).map(({ message, path, packId }) => {
    const place = path ?? (packId === undefined ? undefined : `pack ${packId}`)
    return place === undefined ? message : `${place}: ${message}`
  })
  const rest = findingsCount - named.length
  return `Something is damaged. ${named.join(' ')}${rest > 0 ? ` And ${rest} more findings.` : ''}`
}
