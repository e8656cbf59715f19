/**
 * Brings many blobs out of a repository with few reads. Ranges of packs are read ahead, several at a
 * time, and their blobs opened side by side; how many bytes are held at once is bounded by the budget
 * that the caller shares among its fetches. Blobs arrive in any order.
 *
 * Damage is no reason to stop: a blob that is missing or broken is looked for in every other pack that
 * has it, then reported, and the others go on. When a range cannot be read in one piece, because the
 * pack is too short, its blobs are read one by one.
 */
import { Failure, throwIfCancelled } from '../failure.ts'
import type { BlobDelivery } from '../repository/crew/protocol.ts'
import type { BlobDeliverer, BlobId, BlobLocation, BlobReader, BlobType } from '../repository/types.ts'
import type { ByteBudget } from './byte-budget.ts'
import { damageOf } from './damage.ts'
import type { DeliveryOutcome, DeliveryTarget } from './deliver.ts'
import { planReads, type LocatedBlob, type PlannedRead, type ReadLimits } from './plan-reads.ts'

/** An object store takes about as long to answer another request as to send the bytes of such a gap. */
const READ_LIMITS: ReadLimits = { gapBytesMax: 256 * 1024, rangeBytesMax: 4 * 1024 * 1024, plainBytesMax: 8 * 1024 * 1024 }
const READS_MAX = 8

/** A reader that knows every place of a blob. Without threads that deliver, all plaintexts come to the receiver. */
export interface BlobSource extends BlobReader, Partial<BlobDeliverer> {
  locateAll(type: BlobType, id: BlobId): readonly BlobLocation[]
}

/** What fetching asks of it. */
export type FetchSource = Omit<BlobSource, 'loadBlob'>

/** Where a blob is wanted, by threads that put it there. */
export interface Wanted {
  readonly targets: readonly DeliveryTarget[]
  /** Called once the targets are not used any more. */
  release(): void
}

export interface BlobReceiver {
  /** Asked before a blob is read: undefined to get the plaintext by `onBlob`, as happens anyway when a blob is damaged in one place. */
  wants?(id: BlobId): Wanted | undefined
  /** Gets what became of each target of a blob that was wanted somewhere. */
  onDelivered?(id: BlobId, outcomes: readonly DeliveryOutcome[]): void | Promise<void>
  /** Gets the plaintext, whose hash is the id. The next read waits until it has resolved. */
  onBlob(id: BlobId, plaintext: Uint8Array): void | Promise<void>
  /** Gets what cannot be had: `blob.missing` or `blob.damaged`. */
  onDamage(id: BlobId, failure: Failure): void
}

export interface FetchOptions {
  readonly budget: ByteBudget
  readonly signal?: AbortSignal | undefined
}

/** Fetches every blob once. Throws `cancelled`, what the receiver throws, and failures of the storage. */
export async function fetchBlobs(
  source: FetchSource,
  type: BlobType,
  ids: Iterable<BlobId>,
  receiver: BlobReceiver,
  options: FetchOptions,
): Promise<void> {
  const located: LocatedBlob[] = []
  for (const id of new Set(ids)) {
    const location = source.locate(type, id)
    if (location === undefined) receiver.onDamage(id, new Failure('blob.missing', { blobId: id }))
    else located.push({ id, location })
  }
  const reads = planReads(located, READ_LIMITS).values()
  const stop = new AbortController()
  const work = async (): Promise<void> => {
    // All workers draw from one iterator, so each read is done once.
    for (const read of reads) {
      throwIfCancelled(options.signal)
      if (stop.signal.aborted) return
      const bytes = bytesHeldBy(read)
      await options.budget.take(bytes)
      try {
        await fetchRange(source, type, read, receiver, options.signal)
      } catch (error) {
        stop.abort()
        throw error
      } finally {
        options.budget.giveBack(bytes)
      }
    }
  }
  // All must have ended before the first error is thrown: the receiver may close its files after it.
  await settleAll(Array.from({ length: READS_MAX }, work))
}

