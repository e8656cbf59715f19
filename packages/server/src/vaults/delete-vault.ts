import type { Row } from '../db/schema.ts'
import type { Transaction } from '../db/database.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import { insertJob, listLiveJobs } from '../jobs/index.ts'
import { insertOperationLog } from '../operations/index.ts'
import { parseUuid } from '../parse-id.ts'
import { refuseIfUsed } from './used-backups.ts'
import { refuseVaultDeletionIfLocked } from './vault-lock.ts'
import { changeVault, findVault } from './vault-store.ts'

/** Starts the deletion of a vault with everything in it; it shows as `deleting` until it is gone. */
export async function deleteVault(
  deps: Pick<Deps, 'db' | 'clock' | 'wakeAgents'>, caller: { projectId: ProjectId, requestId: string }, id: string,
): Promise<void> {
  const { projectId, requestId } = caller
  const vaultId = parseUuid<VaultId>('vault_id', id)
  await deps.db.transaction().execute(async (tx) => {
    const vault = await findVault(tx, projectId, vaultId)
    if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
    await assertDeletable(tx, vault)
    const now = deps.clock.now()
    await changeVault(tx, projectId, vaultId, { status: 'deleting', updated_at: now })
    const operationLogId = await insertOperationLog(tx, {
      type: 'vault_delete',
      vault,
      requestId,
      parts: { vault_delete: { fail_count: 0, total_count: 0, fail_delete_count: 0, total_delete_count: 0 } },
      createdAt: now,
    })
    await insertJob(tx, { kind: 'delete_vault', projectId, vaultId, operationLogId, payload: { formerStatus: vault.status === 'error' ? 'error' : 'available' }, createdAt: now })
  })
  deps.wakeAgents()
}

async function assertDeletable(tx: Transaction, vault: Row<'vaults'>): Promise<void> {
  const vaultId = vault.id
  // Clients take this code for "somebody deletes it already".
  if (vault.status === 'deleting') throw new Failure('vault.backups_in_progress', { vaultId, reason: 'it is being deleted already' })
  if (vault.status !== 'available' && vault.status !== 'error') {
    throw new Failure('vault.cannot_be_deleted', { vaultId, reason: `its status is ${vault.status}` })
  }
  await refuseVaultDeletionIfLocked(tx, vault)
  const [job] = await listLiveJobs(tx, vault.project_id, vaultId)
  if (job !== undefined) throw new Failure('vault.busy', { vaultId })
  await refuseIfUsed(tx, vault)
}
