import type { SkippedResource } from '@opencbr/contract'
import type { BackupStatus, CheckpointStatus, ProtectStatus, Row } from '../db/schema.ts'

/** A run's resources: those that are backed up, and those left out with the reason. */
export interface ChosenResources {
  readonly chosen: readonly Row<'vault_resources'>[]
  readonly skipped: readonly SkippedResource[]
}

/** A resource in error may be tried again; anything else that is going on has to end first. */
const ELIGIBLE: ReadonlySet<ProtectStatus> = new Set(['available', 'error'])

const WHY_SKIPPED: Record<Exclude<ProtectStatus, 'available' | 'error'>, { code: string, reason: string }> = {
  protecting: { code: 'BackupService.0002', reason: 'The resource is being backed up already.' },
  restoring: { code: 'BackupService.6215', reason: 'The resource is being restored.' },
  removing: { code: 'BackupService.6215', reason: 'The resource is being removed from the vault.' },
}

export function chooseResources(resources: readonly Row<'vault_resources'>[]): ChosenResources {
  const chosen: Row<'vault_resources'>[] = []
  const skipped: SkippedResource[] = []
  for (const resource of resources) {
    const status = resource.protect_status
    if (ELIGIBLE.has(status)) {
      chosen.push(resource)
    } else {
      const why = WHY_SKIPPED[status as keyof typeof WHY_SKIPPED]
      skipped.push({ id: resource.resource_id, type: resource.resource_type, name: resource.name, ...why })
    }
  }
  return { chosen, skipped }
}

export interface NameSource {
  readonly given: string | undefined
  readonly automatic: boolean
  readonly vaultName: string
  readonly automaticPrefix: string | null
  /** Four hexadecimal digits. */
  readonly random: string
}

/** What the run is called; its backups carry this name, numbered when there are several. */
export function nameRun({ given, automatic, vaultName, automaticPrefix, random }: NameSource): string {
  if (given !== undefined) return given
  return automatic ? `${automaticPrefix ?? ''}autobk_${random}` : `manualbk_${vaultName}-${random}`
}

/** `-0001` and so on, counted from zero here; a run over one resource has no number. */
export function nameBackup(runName: string, place: number, backups: number): string {
  return backups === 1 ? runName : `${runName}-${String(place + 1).padStart(4, '0')}`
}

const UNDER_WAY: ReadonlySet<BackupStatus> = new Set(['waiting_protect', 'protecting'])

/**
 * A run is protecting while one of its backups is; then it is in error when one failed. What happens
 * to a backup later (restored, deleted) does not change how the run went.
 */
export function judgeCheckpoint(statuses: readonly BackupStatus[]): Extract<CheckpointStatus, 'protecting' | 'available' | 'error'> {
  if (statuses.some((status) => UNDER_WAY.has(status))) return 'protecting'
  return statuses.includes('error') ? 'error' : 'available'
}
