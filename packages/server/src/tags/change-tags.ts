/** Tags of one vault: listed, set, deleted. Every change takes the vault's row first, so that two at once cannot pass the limit together. */
import { VAULT_TAGS_MAX, type BatchVaultTagsBody, type CreateVaultTagBody } from '@opencbr/contract'
import type { Reader, Transaction } from '../db/database.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { readTag, readTags, tooManyTags, type Tag } from '../tag.ts'
import { changeVault, findVault } from '../vaults/index.ts'
import { deleteTags, listTags, putTags } from './tag-store.ts'

type ChangeDeps = Pick<Deps, 'db' | 'clock'>

export async function listVaultTags(db: Reader, projectId: ProjectId, id: string): Promise<Tag[]> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  if (await findVault(db, projectId, vaultId) === undefined) throw new Failure('vault.not_found', { vaultId })
  return listTags(db, vaultId)
}

/** Adds a tag, or gives it another value. */
export async function createTag(deps: ChangeDeps, projectId: ProjectId, id: string, { tag }: CreateVaultTagBody): Promise<void> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const wanted = readTag('tag', tag)
  await change(deps, projectId, vaultId, (tx) => addTags(tx, vaultId, [wanted]))
}

/** A single deletion says when there was nothing to delete. */
export async function deleteTag(deps: ChangeDeps, projectId: ProjectId, id: string, text: string): Promise<void> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const key = text.trim()
  if (key === '') throw new Failure('parameter.invalid', { field: 'key', reason: 'it must not be blank' })
  await change(deps, projectId, vaultId, async (tx) => {
    if (await deleteTags(tx, vaultId, [key]) === 0) throw new Failure('tag.not_found', { vaultId, key })
  })
}

/** Sets or deletes several; the same once more changes nothing more. */
export async function changeTags(deps: ChangeDeps, projectId: ProjectId, id: string, body: BatchVaultTagsBody): Promise<void> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  if (body.sys_tags !== undefined) {
    throw new Failure('parameter.invalid', { field: 'sys_tags', reason: 'system tags are for privileged services only' })
  }
  if (body.tags === undefined) throw new Failure('parameter.invalid', { field: 'tags', reason: 'it is mandatory' })
  if (body.action === 'create') {
    const tags = readTags('tags', body.tags)
    await change(deps, projectId, vaultId, (tx) => addTags(tx, vaultId, tags))
    return
  }
  if (body.tags.length > VAULT_TAGS_MAX) throw new Failure('parameter.invalid', { field: 'tags', reason: `it must have at most ${VAULT_TAGS_MAX} members` })
  const keys = body.tags.map((tag) => tag.key.trim())
  await change(deps, projectId, vaultId, async (tx) => {
    await deleteTags(tx, vaultId, keys)
  })
}

async function addTags(tx: Transaction, vaultId: VaultId, tags: readonly Tag[]): Promise<void> {
  await putTags(tx, vaultId, tags)
  if ((await listTags(tx, vaultId)).length > VAULT_TAGS_MAX) throw tooManyTags()
}

async function change({ db, clock }: ChangeDeps, projectId: ProjectId, vaultId: VaultId, write: (tx: Transaction) => Promise<void>): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await changeVault(tx, projectId, vaultId, { updated_at: clock.now() })
    const vault = await findVault(tx, projectId, vaultId)
    if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
    if (vault.status === 'deleting') throw new Failure('vault.wrong_status', { vaultId, status: vault.status })
    await write(tx)
  })
}
