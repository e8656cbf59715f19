import type { BlobType } from '../repository/types.ts'

/** How much of a pack is needed. */
export interface PackUse {
  /** A pack that holds both types is `mixed`, which only old writers made. */
  readonly kind: BlobType | 'mixed'
  /** Stored bytes of needed blobs, their place in the header included. */
  readonly usedBytes: number
  readonly unusedBytes: number
}

export type PackVerdict = 'keep' | 'remove' | 'repack'

export interface JudgeOptions {
  /** How much of the data may be unneeded afterwards, in percent; 100 repacks only what must be. */
  readonly maxUnusedPercent: number
  /** Packs with less than this are small, in bytes. */
  readonly smallPackBytes: number
}

/** Small packs are put together once there are so many: a few always remain, which would be repacked for ever. */
const SMALL_PACKS_MIN = 10

/**
 * Decides what becomes of each pack. Whatever nobody needs is removed. Packs of trees are rewritten
 * as soon as any tree in them is not needed, for they are few and every reader goes through them.
 * Packs of data are rewritten, the emptiest first, until little enough is unneeded.
 */
export function judgePacks<Pack extends PackUse>(
  packs: readonly Pack[], { maxUnusedPercent, smallPackBytes }: JudgeOptions,
): Map<Pack, PackVerdict> {
  const verdicts = new Map<Pack, PackVerdict>()
  const candidates: Pack[] = []
  const smallAndWhole: Pack[] = []
  const isSmall = ({ usedBytes, unusedBytes }: PackUse) => usedBytes + unusedBytes < smallPackBytes
  let usedBytes = 0
  let unusedBytes = 0
  for (const pack of packs) {
    usedBytes += pack.usedBytes
    if (pack.usedBytes === 0) verdicts.set(pack, 'remove')
    else if (pack.unusedBytes > 0 || pack.kind === 'mixed') candidates.push(pack)
    else if (isSmall(pack)) smallAndWhole.push(pack)
    else verdicts.set(pack, 'keep')
    if (pack.usedBytes > 0) unusedBytes += pack.unusedBytes
  }
  for (const pack of smallAndWhole) verdicts.set(pack, smallAndWhole.length < SMALL_PACKS_MIN ? 'keep' : 'repack')

  const unusedBytesMax = maxUnusedPercent >= 100 ? Infinity : (usedBytes * maxUnusedPercent) / (100 - maxUnusedPercent)
  const isUrgent = (pack: Pack) => pack.kind !== 'data' || isSmall(pack)
  const unusedShare = (pack: Pack) => pack.unusedBytes / (pack.usedBytes + pack.unusedBytes)
  const inTurn = candidates.toSorted((a, b) => Number(isUrgent(b)) - Number(isUrgent(a)) || unusedShare(b) - unusedShare(a))
  for (const pack of inTurn) {
    const repacks = isUrgent(pack) || unusedBytes > unusedBytesMax
    verdicts.set(pack, repacks ? 'repack' : 'keep')
    if (repacks) unusedBytes -= pack.unusedBytes
  }
  return verdicts
}
