/**
 * Puts damaged packs into the quarantine. What is good in them is stored in new packs first.
 *
 * The order of writes: a copy in the quarantine, read back; new packs with what is good; an index file
 * that names them; index files without the damaged packs; only then a damaged pack is removed. A pack
 * that cannot even be read to be copied stays where it is, and in the index.
 *
 * What was in a damaged pack and nowhere else is lost to the snapshots that need it: checking the
 * structure names them.
 */
import assert from 'node:assert/strict'
import type { Storage } from '@opencbr/storage'
import { checkRepository } from '../check/check-repository.ts'
import type { CheckFindingCode } from '../check/findings.ts'
import { asFailure, throwIfCancelled } from '../failure.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import { copyBlobs } from '../prune/copy-blobs.ts'
import { IndexRewriter } from '../prune/index-rewriter.ts'
import type { PlannedIndexFile } from '../prune/prune-plan.ts'
import { guardStorage } from '../repository/guarded-storage.ts'
import { keyOf } from '../repository/layout.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { Repository } from '../repository/repository.ts'
import type { SavedPack } from '../repository/stored-files.ts'
import type { BlobId, BlobType, PackId } from '../repository/types.ts'
import { damageOf } from '../restore/damage.ts'
import { copyToQuarantine } from './quarantine.ts'

export interface DamagedPack {
  readonly id: PackId
  /** Bytes that the storage has of it. */
  readonly size: number
  /** What can be read of it. */
  readonly good: readonly PackedBlob[]
  /** What cannot, and no pack that stays has either. */
  readonly lost: readonly { readonly type: BlobType; readonly id: BlobId }[]
}

/** What repairing packs would do, as data to be shown; `runPackRepair` carries it out. */
export interface PackRepairPlan {
  readonly repositoryId: string
  readonly packs: readonly DamagedPack[]
}

export interface PlanPackRepairOptions {
  readonly signal?: AbortSignal | undefined
  /** Must not throw. */
  readonly onProgress?: ((packsRead: number, packsTotal: number) => void) | undefined
}

export interface PackRepairResult {
  /** Keys of the copies. */
  readonly quarantined: readonly string[]
  /** Packs that could not be read to be copied, and stay where they are. */
  readonly leftInPlace: readonly PackId[]
  readonly newPacks: number
  readonly blobsSaved: number
}

const PACK_FINDINGS: ReadonlySet<CheckFindingCode> = new Set([
  'pack.wrong_size', 'pack.damaged', 'pack.header_damaged', 'pack.header_differs', 'blob.damaged',
] as const)

/** Reads everything that is stored, and names the packs that are not as they should be: the first ten thousand. */
export async function findDamagedPacks(
  repository: Repository, options: { signal?: AbortSignal | undefined; onProgress?: ((bytesDone: number, bytesTotal: number | undefined) => void) | undefined } = {},
): Promise<PackId[]> {
  const { findings } = await checkRepository(repository, {
    level: 'data',
    signal: options.signal,
    onProgress({ stage, done, total }) {
      if (stage === 'data') options.onProgress?.(done, total)
    },
  })
  return [...new Set(findings.flatMap(({ code, packId }) => (packId !== undefined && PACK_FINDINGS.has(code) ? [packId] : [])))]
}

/**
 * Looks what is good in some packs. Packs that the storage has not are left out: making the index anew
 * takes care of them. Throws `repository.damaged` when the index must be made anew first.
 */
export async function planPackRepair(repository: Repository, packIds: readonly PackId[], options: PlanPackRepairOptions = {}): Promise<PackRepairPlan> {
  const { signal, onProgress } = options
  await repository.loadIndex({ reload: true, ...(signal === undefined ? {} : { signal }) })
  const damaged = new Set(packIds)
  const indexed = new Map<PackId, readonly PackedBlob[]>()
  for (const { id, blobs } of repository.indexedPacks()) if (damaged.has(id)) indexed.set(id, [...indexed.get(id) ?? [], ...blobs])
  const packs: DamagedPack[] = []
  for (const id of damaged) {
    throwIfCancelled(signal)
    const size = await repository.statPack(id, signal)
    if (size !== undefined) packs.push(await planPack(repository, id, size, indexed.get(id) ?? [], damaged, signal))
    onProgress?.(packs.length, damaged.size)
  }
  return { repositoryId: repository.id, packs: withoutSaved(packs) }
}

