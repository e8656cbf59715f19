/**
 * Verifies a backup, a vault, or the packs of a vault that are due. Runs beside backups and restores,
 * under a shared lock; damage is what it reports, not an error of the run. May run again.
 */
import { join } from 'node:path'
import { checkRepository, verifySnapshot, type CheckFinding, type Repository } from '@opencbr/engine'
import { findSnapshotOf } from './find-snapshot.ts'
import { FINDINGS_MAX, type PackSpan, type VerifyAssignment, type VerifyFinding, type VerifyOutcome } from './protocol.ts'
import { runDrill } from './run-drill.ts'
import { hasRepository, withVault, type WorkContext } from './vault-repository.ts'

const NOTHING: VerifyOutcome = {
  kind: 'verify', whole: true, findings: [], findingsCount: 0, snapshots: 0, packs: 0, packsRead: 0, bytesRead: 0,
}

export async function runVerify(
  job: VerifyAssignment, context: WorkContext, onProgress: (percent: number) => void,
): Promise<VerifyOutcome> {
  // Nothing was ever backed up here, so there is nothing to look at.
  if (!job.vault.repositoryExpected && !await hasRepository(job.vault)) return NOTHING
  return withVault(job.vault, context, { exclusive: false, create: false }, (repository, _lock, signal) =>
    (job.scope.kind === 'backup' ? verifyBackup(repository, job, context, signal, onProgress) : verifyVault(repository, job, signal, onProgress)))
}

async function verifyBackup(
  repository: Repository, job: VerifyAssignment, context: WorkContext, signal: AbortSignal, onProgress: (percent: number) => void,
): Promise<VerifyOutcome> {
  const { scope, level, samplePercent } = job
  if (scope.kind !== 'backup') throw new TypeError('a backup was expected')
  if (job.level === 'drill') {
    return runDrill(repository, {
      scope, snapshotId: await findSnapshotOf(repository, scope, signal), scratch: join(context.settings.scratchDir, job.jobId), signal, onProgress,
    })
  }
  const expected = scope.contentBytes * ((samplePercent ?? 100) / 100)
  const result = await verifySnapshot(repository, await findSnapshotOf(repository, scope, signal), {
    readData: level !== 'structure',
    samplePercent: level === 'sample' ? samplePercent : undefined,
    signal,
    onProgress: (bytes) => {
      onProgress(expected > 0 ? (bytes / expected) * 100 : 0)
    },
  })
  return {
    kind: 'verify', whole: result.whole, ...tell(result), snapshots: 1, packs: 0, packsRead: 0, bytesRead: result.bytesRead,
  }
}

async function verifyVault(
  repository: Repository, { scope, level, samplePercent }: VerifyAssignment, signal: AbortSignal, onProgress: (percent: number) => void,
): Promise<VerifyOutcome> {
  const result = await checkRepository(repository, {
    level: scope.kind === 'packs' ? 'packs' : level === 'structure' ? 'structure' : 'data',
    choosePack: scope.kind === 'packs' ? (id) => isInSpan(id, scope.span) : undefined,
    samplePercent: level === 'sample' ? samplePercent : undefined,
    signal,
    onProgress: ({ stage, done, total }) => {
      // Also a sign of life while directories are read, which says nothing of how far it is.
      onProgress(stage === 'data' && total !== undefined && total > 0 ? (done / total) * 100 : 0)
    },
  })
  return {
    kind: 'verify', whole: result.whole, ...tell(result),
    snapshots: result.snapshots, packs: result.packs, packsRead: result.packsRead, bytesRead: result.bytesRead,
  }
}

const SPAN_DIGITS = 12

export function isInSpan(packId: string, { from, to }: PackSpan): boolean {
  const place = Number.parseInt(packId.slice(0, SPAN_DIGITS), 16)
  return from < to ? place >= from && place < to : place >= from || place < to
}

function tell({ findings, findingsTotal }: { findings: readonly CheckFinding[], findingsTotal: number }): Pick<VerifyOutcome, 'findings' | 'findingsCount'> {
  const errorsFirst = findings.toSorted((a, b) => Number(a.severity === 'warning') - Number(b.severity === 'warning'))
  return {
    findings: errorsFirst.slice(0, FINDINGS_MAX).map(({ severity, code, message, path, packId, snapshotId }): VerifyFinding =>
      ({ severity, code, message, path, packId, snapshotId })),
    findingsCount: findingsTotal,
  }
}