async function settleAll(work: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(work)) if (outcome.status === 'rejected') throw outcome.reason
}

function bytesHeldBy(read: PlannedRead): number {
  return read.blobs.reduce((bytes, { location }) => bytes + location.plainLength, read.length)
}

async function fetchRange(
  source: FetchSource, type: BlobType, read: PlannedRead, receiver: BlobReceiver, signal: AbortSignal | undefined,
): Promise<void> {
  const others = receiver.wants === undefined || source.deliverBlobs === undefined ? read.blobs : await deliverRange(source, type, read, receiver, signal)
  if (others.length === 0) return
  let stored: Uint8Array | undefined
  try {
    // What is left of a range that has been delivered is little.
    if (others.length === read.blobs.length) stored = await source.readPack(read.packId, read.offset, read.length)
  } catch (error) {
    if (damageOf(error) === undefined) throw error
  }
  await settleAll(
    others.map(async ({ id, location }) => {
      const start = location.offset - read.offset
      const own = stored?.subarray(start, start + location.length)
      const blob = await openAnywhere(source, type, id, location, own)
      throwIfCancelled(signal)
      if (blob instanceof Failure) receiver.onDamage(id, blob)
      else await receiver.onBlob(id, blob)
    }),
  )
}

/** Has the blobs of a range delivered that are wanted somewhere, and returns the others. */
async function deliverRange(
  source: FetchSource, type: BlobType, read: PlannedRead, receiver: BlobReceiver, signal: AbortSignal | undefined,
): Promise<readonly LocatedBlob[]> {
  const others: LocatedBlob[] = []
  const wanted: (LocatedBlob & Wanted)[] = []
  for (const blob of read.blobs) {
    const wish = receiver.wants?.(blob.id)
    if (wish === undefined) others.push(blob)
    else wanted.push({ ...blob, targets: wish.targets, release: () => wish.release() })
  }
  if (wanted.length === 0) return others
  let deliveries: readonly BlobDelivery[] = []
  try {
    deliveries = await source.deliverBlobs?.(read.packId, read.offset, read.length, wanted.map(({ id, location, targets }) => ({
      id, start: location.offset - read.offset, length: location.length, form: { plainLength: location.plainLength, compressed: location.compressed }, targets,
    }))) ?? []
  } catch (error) {
    if (damageOf(error) === undefined) throw error
  } finally {
    for (const { release } of wanted) release()
  }
  throwIfCancelled(signal)
  for (const [i, { id, location }] of wanted.entries()) {
    const delivery = deliveries[i]
    if (delivery !== undefined && 'outcomes' in delivery) await receiver.onDelivered?.(id, delivery.outcomes)
    else {
      const blob = await openAnywhere(source, type, id, location, undefined)
      throwIfCancelled(signal)
      if (blob instanceof Failure) receiver.onDamage(id, blob)
      else await receiver.onBlob(id, blob)
    }
  }
  return others
}

/** Opens a blob from what was read, or from its place in the pack, or from any other place that it has. */
async function openAnywhere(
  source: FetchSource, type: BlobType, id: BlobId, first: BlobLocation, stored: Uint8Array | undefined,
): Promise<Uint8Array | Failure> {
  const damage = await openOnce(source, type, id, first, stored)
  if (!(damage instanceof Failure)) return damage
  for (const other of source.locateAll(type, id)) {
    if (other.packId === first.packId && other.offset === first.offset) continue
    const blob = await openOnce(source, type, id, other, undefined)
    if (!(blob instanceof Failure)) return blob
  }
  return damage
}

async function openOnce(
  source: FetchSource, type: BlobType, id: BlobId, location: BlobLocation, stored: Uint8Array | undefined,
): Promise<Uint8Array | Failure> {
  try {
    const bytes = stored ?? (await source.readPack(location.packId, location.offset, location.length))
    return await source.openBlob(type, id, location, bytes)
  } catch (error) {
    const damage = damageOf(error)
    if (damage === undefined) throw error
    return damage
  }
}
