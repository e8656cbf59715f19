import type { VerifyFinding } from '@opencbr/agent'
import type { VaultScrub, Verification } from '@opencbr/contract'
import { formatTime, formatTimeOrNull } from '../clock.ts'
import type { Row } from '../db/schema.ts'
import { scrubDueAt } from './scrub.ts'
import type { ScrubView } from './scrub-store.ts'

/** As lists show it, without its findings. */
export function listedVerificationToWire(row: Row<'verifications'>): Verification {
  return {
    id: row.id,
    project_id: row.project_id,
    vault_id: row.vault_id,
    backup_id: row.backup_id,
    scope: row.scope,
    level: row.level,
    sample_percent: row.sample_percent,
    status: row.status,
    progress: row.status === 'success' || row.status === 'failed' ? 100 : row.progress,
    whole: row.whole === null ? null : row.whole === 1,
    snapshots: row.snapshots,
    packs: row.packs,
    packs_read: row.packs_read,
    bytes_read: row.bytes_read,
    findings_count: row.findings_count,
    error_info: { code: row.error_code, message: row.error_message },
    request_id: row.request_id,
    created_at: formatTime(row.created_at),
    started_at: formatTimeOrNull(row.started_at),
    ended_at: formatTimeOrNull(row.ended_at),
  }
}

export function verificationToWire(row: Row<'verifications'>): Verification {
  const findings = JSON.parse(row.findings) as VerifyFinding[]
  return {
    ...listedVerificationToWire(row),
    findings: findings.map(({ severity, code, message, path, packId, snapshotId }) => ({
      severity, code, message, path: path ?? null, pack_id: packId ?? null, snapshot_id: snapshotId ?? null,
    })),
  }
}

export function scrubToWire({ vaultId, scrub, last }: ScrubView): VaultScrub {
  const isRunning = last?.status === 'waiting' || last?.status === 'running'
  return {
    vault_id: vaultId,
    enabled: scrub !== undefined,
    every_days: scrub?.every_days ?? null,
    next_run_at: scrub === undefined || isRunning ? null : formatTime(Math.max(scrub.try_at, scrubDueAt({ coveredUntil: scrub.covered_until }))),
    last_verification: last === undefined ? null : verificationToWire(last),
  }
}
