/**
 * How full a vault is, and what follows from that. Used space is what the repository's packs really take up, measured before
 * a backup writes and after every job, and what accepted shares add.
 *
 * - A run in a full vault does not start. Before a backup writes, its agent asks for room: first for as much as the source could
 *   take up at most, then, when that may not fit, for what a dry pass has counted. What is granted is kept for it and is its limit; what
 *   does not fit fails with the contract's 6114.
 * - A vault with `auto_expand` has no such limit: it grows to 1.25 times its size, as often as needed, before a run that
 *   would not fit, and when a job has filled it all the same. One that was full before the switch was turned on does not
 *   grow for that (semantics of the contract, 4.2).
 * - When use reaches the threshold, and notifications are on, that is an event, once: the next one comes after it was below.
 */
import { VAULT_SIZE_GB_MAX } from '@opencbr/contract'
import type { RoomAnswer, RoomRequest } from '@opencbr/agent'
import type { Micros } from '../clock.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import { recordEvent } from '../events/index.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, VaultId } from '../ids.ts'
import { reserveRoom, sumReserved } from '../jobs/index.ts'
import { BYTES_PER_GB, sizeInMb, usedBytesOf } from './vault.ts'
import { changeVault, findVault } from './vault-store.ts'

type FillableVault = Pick<Row<'vaults'>, 'id' | 'size_gb' | 'used_bytes' | 'shared_bytes' | 'auto_expand' | 'demand_billing'>

const EXPANSION = 1.25

function capacityBytes({ size_gb: sizeGb }: Pick<FillableVault, 'size_gb'>): number {
  return sizeGb * BYTES_PER_GB
}

function isFull(vault: FillableVault): boolean {
  return usedBytesOf(vault) >= capacityBytes(vault)
}

/** Throws `vault.over_capacity` (6114) when a run in the vault could not write a byte. */
export function refuseRunIfFull(vault: FillableVault): void {
  if (vault.demand_billing === 0 && isFull(vault)) throw new Failure('vault.over_capacity', { vaultId: vault.id })
}

/** Bytes that may be added to the vault while nothing else runs in it; undefined when there is no limit. */
export function roomOf(vault: FillableVault): number | undefined {
  if (vault.auto_expand === 1 || vault.demand_billing === 1) return undefined
  return Math.max(0, capacityBytes(vault) - usedBytesOf(vault))
}

export interface RoomCase {
  readonly request: RoomRequest
  /** Bytes that other runs in the vault have set aside. */
  readonly othersBytes: number
  /** Backups that run in one vault at a time. */
  readonly writersPerVault: number
}

/** What becomes of a backup's request, how much is set aside for it, and the size to which the vault grows for it. */
export interface RoomVerdict {
  readonly answer: RoomAnswer
  readonly reservedBytes?: number | undefined
  readonly sizeGb?: number | undefined
}

export function judgeRoom(vault: FillableVault, { request: { neededBytes, measured }, othersBytes, writersPerVault }: RoomCase): RoomVerdict {
  const unlimited = { answer: { kind: 'granted', bytes: undefined }, reservedBytes: neededBytes } as const
  const aloneBytes = Math.max(0, capacityBytes(vault) - usedBytesOf(vault))
  const freeBytes = aloneBytes - othersBytes
  if (vault.demand_billing === 1) return unlimited
  if (neededBytes <= freeBytes) {
    if (vault.auto_expand === 1) return unlimited
    // A source may grow during the run: what is left is shared among as many runs as there may be.
    const bytes = neededBytes + Math.floor((freeBytes - neededBytes) / writersPerVault)
    return { answer: { kind: 'granted', bytes }, reservedBytes: bytes }
  }
  const grows = vault.auto_expand === 1 && aloneBytes > 0
  if (!measured) return { answer: { kind: 'measure', freeBytes: grows ? undefined : aloneBytes } }
  if (grows) {
    const bytes = usedBytesOf(vault) + othersBytes + neededBytes
    const sizeGb = grownSizeGb(vault.size_gb, bytes)
    if (bytes <= sizeGb * BYTES_PER_GB) return { ...unlimited, sizeGb }
  }
  return { answer: neededBytes <= aloneBytes ? { kind: 'wait' } : { kind: 'refused', freeBytes: aloneBytes } }
}

