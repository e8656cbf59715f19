import type { BatchUpdateVaultsBody } from '@opencbr/contract'
import type { Deps } from '../deps.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import { noteFill } from './capacity.ts'

/** Changes the notification settings of all vaults of the project, and answers the ids of those that were different. */
export async function updateVaults(
  { db, clock }: Pick<Deps, 'db' | 'clock'>, projectId: ProjectId, { smn_notify: notify, threshold }: BatchUpdateVaultsBody['vault'],
): Promise<VaultId[]> {
  if (notify === undefined && threshold === undefined) return []
  const flag = notify === undefined ? undefined : notify ? 1 : 0
  return db.transaction().execute(async (tx) => {
    const different = await tx.selectFrom('vaults').select('id')
      .where('project_id', '=', projectId).where('status', '!=', 'deleting')
      .where(({ eb, or }) => or([
        ...(flag === undefined ? [] : [eb('smn_notify', '!=', flag)]),
        ...(threshold === undefined ? [] : [eb('threshold_percent', '!=', threshold)]),
      ]))
      .orderBy('created_at', 'desc').orderBy('id', 'desc').execute()
    const now = clock.now()
    await tx.updateTable('vaults')
      .set({ updated_at: now, ...(flag === undefined ? {} : { smn_notify: flag }), ...(threshold === undefined ? {} : { threshold_percent: threshold }) })
      .where('project_id', '=', projectId).where('id', 'in', different.map(({ id }) => id))
      .execute()
    for (const { id } of different) await noteFill(tx, projectId, id, now)
    return different.map(({ id }) => id)
  })
}