/** What one damaged pack has lost another one may have saved. */
function withoutSaved(packs: readonly DamagedPack[]): DamagedPack[] {
  const saved = new Set(packs.flatMap(({ good }) => good.map(({ type, id }) => `${type} ${id}`)))
  return packs.map((pack) => ({ ...pack, lost: pack.lost.filter(({ type, id }) => !saved.has(`${type} ${id}`)) }))
}

async function planPack(
  repository: Repository, packId: PackId, size: number, indexed: readonly PackedBlob[], damaged: ReadonlySet<PackId>, signal: AbortSignal | undefined,
): Promise<DamagedPack> {
  const inHeader = await repository.readPackHeader(packId, size, signal).catch((error: unknown) => {
    if (damageOf(error) === undefined) throw error
    return []
  })
  // The index and the header may disagree; what opens and has the right hash is good, whoever names it.
  const named = new Map([...inHeader, ...indexed].map((blob) => [`${blob.type} ${blob.id} ${blob.offset} ${blob.length}`, blob]))
  const good = new Map<string, PackedBlob>()
  const bad: PackedBlob[] = []
  for (const blob of named.values()) {
    throwIfCancelled(signal)
    try {
      const stored = await repository.readPack(packId, blob.offset, blob.length)
      await repository.openBlob(blob.type, blob.id, { ...blob, packId }, stored)
      good.set(`${blob.type} ${blob.id}`, blob)
    } catch (error) {
      if (damageOf(error) === undefined) throw error
      bad.push(blob)
    }
  }
  const lost = new Map(bad
    .filter(({ type, id }) => !good.has(`${type} ${id}`) && repository.locateAll(type, id).every((place) => damaged.has(place.packId)))
    .map(({ type, id }) => [`${type} ${id}`, { type, id }]))
  return { id: packId, size, good: [...good.values()].toSorted((a, b) => a.offset - b.offset), lost: [...lost.values()] }
}

/**
 * Carries out a plan, under the exclusive lock under which it was made. Throws `repository.lock_lost`
 * and failures of the storage; nothing is worse than before then. The index in memory is the new one.
 */
export async function runPackRepair(
  storage: Storage, repository: Repository, lock: RepositoryLock, plan: PackRepairPlan, signal?: AbortSignal,
): Promise<PackRepairResult> {
  assert(lock.exclusive, 'repairing needs an exclusive lock')
  assert(plan.repositoryId === repository.id, 'the plan is about another repository')
  const guarded = guardStorage(storage, signal)
  const stop = signal === undefined ? lock.lost : AbortSignal.any([signal, lock.lost])
  try {
    await lock.assertHeld()
    const quarantined: string[] = []
    const leaving: DamagedPack[] = []
    const leftInPlace: PackId[] = []
    for (const pack of plan.packs) {
      const place = await copyToQuarantine(guarded, keyOf('data', pack.id), stop)
      if (place === undefined) leftInPlace.push(pack.id)
      else {
        quarantined.push(place)
        leaving.push(pack)
      }
    }
    const saved: SavedPack[] = []
    await copyBlobs(repository, leaving.map(({ id, good }) => ({ id, blobs: good })), {
      signal: stop, onCopied: () => undefined, onSaved: (pack) => void saved.push(pack),
    })
    const leavingIds = new Set(leaving.map(({ id }) => id))
    const index = new IndexRewriter(repository.storedFiles, await planIndexFiles(repository, leavingIds, stop))
    await index.add(saved, stop)
    await index.forget(leavingIds, { lock, signal: stop })
    await repository.storedFiles.removePacks([...leavingIds], lock, { signal: stop })
    await repository.loadIndex({ reload: true })
    return { quarantined, leftInPlace, newPacks: saved.length, blobsSaved: saved.reduce((count, { blobs }) => count + blobs.length, 0) }
  } catch (error) {
    throw lock.lost.aborted ? lock.lost.reason : asFailure(error, signal)
  }
}

async function planIndexFiles(repository: Repository, leaving: ReadonlySet<PackId>, signal: AbortSignal): Promise<PlannedIndexFile[]> {
  const files: PlannedIndexFile[] = []
  for (const id of await repository.storedFiles.listIndexFiles(signal)) {
    const packs = await repository.storedFiles.readIndexFile(id, signal)
    const leavingPackIds = packs.map((pack) => pack.id).filter((packId) => leaving.has(packId))
    files.push({
      id,
      blobCount: packs.reduce((count, { blobs }) => count + blobs.length, 0),
      leavingPackIds,
      stayingPackCount: packs.length - leavingPackIds.length,
      repeats: false,
    })
  }
  return files
}