/** Judges a backup's request for room, and does what was judged. `usedBytes`: what the repository's packs take up now, when that could be measured. */
export async function secureRoom(
  tx: Transaction, job: Row<'jobs'>, { usedBytes = 0, request, writersPerVault }: Omit<RoomCase, 'othersBytes'> & { readonly usedBytes: number | undefined }, now: Micros,
): Promise<RoomAnswer> {
  const row = await findVault(tx, job.project_id, job.vault_id)
  if (row === undefined) return { kind: 'refused', freeBytes: 0 }
  // The larger: another server's job may have ended since it was measured, and its report is newer.
  const vault = { ...row, used_bytes: Math.max(usedBytes, row.used_bytes) }
  const verdict = judgeRoom(vault, { request, writersPerVault, othersBytes: await sumReserved(tx, job) })
  if (verdict.reservedBytes !== undefined) await reserveRoom(tx, job.id, verdict.reservedBytes)
  if (verdict.sizeGb !== undefined) await expand(tx, vault, verdict.sizeGb, 'had no room for a run', now)
  return verdict.answer
}

/** Room for what comes from elsewhere: throws `vault.target_full` (6129). A vault that grows by itself has room. */
export function refuseIfNoRoom(vault: FillableVault, bytes: number): void {
  const room = roomOf(vault)
  if (room !== undefined && bytes > room) throw new Failure('vault.target_full', { vaultId: vault.id, needed: sizeInMb(bytes), available: Math.floor(room / 1024 ** 2) })
}

/** The size that a vault grows to when it holds so much: 1.25 times as often as needed, in whole GB. */
export function grownSizeGb(sizeGb: number, usedBytes: number): number {
  let grown = sizeGb
  while (grown * BYTES_PER_GB <= usedBytes && grown < VAULT_SIZE_GB_MAX) grown = Math.min(VAULT_SIZE_GB_MAX, Math.ceil(grown * EXPANSION))
  return grown
}

/** Writes down what the vault's repository takes up now, and does what follows. */
export async function recordUsage(tx: Transaction, projectId: ProjectId, vaultId: VaultId, usedBytes: number, now: Micros): Promise<void> {
  const before = await findVault(tx, projectId, vaultId)
  if (before === undefined) return
  await changeVault(tx, projectId, vaultId, { used_bytes: usedBytes })
  const vault = { ...before, used_bytes: usedBytes }
  if (vault.auto_expand === 1 && isFull(vault) && !isFull(before)) await expand(tx, vault, grownSizeGb(vault.size_gb, usedBytesOf(vault)), 'was full', now)
  await noteFill(tx, projectId, vaultId, now)
}

async function expand(tx: Transaction, vault: Row<'vaults'>, size: number, why: string, now: Micros): Promise<void> {
  if (size === vault.size_gb) return
  await changeVault(tx, vault.project_id, vault.id, { size_gb: size, updated_at: now })
  await recordEvent(tx, {
    kind: 'vault.expanded',
    projectId: vault.project_id,
    vault,
    message: `The vault ${vault.name} ${why} and has grown from ${vault.size_gb} to ${size} GB by itself.`,
    facts: { from: vault.size_gb, to: size, used: sizeInMb(usedBytesOf(vault)) },
    createdAt: now,
  })
}

/** To be called after anything that changes how full a vault is, or what its threshold is. */
export async function noteFill(tx: Transaction, projectId: ProjectId, vaultId: VaultId, now: Micros): Promise<void> {
  const vault = await findVault(tx, projectId, vaultId)
  if (vault === undefined) return
  const used = usedBytesOf(vault)
  const reached = used * 100 >= capacityBytes(vault) * vault.threshold_percent && vault.smn_notify === 1
  if (reached === (vault.threshold_reached === 1)) return
  await changeVault(tx, projectId, vaultId, { threshold_reached: reached ? 1 : 0 })
  if (!reached) return
  const percent = Math.floor(used / capacityBytes(vault) * 100)
  await recordEvent(tx, {
    kind: 'vault.threshold_reached',
    projectId,
    vault,
    message: `The vault ${vault.name} is filled to ${percent} % of its ${vault.size_gb} GB; its threshold is ${vault.threshold_percent} %.`,
    facts: { used: sizeInMb(used), size: vault.size_gb, percent, threshold: vault.threshold_percent },
    createdAt: now,
  })
}
