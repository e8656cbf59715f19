import type { UpdateVaultBody } from '@opencbr/contract'
import type { Row, RowChange } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { noteFill } from './capacity.ts'
import { guardRepository } from './vault-lock.ts'
import { assertSize, usedBytesOf } from './vault.ts'
import { changeVault, findVault, findVaultView, type VaultView } from './vault-store.ts'

const SHRUNK_VAULT_SIZE_GB_MIN = 1

/** Changes what the body names and leaves the rest. Takes effect at once, so no vault stays in `lock`. */
export async function updateVault(
  deps: Pick<Deps, 'db' | 'clock' | 'config'>, projectId: ProjectId, id: string, wanted: UpdateVaultBody['vault'],
): Promise<VaultView> {
  const vaultId = parseUuid<VaultId>('vault_id', id)
  const { db, clock } = deps
  const changed = await db.transaction().execute(async (tx) => {
    const vault = await findVault(tx, projectId, vaultId)
    if (vault === undefined) throw new Failure('vault.not_found', { vaultId })
    const change = planChange(vault, wanted)
    if (vault.status !== 'available') throw new Failure('vault.wrong_status', { vaultId, status: vault.status })
    await changeVault(tx, projectId, vaultId, { ...change, updated_at: clock.now() })
    await noteFill(tx, projectId, vaultId, clock.now())
    const view = await findVaultView(tx, projectId, vaultId)
    if (view === undefined) throw new TypeError('a vault that was just written is not there')
    return view
  })
  if (wanted.locked === true) await guardRepository(deps, changed.vault)
  return changed
}

function planChange(vault: Row<'vaults'>, wanted: UpdateVaultBody['vault']): RowChange<'vaults'> {
  const { billing = {} } = wanted
  if (billing.size !== undefined) assertSize(billing.size, SHRUNK_VAULT_SIZE_GB_MIN, usedBytesOf(vault))
  if (wanted.locked === false && vault.locked === 1) {
    // Clients look for exactly these words.
    throw new Failure('vault.cannot_be_changed', { reason: 'vault not support to modify locked attribute from true to false.' })
  }
  const level = billing.consistent_level === '' ? undefined : billing.consistent_level
  if (level !== undefined && level !== vault.consistent_level) assertRaise(vault, level)
  return {
    ...(wanted.name === undefined ? {} : { name: wanted.name }),
    ...(billing.size === undefined ? {} : { size_gb: billing.size }),
    ...(level === undefined ? {} : { consistent_level: level }),
    ...(wanted.auto_bind === undefined ? {} : { auto_bind: wanted.auto_bind ? 1 : 0 }),
    ...(wanted.bind_rules === undefined ? {} : { bind_rules: JSON.stringify(wanted.bind_rules) }),
    ...(wanted.auto_expand === undefined ? {} : { auto_expand: wanted.auto_expand ? 1 : 0 }),
    ...(wanted.smn_notify === undefined ? {} : { smn_notify: wanted.smn_notify ? 1 : 0 }),
    ...(wanted.threshold === undefined ? {} : { threshold_percent: wanted.threshold }),
    ...(wanted.locked === true ? { locked: 1 } : {}),
  }
}

function assertRaise(vault: Row<'vaults'>, level: string): void {
  if (vault.object_type !== 'server') {
    throw new Failure('vault.cannot_be_changed', { reason: `The vault ${vault.id} stays ${vault.consistent_level}: only vaults for servers are app_consistent.` })
  }
  if (level !== 'app_consistent') {
    throw new Failure('vault.cannot_be_changed', { reason: `The vault ${vault.id} is ${vault.consistent_level} and cannot become ${level} again.` })
  }
}
