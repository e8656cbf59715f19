/** Looks through what a policy made in a vault, and says of each backup why it is kept. */
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { ResourceId, VaultId } from '../ids.ts'
import { openJudge, type Judge, type Retention } from './retention.ts'

export type MadeBackup = Pick<Row<'backups'>, 'id' | 'name' | 'resource_id' | 'resource_name' | 'created_at' | 'expired_at'>

export interface JudgedBackup {
  readonly backup: MadeBackup
  /** None: it goes. An end of its own is not judged here. */
  readonly keptBecause: readonly string[]
}

const PAGE = 1000

/**
 * By resource, newest first. Only whole automatic backups that this policy made count; those kept for an
 * image stay in any case and take nobody's place. However many there are, one page of them is in memory.
 * `only` looks at one resource.
 */
export async function* judgeVault(
  reader: Reader, policy: Pick<Row<'policies'>, 'id' | 'project_id'>, vaultId: VaultId, retention: Retention, only?: ResourceId,
): AsyncGenerator<JudgedBackup> {
  let resourceId: ResourceId | undefined
  let judge: Judge = openJudge(retention)
  let last: MadeBackup | undefined
  for (;;) {
    const page = await selectMadeBackups(reader, policy, vaultId, last, only)
    for (const backup of page) {
      if (backup.resource_id !== resourceId) judge = openJudge(retention)
      resourceId = backup.resource_id
      yield { backup, keptBecause: judge(backup.created_at) }
    }
    if (page.length < PAGE) return
    last = page.at(-1)
  }
}

async function selectMadeBackups(
  reader: Reader, policy: Pick<Row<'policies'>, 'id' | 'project_id'>, vaultId: VaultId, after: MadeBackup | undefined,
  only: ResourceId | undefined,
): Promise<MadeBackup[]> {
  let query = reader.selectFrom('backups').select(['id', 'name', 'resource_id', 'resource_name', 'created_at', 'expired_at'])
    .where('policy_id', '=', policy.id).where('vault_id', '=', vaultId).where('project_id', '=', policy.project_id)
    .where('parent_id', 'is', null).where('auto_trigger', '=', 1)
    .where('status', 'in', ['available', 'waiting_restore', 'restoring'])
    .where(({ eb, or }) => or([eb('os_images_data', 'is', null), eb('os_images_data', '=', '[]')]))
    .orderBy('resource_id', 'desc').orderBy('created_at', 'desc').orderBy('id', 'desc').limit(PAGE)
  if (only !== undefined) query = query.where('resource_id', '=', only)
  if (after !== undefined) {
    query = query.where(({ eb, refTuple, tuple }) =>
      eb(refTuple('resource_id', 'created_at', 'id'), '<', tuple(after.resource_id, after.created_at, after.id)))
  }
  return query.execute()
}
