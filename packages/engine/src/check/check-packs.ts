/**
 * The packs of a repository: whether each is there and as long as the index says, and, when data is
 * read, whether every byte of it is what it should be.
 */
import { throwIfCancelled } from '../failure.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import type { PackVerdict } from '../repository/crew/verify-pack.ts'
import type { PackContents, Repository } from '../repository/repository.ts'
import type { PackId } from '../repository/types.ts'
import { ByteBudget } from '../restore/byte-budget.ts'
import { damageOf } from '../restore/damage.ts'
import type { BlobHealthRecord } from './blob-health.ts'
import type { CheckFindings } from './findings.ts'

/** Programs make packs of at most 128 MiB, and one blob over that. */
const PACK_BYTES_MAX = 512 * 1024 * 1024
const PACK_BYTES_HELD_MAX = 80 * 1024 * 1024
const PACKS_AT_ONCE = 4

/** What the storage holds of the packs that the index names. */
export interface StoredPacks {
  /** Bytes of every pack that is there and named by the index. */
  readonly bytes: ReadonlyMap<PackId, number>
  /** When each of them was written, in milliseconds since 1970; those that no listing shows are left out. */
  readonly modifiedAt: ReadonlyMap<PackId, number>
}

/** Compares the index with what is stored. */
export async function checkPackSizes(
  repository: Repository, findings: CheckFindings, health: BlobHealthRecord, signal?: AbortSignal,
): Promise<StoredPacks> {
  const { splitPackIds, repeatedPackIds } = repository.indexFindings()
  for (const packId of splitPackIds) findings.add('index.split_pack', { packId })
  for (const packId of repeatedPackIds) findings.add('index.repeated_pack', { packId })

  const listed = new Map<PackId, number>()
  const modifiedAt = new Map<PackId, number>()
  for await (const pack of repository.listPacks(signal)) {
    listed.set(pack.id, pack.size)
    modifiedAt.set(pack.id, pack.modifiedAt)
  }
  const stored = new Map<PackId, number>()
  const named = new Set<PackId>()
  for (const pack of repository.indexedPacks()) {
    throwIfCancelled(signal)
    const isFirstPart = !named.has(pack.id)
    named.add(pack.id)
    if (isMixed(pack.blobs) && repository.version > 1) findings.add('pack.mixed', { packId: pack.id })
    // That a listing lacks it proves nothing: some storages list late.
    const bytes = listed.get(pack.id) ?? (await repository.statPack(pack.id, signal))
    if (bytes === undefined) {
      health.setPackBytes(pack.id, 0)
      if (isFirstPart) findings.add('pack.missing', { packId: pack.id })
      continue
    }
    stored.set(pack.id, bytes)
    // The parts of a pack that is named piecemeal do not tell its length.
    if (splitPackIds.has(pack.id) || bytes === pack.size) continue
    health.setPackBytes(pack.id, bytes)
    findings.add('pack.wrong_size', { packId: pack.id }, `${bytes} instead of ${pack.size} bytes`)
  }
  for (const id of listed.keys()) if (!named.has(id)) findings.add('pack.unindexed', { packId: id })
  return { bytes: stored, modifiedAt }
}

function isMixed(blobs: readonly PackedBlob[]): boolean {
  return blobs.some(({ type }) => type === 'tree') && blobs.some(({ type }) => type === 'data')
}

export interface ReadPacksOptions {
  /** Chooses which packs to read. */
  readonly choose: (id: PackId) => boolean
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((bytesDone: number, bytesTotal: number) => void) | undefined
}

/** Reads packs whole: their name, their header and every blob in them. */
export async function readPacks(
  repository: Repository, { bytes }: StoredPacks, findings: CheckFindings, health: BlobHealthRecord, options: ReadPacksOptions,
): Promise<{ packs: number; bytes: number }> {
  const { splitPackIds } = repository.indexFindings()
  const chosen = new Map([...bytes].filter(([id]) => options.choose(id)))
  const bytesTotal = chosen.values().reduce((sum, size) => sum + size, 0)
  let bytesDone = 0
  const packBudget = new ByteBudget(PACK_BYTES_HELD_MAX)
  const rest = wholePacks(repository, chosen)
  const stop = new AbortController()
  const workers = Array.from({ length: PACKS_AT_ONCE }, async () => {
    // All workers draw from one iterator, so each pack is read once.
    for (const pack of rest) {
      throwIfCancelled(options.signal)
      if (stop.signal.aborted) return
      const size = chosen.get(pack.id) ?? 0
      await packBudget.take(size)
      try {
        await readOnePack(repository, pack, size, splitPackIds.has(pack.id), findings, health)
      } catch (error) {
        stop.abort()
        throw error
      } finally {
        packBudget.giveBack(size)
      }
      bytesDone += size
      options.onProgress?.(bytesDone, bytesTotal)
    }
  })
  for (const outcome of await Promise.allSettled(workers)) if (outcome.status === 'rejected') throw outcome.reason
  return { packs: chosen.size, bytes: bytesTotal }
}

/** The wanted packs, the parts of those that are named piecemeal put together. */
function* wholePacks(repository: Repository, wanted: ReadonlyMap<PackId, number>): Generator<PackContents> {
  const { splitPackIds } = repository.indexFindings()
  const split = new Map<PackId, PackContents>()
  for (const pack of repository.indexedPacks()) {
    if (!wanted.has(pack.id)) continue
    if (!splitPackIds.has(pack.id)) {
      yield pack
      continue
    }
    const others = split.get(pack.id)?.blobs ?? []
    split.set(pack.id, { ...pack, blobs: [...others, ...pack.blobs] })
  }
  yield* split.values()
}

async function readOnePack(
  repository: Repository, { id: packId, blobs }: PackContents, size: number, isSplit: boolean, findings: CheckFindings, health: BlobHealthRecord,
): Promise<void> {
  if (size > PACK_BYTES_MAX) {
    findings.add('pack.too_big', { packId }, `${size} bytes`)
    return
  }
  let verdict: PackVerdict
  try {
    verdict = await repository.verifyPack(packId, size, blobs)
  } catch (error) {
    // It was there a moment ago.
    const damage = damageOf(error)
    if (damage === undefined) throw error
    health.setPackBytes(packId, 0)
    findings.add('pack.missing', { packId }, damage.code)
    return
  }
  if (!verdict.hasItsName) findings.add('pack.damaged', { packId })
  const { header } = verdict
  if ('damage' in header) findings.add('pack.header_damaged', { packId }, header.damage)
  else if (!header.agrees || (!isSplit && header.blobCount !== blobs.length)) findings.add('pack.header_differs', { packId })
  for (const place of verdict.damaged) {
    const blob = blobs[place]
    if (blob === undefined) continue
    health.setPlaceDamaged(packId, blob.offset)
    findings.add('blob.damaged', { packId, blobId: blob.id }, `${blob.length} bytes at ${blob.offset}`)
  }
}
