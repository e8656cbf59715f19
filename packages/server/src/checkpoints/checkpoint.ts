import type { SkippedResource } from '@opencbr/contract'
import type { BackupStatus, CheckpointStatus, ProtectStatus, Row } from '../db/schema.ts'
import type { ResourceId } from '../ids.ts'

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

const WHY_WRITTEN_TO = { code: 'BackupService.6215', reason: 'A backup is being restored into the resource, or around it.' }

/** `writtenTo` names the resources in whose place a restore writes. */
export function chooseResources(
  resources: readonly Row<'vault_resources'>[], writtenTo: ReadonlySet<ResourceId> = new Set(),
): ChosenResources {
  const chosen: Row<'vault_resources'>[] = []
  const skipped: SkippedResource[] = []
  for (const resource of resources) {
    const status = resource.protect_status
    if (ELIGIBLE.has(status) && !writtenTo.has(resource.resource_id)) {
      chosen.push(resource)
    } else {
      const why = ELIGIBLE.has(status) ? WHY_WRITTEN_TO : WHY_SKIPPED[status as keyof typeof WHY_SKIPPED]
      skipped.push({ id: resource.resource_id, type: resource.resource_type, name: resource.name, ...why })
    }
  }
  return { chosen, skipped }
}

const NAME_CHARACTERS_MAX = 64

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
  if (automatic) return `${automaticPrefix ?? ''}autobk_${random}`
  // With the number of a backup it must not be longer than a name may be.
  const vaultPart = [...vaultName].slice(0, NAME_CHARACTERS_MAX - 'manualbk_-0000-0001'.length).join('')
  return `manualbk_${vaultPart}-${random}`
}

/** `-0001` and so on, counted from zero here; a run over one resource has no number. */
export function nameBackup(runName: string, place: number, backups: number): string {
  return backups === 1 ? runName : `${runName}-${String(place + 1).padStart(4, '0')}`
}

const UNDER_WAY: ReadonlySet<BackupStatus> = new Set(['waiting_protect', 'protecting'])

const LEAVING: ReadonlySet<BackupStatus> = new Set(['waiting_delete', 'deleting'])

/**
 * A run is protecting while one of its backups is; then it is in error when one failed. How it went
 * stays, whatever becomes of single backups, until the last of them leave together: the checkpoint
 * is deleting then, and gone with them, or error-deleting when that failed.
 */
export function judgeCheckpoint(
  current: CheckpointStatus, statuses: readonly BackupStatus[], after: { readonly deletionFailed: boolean },
): CheckpointStatus {
  if (statuses.some((status) => UNDER_WAY.has(status))) return 'protecting'
  if (statuses.every((status) => LEAVING.has(status))) return 'deleting'
  if (current === 'available' || current === 'error' || current === 'error-deleting') return current
  if (current === 'deleting' && after.deletionFailed) return 'error-deleting'
  return statuses.includes('error') ? 'error' : 'available'
}
