/**
 * The WORM lock of a vault, in one place: whatever could take an automatic backup out of a locked vault
 * before its time asks here first, inside the transaction that would do it.
 *
 * Who asks: deletion of a backup, expiry by a policy, removal and migration of resources, deletion of
 * the vault, unbinding or replacing its policy, and changing a policy so that it keeps less. The lock
 * has no end: a vault is locked once and for all, and its automatic backups leave by their retention,
 * each in its own time. Manual backups are not touched by it (semantics of the contract, 4.4).
 *
 * Programs that work on the repository without this server know nothing of the catalogue. For them
 * the repository carries a guard (`guardOf`; the engine's `removal-guard.ts`), which our own repository commands heed. The
 * server sets it when a vault is locked, and the agent brings it up to date whenever it opens the repository.
 */
import { setRemovalGuard, type RemovalGuard } from '@opencbr/engine'
import { openStorage, StorageFailure } from '@opencbr/storage'
import { formatTime, type Micros } from '../clock.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import { placeOf } from './recovery-kit.ts'

type LockableVault = Pick<Row<'vaults'>, 'id' | 'project_id' | 'locked'>
type LeavingBackup = Pick<Row<'backups'>, 'id' | 'auto_trigger' | 'expired_at'>

/** What a locked vault refuses as a whole. */
export type LockedAct = 'unbind_policy' | 'keep_less' | 'remove_resources' | 'migrate_resources'

const consequences: Record<LockedAct, string> = {
  unbind_policy: 'its policy stays bound to it',
  keep_less: 'its policy must not keep less than it does',
  remove_resources: 'its resources stay in it',
  migrate_resources: 'its resources and their backups stay in it',
}

/** Throws `vault.cannot_be_changed` (6110) when the vault is locked; the text says until when its backups stay. */
export async function refuseIfLocked(reader: Reader, vault: LockableVault, act: LockedAct): Promise<void> {
  if (vault.locked === 0) return
  const stay = await describeStay(reader, vault)
  throw new Failure('vault.cannot_be_changed', { vaultId: vault.id, reason: `The vault ${vault.id} is locked for good, so ${consequences[act]}: ${stay}.` })
}

/** A locked vault goes only when it holds no automatic backup any more; throws `vault.cannot_be_deleted` (6111). */
export async function refuseVaultDeletionIfLocked(reader: Reader, vault: LockableVault): Promise<void> {
  if (vault.locked === 0) return
  const held = await findLockedBackups(reader, vault.project_id, vault.id)
  if (held.count === 0) return
  throw new Failure('vault.cannot_be_deleted', { vaultId: vault.id, reason: `it is locked, and its automatic backups leave by retention only: ${describeHeld(held)}` })
}

/** For deletion by a call: throws `backup.locked` (6220) for an automatic backup in a locked vault. */
export function refuseBackupDeletionIfLocked(vault: Pick<LockableVault, 'locked'>, backup: LeavingBackup): void {
  if (vault.locked === 1 && backup.auto_trigger === 1) throw lockedBackup(backup)
}

/**
 * For deletion by a policy: in a locked vault a backup that was given an end stays until then, whatever
 * the policy says by now. One without an end leaves when its policy's count or calendar moves past it.
 */
export function mayExpire(vault: Pick<LockableVault, 'locked'>, backup: Pick<LeavingBackup, 'expired_at'>, now: Micros): boolean {
  return vault.locked === 0 || backup.expired_at === null || backup.expired_at <= now
}

function lockedBackup(backup: LeavingBackup): Failure {
  const until = backup.expired_at === null ? 'when its policy keeps enough newer ones' : `at ${formatTime(backup.expired_at)}`
  return new Failure('backup.locked', { backupId: backup.id, until })
}

interface LockedBackups {
  readonly count: number
  /** The last end of those that have one. */
  readonly lastEnd: Micros | null
  readonly withoutEnd: number
}

/** The automatic backups of a vault: what the lock protects. */
export async function findLockedBackups(reader: Reader, projectId: ProjectId, vaultId: VaultId): Promise<LockedBackups> {
  const { count, dated, last } = await reader.selectFrom('backups')
    .select(({ fn }) => [fn.countAll<number>().as('count'), fn.count<number>('expired_at').as('dated'), fn.max('expired_at').as('last')])
    .where('project_id', '=', projectId).where('vault_id', '=', vaultId).where('auto_trigger', '=', 1).where('parent_id', 'is', null)
    .executeTakeFirstOrThrow()
  return { count: Number(count), lastEnd: last === null ? null : Number(last), withoutEnd: Number(count) - Number(dated) }
}

/** What the guard of the vault's repository says; undefined for a vault that is not locked. */
export async function guardOf(reader: Reader, vault: LockableVault & Pick<Row<'vaults'>, 'name'>): Promise<RemovalGuard | undefined> {
  if (vault.locked === 0) return undefined
  const held = await findLockedBackups(reader, vault.project_id, vault.id)
  return {
    reason: `This is the repository of the vault ${vault.name} (${vault.id}), which is locked for good (WORM). `
      + (held.count === 0 ? 'When this was written it held no automatic backups.' : `When this was written: ${describeHeld(held)}.`),
    facts: {
      vault_id: vault.id,
      automatic_backups: held.count,
      last_expires_at: held.lastEnd === null ? null : formatTime(held.lastEnd),
      without_end: held.withoutEnd,
    },
  }
}

/** After a vault was locked. What cannot be written now is written by the agent, when it next opens the repository. */
export async function guardRepository(deps: Pick<Deps, 'db' | 'config'>, vault: Row<'vaults'>): Promise<void> {
  if (vault.repository_url === null) return
  try {
    const { address, storageKeys } = placeOf(deps.config, vault)
    await setRemovalGuard(openStorage(address, storageKeys), await guardOf(deps.db, vault))
  } catch (error) {
    if (!(error instanceof StorageFailure)) throw error
  }
}

async function describeStay(reader: Reader, vault: LockableVault): Promise<string> {
  const held = await findLockedBackups(reader, vault.project_id, vault.id)
  return held.count === 0 ? 'it holds no automatic backups at the moment' : describeHeld(held)
}

function describeHeld({ count, lastEnd, withoutEnd }: LockedBackups): string {
  const parts: string[] = []
  if (lastEnd !== null) parts.push(`${count - withoutEnd} of them expire, the last at ${formatTime(lastEnd)}`)
  if (withoutEnd > 0) parts.push(`${withoutEnd} of them have no end of their own and stay until their policy keeps enough newer ones`)
  return `of ${count} automatic backups, ${parts.join('; ')}`
}
