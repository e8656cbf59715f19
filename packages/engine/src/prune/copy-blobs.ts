import { throwIfCancelled } from '../failure.ts'
import { headerEntryBytes } from '../format/pack-header.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import { PACK_BLOBS_MAX, PACK_BYTES } from '../repository/pack-writer.ts'
import type { Repository } from '../repository/repository.ts'
import type { SavedPack, StoredBlob } from '../repository/stored-files.ts'
import type { BlobType, PackId } from '../repository/types.ts'
import { planReads } from '../restore/plan-reads.ts'
import type { PlannedRead, ReadLimits } from '../restore/plan-reads.ts'

const READ_LIMITS: ReadLimits = { gapBytesMax: 256 * 1024, rangeBytesMax: 8 * 1024 * 1024, plainBytesMax: 16 * 1024 * 1024 }
const SAVES_MAX = 2
/** Ranges that are read and opened while the packs before them are filled and stored. */
const RANGES_AHEAD = 2

export interface CopyOptions {
  readonly signal?: AbortSignal | undefined
  /** Told how many bytes have been copied since the last call. */
  readonly onCopied: (bytes: number) => void
  /** Told of every pack once it is stored. */
  readonly onSaved: (pack: SavedPack) => void
  /** For what lets something be removed on a full disk. */
  readonly usesReserve?: 'partly' | undefined
}

/** A pack, and those of its blobs that are copied. */
interface CopiedPack {
  readonly id: PackId
  readonly blobs: readonly PackedBlob[]
}

interface OpenPack {
  blobs: StoredBlob[]
  bytes: number
}

/**
 * Copies blobs out of packs into new ones, trees and data apart, in the order in which they are given.
 * They stay sealed as they are, for an envelope is bound to no place, but each is opened once and its
 * hash compared: a damaged blob must not get a new pack that looks sound. No index names the new packs
 * yet. Throws `blob.damaged`; resolves or throws only when nothing is being written any more.
 */
export async function copyBlobs(repository: Repository, packs: Iterable<CopiedPack>, options: CopyOptions): Promise<void> {
  const { signal, onCopied, onSaved, usesReserve } = options
  const open: Record<BlobType, OpenPack> = { data: { blobs: [], bytes: 0 }, tree: { blobs: [], bytes: 0 } }
  const saves = new Set<Promise<void>>()
  let failure: { readonly error: unknown } | undefined

  function close(type: BlobType): void {
    const { blobs } = open[type]
    open[type] = { blobs: [], bytes: 0 }
    if (blobs.length === 0) return
    const save = repository.storedFiles.savePack(blobs, signal, usesReserve).then(onSaved, (error: unknown) => {
      failure ??= { error }
    })
    saves.add(save)
    void save.then(() => saves.delete(save))
  }

  async function add(blob: StoredBlob): Promise<void> {
    const pack = open[blob.type]
    pack.blobs.push(blob)
    pack.bytes += blob.stored.length
    if (pack.bytes >= PACK_BYTES || pack.blobs.length >= PACK_BLOBS_MAX) close(blob.type)
    while (saves.size >= SAVES_MAX) await Promise.race(saves)
    if (failure !== undefined) throw failure.error
  }

  async function openRange(type: BlobType, { packId, offset, length, blobs }: PlannedRead): Promise<StoredBlob[]> {
    const range = await repository.readPack(packId, offset, length)
    return Promise.all(
      blobs.map(async ({ id, location }) => {
        // A copy, so that a few small blobs do not keep a big range in memory.
        const stored = range.slice(location.offset - offset, location.offset - offset + location.length)
        await repository.openBlob(type, id, location, stored)
        return { type, id, stored, plainLength: location.plainLength, compressed: location.compressed }
      }),
    )
  }

  const ahead: Promise<StoredBlob[]>[] = []
  async function addNextRange(): Promise<void> {
    for (const blob of (await ahead.shift()) ?? []) {
      await add(blob)
      onCopied(blob.stored.length + headerEntryBytes(blob.compressed))
    }
  }

  try {
    for (const { type, read } of rangesOf(packs)) {
      throwIfCancelled(signal)
      const range = openRange(type, read)
      // It may fail long before its turn comes to be waited for.
      range.catch(() => undefined)
      ahead.push(range)
      if (ahead.length >= RANGES_AHEAD) await addNextRange()
    }
    while (ahead.length > 0) await addNextRange()
    close('data')
    close('tree')
  } finally {
    await Promise.allSettled([...ahead, ...saves])
  }
  if (failure !== undefined) throw failure.error
}

function* rangesOf(packs: Iterable<CopiedPack>): Generator<{ readonly type: BlobType; readonly read: PlannedRead }> {
  for (const { id: packId, blobs } of packs) {
    for (const type of ['data', 'tree'] as const) {
      const located = blobs.filter((blob) => blob.type === type).map((blob) => ({ id: blob.id, location: { ...blob, packId } }))
      for (const read of planReads(located, READ_LIMITS)) yield { type, read }
    }
  }
}
