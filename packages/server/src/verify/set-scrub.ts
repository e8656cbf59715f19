import type { SetScrubBody } from '@opencbr/contract'
import type { Reader } from '../db/database.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findVault } from '../vaults/index.ts'
import { scrubDueAt } from './scrub.ts'
import { deleteScrub, findScrub, type ScrubView } from './scrub-store.ts'
import { startDueScrubs } from './start-due-scrubs.ts'
import { findVerification } from './verification-store.ts'

export async function showScrub(db: Reader, projectId: ProjectId, id: string): Promise<ScrubView> {
  const vaultId = await getVaultId(db, projectId, id)
  const scrub = await findScrub(db, projectId, vaultId)
  const verificationId = scrub?.verification_id ?? undefined
  return { vaultId, scrub, last: verificationId === undefined ? undefined : await findVerification(db, projectId, verificationId) }
}

/** From now on every pack of the vault is read within so many days; the first share straight away. */
export async function setScrub(
  deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents'>, projectId: ProjectId, id: string, { every_days: everyDays }: SetScrubBody['scrub'],
): Promise<ScrubView> {
  await deps.db.transaction().execute(async (tx) => {
    const vaultId = await getVaultId(tx, projectId, id)
    const now = deps.clock.now()
    await tx.insertInto('vault_scrubs').values({
      vault_id: vaultId, project_id: projectId, every_days: everyDays, position: 0, covered_until: now,
      try_at: scrubDueAt({ coveredUntil: now }), verification_id: null, created_at: now, updated_at: now,
    }).onConflict((conflict) => conflict.column('vault_id').doUpdateSet({ every_days: everyDays, updated_at: now })).execute()
  })
  await startDueScrubs(deps)
  return showScrub(deps.db, projectId, id)
}

/** A run that is going on ends as it would. */
export async function unsetScrub(deps: Pick<Deps, 'db'>, projectId: ProjectId, id: string): Promise<void> {
  await deps.db.transaction().execute(async (tx) => deleteScrub(tx, projectId, await getVaultId(tx, projectId, id)))
}

async function getVaultId(db: Reader, projectId: ProjectId, id: string): Promise<VaultId> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  if (await findVault(db, projectId, vaultId) === undefined) throw new Failure('vault.not_found', { vaultId })
  return vaultId
}
