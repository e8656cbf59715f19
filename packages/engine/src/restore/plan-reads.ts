import type { BlobId, BlobLocation, PackId } from '../repository/types.ts'

export interface LocatedBlob {
  readonly id: BlobId
  readonly location: BlobLocation
}

/** One range of a pack, and the blobs that lie in it. */
export interface PlannedRead {
  readonly packId: PackId
  /** Bytes from the start of the pack. */
  readonly offset: number
  /** Bytes to read. */
  readonly length: number
  /** In the order of their places. */
  readonly blobs: readonly LocatedBlob[]
}

export interface ReadLimits {
  /** Unwanted bytes between two blobs that are read along rather than asking the storage twice. */
  readonly gapBytesMax: number
  /** Where a range ends; a single bigger blob is a range of its own. */
  readonly rangeBytesMax: number
  /** Likewise for what the blobs of a range become when they are decompressed. */
  readonly plainBytesMax: number
}

/** Gathers blobs into few ranges, pack by pack in the order in which the packs are first named. */
export function planReads(blobs: Iterable<LocatedBlob>, limits: ReadLimits): PlannedRead[] {
  const packs = new Map<PackId, LocatedBlob[]>()
  for (const blob of blobs) {
    const known = packs.get(blob.location.packId)
    if (known === undefined) packs.set(blob.location.packId, [blob])
    else known.push(blob)
  }
  return [...packs].flatMap(([packId, inPack]) => planPack(packId, inPack, limits))
}

function planPack(packId: PackId, blobs: LocatedBlob[], limits: ReadLimits): PlannedRead[] {
  const reads: PlannedRead[] = []
  let offset = 0
  let end = 0
  let plainBytes = 0
  let group: LocatedBlob[] = []
  const finish = (): void => {
    if (group.length > 0) reads.push({ packId, offset, length: end - offset, blobs: group })
  }
  for (const blob of blobs.sort((a, b) => a.location.offset - b.location.offset)) {
    const blobEnd = blob.location.offset + blob.location.length
    const joins =
      group.length > 0 &&
      blob.location.offset - end <= limits.gapBytesMax &&
      Math.max(blobEnd, end) - offset <= limits.rangeBytesMax &&
      plainBytes + blob.location.plainLength <= limits.plainBytesMax
    if (joins) {
      group.push(blob)
      end = Math.max(end, blobEnd)
      plainBytes += blob.location.plainLength
      continue
    }
    finish()
    offset = blob.location.offset
    end = blobEnd
    plainBytes = blob.location.plainLength
    group = [blob]
  }
  finish()
  return reads
}
