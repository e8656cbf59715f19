/** SQL of vaults' tags. */
import type { Reader, Transaction } from '../db/database.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import type { Tag } from '../tag.ts'

/** By key. */
export async function listTags(db: Reader, vaultId: VaultId): Promise<Tag[]> {
  return db.selectFrom('vault_tags').select(['key', 'value']).where('vault_id', '=', vaultId).orderBy('key').execute()
}

/** Writes over tags with the same keys. */
export async function putTags(tx: Transaction, vaultId: VaultId, tags: readonly Tag[]): Promise<void> {
  if (tags.length === 0) return
  await tx.insertInto('vault_tags').values(tags.map(({ key, value }) => ({ vault_id: vaultId, key, value })))
    .onConflict((conflict) => conflict.columns(['vault_id', 'key']).doUpdateSet((eb) => ({ value: eb.ref('excluded.value') })))
    .execute()
}

/** Answers how many there were. */
export async function deleteTags(tx: Transaction, vaultId: VaultId, keys: readonly string[]): Promise<number> {
  if (keys.length === 0) return 0
  const { numDeletedRows } = await tx.deleteFrom('vault_tags').where('vault_id', '=', vaultId).where('key', 'in', keys).executeTakeFirstOrThrow()
  return Number(numDeletedRows)
}

/** Every key with its values in use in the project, both in order. */
export async function listProjectTags(db: Reader, projectId: ProjectId): Promise<{ key: string, values: string[] }[]> {
  const rows = await db.selectFrom('vault_tags').innerJoin('vaults', 'vaults.id', 'vault_tags.vault_id')
    .select(['vault_tags.key', 'vault_tags.value']).distinct()
    .where('vaults.project_id', '=', projectId)
    .orderBy('vault_tags.key').orderBy('vault_tags.value')
    .execute()
  return Array.from(Map.groupBy(rows, (row) => row.key), ([key, same]) => ({ key, values: same.map((row) => row.value) }))
}
