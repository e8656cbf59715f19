/**
 * Carries out a plan in rounds, mostly one, of two phases each.
 *
 * Under a shared lock, beside backups: packs of which something is needed are copied in batches, new
 * packs and then index files that name them. Nothing else changes; what was copied lies there twice.
 *
 * Under an exclusive lock, and only as long as it takes to look again and to remove:
 * 1. The second look. What was planned or written must still be named. Index files and snapshots that
 *    came meanwhile are read, and a pack that such a snapshot needs is spared.
 * 2. Packs that no index names are removed: nobody refers to them.
 * 3. Packs of which nothing is needed, and packs that have been copied, leave the index, then the
 *    storage. Where an index file names nothing else, it goes first, with nothing written.
 * 4. Small index files are put together.
 *
 * After every single write and removal everything that a snapshot needs lies in a stored pack that a
 * stored index file names, and no index file names a pack that is gone. What an interrupted run leaves
 * are packs without a name, or blobs and index entries twice; the next plan clears them away, and keeps
 * what was copied.
 *
 * With a grace period nothing is removed that was not marked long enough ago. A mark, a tombstone, is a file
 * beside the repository whose time is the storage's own. First, under a shared lock, marks are set on what
 * has come to be needed by nobody, and taken from what is needed again or gone; then what is still unneeded, and
 * was marked so long ago, is removed as above; last, packs are copied and marked before the copies are
 * named. Marked packs stay in the index, so that for everybody else they are like all others.
 *
 * Nothing is removed on one look. The plan was one, which may be old; the second has the exclusive lock,
 * so that no writer of whom it would not know is alive. Between the phases anybody may hold a lock: if
 * another one pruned then, index files are gone that the plan speaks of, and the run ends.
 *
 * On a full disk the copying stops early, takes away what has no name, and the removing gives space for
 * the next round; only a round that can copy nothing ends the run. A storage that keeps a reserve has
 * space for locks and index files even then, and for a small pack.
 */
import assert from 'node:assert/strict'
import { asFailure, Failure, throwIfCancelled } from '../failure.ts'
import type { PackedBlob } from '../format/pack-header.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { ListedPack, Repository } from '../repository/repository.ts'
import type { SavedPack } from '../repository/stored-files.ts'
import type { BlobId, BlobLocation, BlobType, PackId } from '../repository/types.ts'
import { copyBlobs } from './copy-blobs.ts'
import { forEachOf } from '../repository/for-each-of.ts'
import { IndexRewriter, wantsJoining, type Hold } from './index-rewriter.ts'
import { PruneLook } from './prune-look.ts'
import type { PrunePlan, PruneProgress, PruneResult, RepackedPack } from './prune-plan.ts'

/**
 * Takes a lock on the repository, waiting for others as long as the caller sees fit; the run releases it.
 * It is asked for one lock after the other, never for two at once.
 */
export type TakeLock = (exclusive: boolean) => Promise<RepositoryLock>

export interface RunPruneOptions {
  readonly signal?: AbortSignal | undefined
  /** Must not throw. */
  readonly onProgress?: ((progress: PruneProgress) => void) | undefined
  /** Bytes that are copied before they are named: how much work an interruption can cost. 1 GiB by default. */
  readonly batchBytes?: number | undefined
  /**
   * Bytes that are copied before what they replace is removed: how much space the run needs, at the
   * price of an exclusive lock each time. 8 GiB by default.
   */
  readonly roundBytes?: number | undefined
  /**
   * How long a pack must have been marked as needed by nobody before it goes, by the storage's clock, in milliseconds; a
   * pack that no index names must be as old. 0 by default: everything goes in this run.
   */
  readonly graceMs?: number | undefined
}

const GIBIBYTE = 1024 ** 3
const CALLS_AT_ONCE = 6
/** A mark may be so much younger than the time that a lock was written last; one from further ahead is of a clock gone wrong. */
const MARK_AHEAD_MS_MAX = 3600_000

/**
 * Throws `repository.changed` when the plan is not about the repository as it is now, and
 * `repository.locked` when somebody else holds a lock in spite of ours; nothing has been removed then.
 * Throws `storage.full` when there is no space to repack in; what could be removed without, is. Throws
 * what `takeLock` throws; what was copied until then helps the next run.
 * The repository's index in memory is the new one afterwards.
 */
export async function runPrune(
  repository: Repository, takeLock: TakeLock, plan: PrunePlan, options: RunPruneOptions = {},
): Promise<PruneResult> {
  assert(plan.repositoryId === repository.id, 'the plan is about another repository')
  const run = new PruneRun(repository, takeLock, plan, options)
  try {
    await run.go()
  } catch (error) {
    // Blobs that are gone must not pass for known. Without the signal, for that is also true of a
    // cancelled run; where loading fails, the repository takes no more blobs, which is as good.
    await repository.loadIndex({ reload: true }).catch(() => undefined)
    throw error
  }
  await repository.loadIndex({ reload: true })
  return run.result
}

function changed(reason: string): Failure {
  return new Failure('repository.changed', { reason })
}

function isFull(error: unknown): boolean {
  return error instanceof Failure && error.code === 'storage.full'
}

/** Packs that have been copied in a round, and what they have been copied into. */
interface Copied {
  readonly old: readonly RepackedPack[]
  readonly saved: readonly SavedPack[]
  /** Why not all of it was copied. */
  readonly full: unknown
}

class PruneRun {
  readonly #repository: Repository
  readonly #takeLock: TakeLock
  readonly #plan: PrunePlan
  readonly #options: RunPruneOptions
  readonly #rewriter: IndexRewriter
  readonly #repacked: ReadonlyMap<PackId, RepackedPack>
  /** Packs that leave without a trace: nothing in them is needed. */
  readonly #dead: ReadonlySet<PackId>
  readonly #sizes: ReadonlyMap<PackId, number>
  readonly #spared = new Set<PackId>()
  readonly #gone = new Set<PackId>()
  readonly #graceMs: number
  /** Packs that were copied and stay for their grace. */
  readonly #outlived = new Set<PackId>()
  /** Since when which packs are marked, and what time it was when that was read, by the storage's clock. */
  #marks: { readonly since: ReadonlyMap<PackId, number>; readonly now: number } = { since: new Map(), now: 0 }
  #keptOffsets: { readonly id: PackId; readonly offsets: ReadonlySet<number> } | undefined
  #look: PruneLook | undefined
  #rest: readonly RepackedPack[]
  #copiedBytes = 0
  #removedCount = 0
  #writtenCount = 0
  #freedBytes = 0

  constructor(repository: Repository, takeLock: TakeLock, plan: PrunePlan, options: RunPruneOptions) {
    this.#repository = repository
    this.#takeLock = takeLock
    this.#plan = plan
    this.#options = options
    this.#graceMs = options.graceMs ?? 0
    this.#look = plan.look
    this.#rewriter = new IndexRewriter(repository.storedFiles, plan.indexFiles)
    this.#repacked = new Map(plan.repackedPacks.map((pack) => [pack.id, pack]))
    this.#dead = new Set([...plan.removedPacks.map(({ id }) => id), ...plan.missingPackIds])
    this.#sizes = new Map([...plan.unindexedPacks, ...plan.removedPacks, ...plan.repackedPacks].map(({ id, size }) => [id, size]))
    this.#rest = plan.repackedPacks
  }

  get result(): PruneResult {
    return {
      removedPackCount: this.#removedCount,
      sparedPackCount: this.#spared.size,
      writtenPackCount: this.#writtenCount,
      freedBytes: this.#freedBytes,
      ...this.#pending,
    }
  }

  get #pending(): Pick<PruneResult, 'pendingPackCount' | 'pendingBytes'> {
    const { unindexedPacks, removedPacks } = this.#plan
    const nameless = unindexedPacks.filter(({ id }) => this.#look?.index.hasPack(id) !== true)
    const pending = [...nameless, ...removedPacks].map(({ id }) => id).concat([...this.#outlived])
      .filter((id) => !this.#gone.has(id) && !this.#spared.has(id))
    return { pendingPackCount: pending.length, pendingBytes: pending.reduce((bytes, id) => bytes + (this.#sizes.get(id) ?? 0), 0) }
  }

  async go(): Promise<void> {
    await (this.#graceMs > 0 ? this.#goWithGrace() : this.#goAtOnce())
  }

  async #goWithGrace(): Promise<void> {
    const { unindexedPacks, removedPacks, missingPackIds, indexFiles } = this.#plan
    const nothing: Copied = { old: [], saved: [], full: undefined }
    await this.#underLock(false, (hold) => this.#mark(hold))
    const removes = removedPacks.some(({ id }) => this.#mayGo(id)) || unindexedPacks.some((pack) => this.#isOldEnough(pack))
    const tidies = missingPackIds.length > 0 || indexFiles.some(({ repeats }) => repeats) || wantsJoining(indexFiles)
    if (removes || tidies) await this.#underLock(true, (hold) => this.#removeRound(nothing, true, hold))
    while (this.#rest.length > 0) {
      const copied = await this.#copyRound()
      // What could have given space is gone already.
      if (copied.full !== undefined) throw copied.full
      this.#rest = this.#rest.slice(copied.old.length)
    }
    // Also what turned out to be needed only while others were copied.
    await this.#repository.storedFiles.removeTombstones([...this.#spared], this.#options.signal)
  }

  /** Marks what nobody needs any more, and takes the marks of everything else. */
  async #mark(hold: Hold): Promise<void> {
    const { lock, signal } = hold
    const { storedFiles } = this.#repository
    await this.#lookAgain(hold)
    await this.#readMarks(hold)
    const { since, now } = this.#marks
    const unneeded = new Set(this.#plan.removedPacks.map(({ id }) => id)).difference(this.#spared)
    const isSound = (id: PackId) => unneeded.has(id) && (since.get(id) ?? Infinity) <= now + MARK_AHEAD_MS_MAX
    await lock.assertHeld()
    await storedFiles.removeTombstones(since.keys().filter((id) => !isSound(id)).toArray(), signal)
    await storedFiles.saveTombstones([...unneeded].filter((id) => !isSound(id)), signal)
  }

  async #readMarks({ lock, signal }: Hold): Promise<void> {
    const now = await lock.storageTime()
    const tombstones = await this.#repository.storedFiles.listTombstones(signal)
    this.#marks = { now, since: new Map(tombstones.map(({ packId, since }) => [packId, since])) }
  }

  /** Whether a pack that nobody needs was marked long enough ago. */
  #mayGo(id: PackId): boolean {
    const { since, now } = this.#marks
    return this.#graceMs === 0 || now - (since.get(id) ?? Infinity) >= this.#graceMs
  }

  #isOldEnough({ modifiedAt }: ListedPack): boolean {
    return this.#graceMs === 0 || this.#marks.now - modifiedAt >= this.#graceMs
  }

  async #goAtOnce(): Promise<void> {
    const { unindexedPacks, indexFiles, tombstones } = this.#plan
    const hasDead = unindexedPacks.length > 0 || this.#dead.size > 0 || tombstones.length > 0
    for (let isFirst = true; ; isFirst = false) {
      const copied = this.#rest.length === 0 ? { old: [], saved: [], full: undefined } : await this.#copyRound()
      this.#rest = this.#rest.slice(copied.old.length)
      const tidies = isFirst && (hasDead || indexFiles.some(({ repeats }) => repeats) || wantsJoining(indexFiles))
      if (copied.old.length === 0 && copied.full !== undefined && !tidies) throw copied.full
      if (copied.old.length > 0 || tidies) await this.#underLock(true, (hold) => this.#removeRound(copied, isFirst, hold))
      if (this.#rest.length === 0) return
    }
  }

  async #underLock<Result>(exclusive: boolean, work: (hold: Hold) => Promise<Result>): Promise<Result> {
    const { signal } = this.#options
    throwIfCancelled(signal)
    await using lock = await this.#takeLock(exclusive)
    assert(lock.exclusive || !exclusive, 'removing needs an exclusive lock')
    const either = signal === undefined ? lock.lost : AbortSignal.any([signal, lock.lost])
    try {
      return await work({ lock, signal: either })
    } catch (error) {
      throw lock.lost.aborted ? lock.lost.reason : asFailure(error, either)
    }
  }

  /** Copies as much as a round takes, or the disk. A disk that is nearly full gets it in smaller batches. */
  async #copyRound(): Promise<Copied> {
    const { batchBytes = GIBIBYTE, roundBytes = 8 * GIBIBYTE } = this.#options
    let full: unknown
    let batchBytesMax = batchBytes
    let roundBytesDone = 0
    let usesReserve: 'partly' | undefined
    const old: RepackedPack[] = []
    const saved: SavedPack[] = []
    try {
      await this.#underLock(false, async (hold) => {
        await this.#lookAgain(hold)
        while (old.length < this.#rest.length && (old.length === 0 || roundBytesDone < roundBytes)) {
          const batch = takeBatch(this.#rest.slice(old.length), usesReserve === undefined ? batchBytesMax : 0)
          try {
            for (const pack of await this.#copyBatch(batch, usesReserve, hold)) saved.push(pack)
          } catch (error) {
            // The reserve is for what gives space, which copying does only where the old packs go at once.
            if (!isFull(error) || usesReserve !== undefined || this.#graceMs > 0) throw error
            // From now on single packs, from which least has to be copied, may take of what is kept for that.
            if (batch.length === 1) usesReserve = 'partly'
            this.#rest = [...this.#rest.slice(0, old.length), ...this.#rest.slice(old.length).toSorted((a, b) => a.keptBytes - b.keptBytes)]
            batchBytesMax = sumOfKept(batch) / 2
            continue
          }
          old.push(...batch)
          roundBytesDone += sumOfKept(batch)
        }
        // What came meanwhile is looked at here, where it holds up nobody.
        await this.#lookAgain(hold)
      })
    } catch (error) {
      // Also when there was no space for the lock: what is removed next may give some.
      if (!isFull(error)) throw error
      full = error
    }
    this.#writtenCount += saved.length
    for (const { size } of saved) this.#freedBytes -= size
    return { old, saved, full }
  }

  /**
   * Copies what is kept of a batch into new packs, and names them. When the copying fails its packs are
   * taken away again: on a full disk they would be in the way of everything, the next run included.
   */
  async #copyBatch(batch: readonly RepackedPack[], usesReserve: 'partly' | undefined, { lock, signal }: Hold): Promise<readonly SavedPack[]> {
    const { onProgress } = this.#options
    const look = await this.#knownLook(signal)
    const total = sumOfKept(this.#plan.repackedPacks)
    const saved: SavedPack[] = []
    const named = new Set<PackId>()
    const kept = batch.filter(({ id }) => !this.#spared.has(id)).map(({ id, keptOffsets }) => {
      const byOffset = new Map(look.index.blobsOfPack(id).map((blob) => [blob.offset, blob]))
      const blobs = keptOffsets.map((offset): PackedBlob => {
        const blob = byOffset.get(offset)
        assert(blob !== undefined, 'the index is the one of the plan')
        return blob
      })
      return { id, blobs }
    })
    let naming = false
    const before = this.#copiedBytes
    try {
      await copyBlobs(this.#repository, kept, {
        signal,
        usesReserve,
        onSaved: (pack) => void saved.push(pack),
        onCopied: (bytes) => {
          this.#copiedBytes += bytes
          onProgress?.({ stage: 'repacking', done: Math.min(total, this.#copiedBytes), total })
        },
      })
      // Before the copies have names: else the next plan could not tell which of two places is the one to give up.
      if (this.#graceMs > 0) await this.#markCopied(kept.map(({ id }) => id), signal)
      // Whoever took the lock away may have removed packs without a name.
      await lock.assertHeld()
      naming = true
      await this.#rewriter.add(saved, signal, usesReserve, (packIds) => {
        for (const id of packIds) named.add(id)
      })
      return saved
    } catch (error) {
      this.#copiedBytes = before
      // An index file whose writing failed may be there all the same, except where there was no space for it.
      const isCertain = !naming || isFull(error)
      const nameless = isCertain ? saved.filter(({ id }) => !named.has(id)) : []
      // The first error is the one to report; what stays has no name, and goes with the next plan.
      await this.#repository.storedFiles.takeBackPacks(nameless.map(({ id }) => id)).catch(() => undefined)
      throw error
    }
  }

  /** A mark that one of them has from before it was needed again has gone with this run's first look. */
  async #markCopied(ids: readonly PackId[], signal: AbortSignal): Promise<void> {
    await this.#repository.storedFiles.saveTombstones(ids, signal)
    for (const id of ids) this.#outlived.add(id)
  }

  async #removeRound({ old, saved }: Copied, isFirst: boolean, hold: Hold): Promise<void> {
    await this.#assertAlone(hold)
    await this.#lookAgain(hold)
    await this.#assertStored(saved, hold)
    // Again, for between the locks a pack may have been needed, and have lost its mark.
    await this.#readMarks(hold)
    const look = await this.#knownLook(hold.signal)
    const isLeaving = (id: PackId) => !this.#spared.has(id) && this.#mayGo(id)
    const unneeded = new Set([...isFirst ? this.#plan.removedPacks : [], ...old].map(({ id }) => id).filter(isLeaving))
    if (isFirst) {
      // A backup that was under way when they were planned may have named them since.
      const nameless = this.#plan.unindexedPacks.filter((pack) => !look.index.hasPack(pack.id) && this.#isOldEnough(pack))
      await this.#removePacks(nameless.map(({ id }) => id), hold)
    }
    const leaving = isFirst ? unneeded.union(new Set(this.#plan.missingPackIds)) : unneeded
    await this.#rewriter.dropWhole(leaving, hold)
    const stillNamed = this.#rewriter.named(unneeded)
    await this.#removePacks(unneeded.difference(stillNamed), hold)
    await this.#rewriter.forget(leaving, hold)
    await this.#removePacks(stillNamed, hold)
    if (this.#rest.length === 0 || this.#graceMs > 0) await this.#rewriter.joinSmallFiles(hold)
    if (isFirst) {
      const spent = this.#marks.since.keys().filter((id) => this.#graceMs === 0 || this.#gone.has(id) || this.#spared.has(id))
      await this.#repository.storedFiles.removeTombstones(spent.toArray(), hold.signal)
    }
  }

  async #removePacks(ids: Iterable<PackId>, { lock, signal }: Hold): Promise<void> {
    const { unindexedPacks, removedPacks, repackedPacks } = this.#plan
    const total = unindexedPacks.length + removedPacks.length + repackedPacks.length
    const leaving = [...ids]
    // Some may go before the rest cannot.
    for (const id of leaving) this.#gone.add(id)
    await this.#repository.storedFiles.removePacks(leaving, lock, {
      signal,
      onRemoved: () => {
        this.#removedCount += 1
        this.#options.onProgress?.({ stage: 'removing', done: this.#removedCount, total })
      },
    })
    for (const id of leaving) this.#freedBytes += this.#sizes.get(id) ?? 0
  }

  async #assertAlone({ lock }: Hold): Promise<void> {
    await lock.assertHeld()
    const other = (await this.#repository.listLocks()).find(({ hostname }) => hostname !== lock.hostname)
    if (other === undefined) return
    const { time, hostname, username, pid } = other
    throw new Failure('repository.locked', { since: time, hostname, username, pid, reason: 'a lock beside our exclusive one' })
  }

  /** Whether what was copied is there to replace what is removed now. */
  async #assertStored(packs: readonly SavedPack[], { signal }: Hold): Promise<void> {
    await forEachOf(packs, CALLS_AT_ONCE, async ({ id, size }) => {
      if (await this.#repository.statPack(id, signal) !== size) throw changed('a new pack is not there any more')
    })
  }

  async #knownLook(signal: AbortSignal): Promise<PruneLook> {
    const { indexFiles, snapshotIds } = this.#plan
    this.#look ??= await PruneLook.ofIndex(this.#repository, indexFiles.map(({ id }) => id), snapshotIds, signal)
    return this.#look
  }

  /**
   * Learns what has been added since the plan, and spares what new snapshots need. Each listing is made
   * twice: what one of them shows is there. Snapshots are listed before the index, as by every reader.
   */
  async #lookAgain({ signal }: Hold): Promise<void> {
    const { storedFiles } = this.#repository
    const snapshots = new Set([...await storedFiles.listSnapshotIds(signal), ...await storedFiles.listSnapshotIds(signal)])
    const indexFiles = new Set([...await storedFiles.listIndexFiles(signal), ...await storedFiles.listIndexFiles(signal)])
    if (!this.#rewriter.ids.every((id) => indexFiles.has(id))) throw changed('the index is another one')
    const look = await this.#knownLook(signal)
    for (const id of indexFiles) {
      if (!look.knowsIndexFile(id)) this.#rewriter.learn(await look.addIndexFile(this.#repository, id, signal))
    }
    await look.addSnapshots(this.#repository, snapshots, (type, id) => this.#spare(look, type, id), signal)
  }

  /** Makes sure that a blob that turns out to be needed will have a place after the run. */
  #spare(look: PruneLook, type: BlobType, blobId: BlobId): void {
    const places = look.index.findAll(type, blobId)
    if (places.some((place) => this.#stays(place))) return
    const place = places.find(({ packId }) => !this.#gone.has(packId) && !this.#plan.missingPackIds.includes(packId))
    if (place === undefined) throw new Failure('blob.missing', { blobId, type, reason: 'a snapshot needs it that was made since the plan' })
    this.#spared.add(place.packId)
  }

  #stays({ packId, offset }: BlobLocation): boolean {
    if (this.#gone.has(packId)) return false
    if (this.#spared.has(packId)) return true
    const repacked = this.#repacked.get(packId)
    if (repacked === undefined) return !this.#dead.has(packId)
    if (this.#keptOffsets?.id !== packId) this.#keptOffsets = { id: packId, offsets: new Set(repacked.keptOffsets) }
    return this.#keptOffsets.offsets.has(offset)
  }
}

const sumOfKept = (packs: readonly RepackedPack[]) => packs.reduce((bytes, { keptBytes }) => bytes + keptBytes, 0)

/** The first packs, of which so much is kept; one at least. */
function takeBatch(packs: readonly RepackedPack[], bytesMax: number): readonly RepackedPack[] {
  let bytes = 0
  const end = packs.findIndex(({ keptBytes }, at) => {
    bytes += keptBytes
    return at > 0 && bytes > bytesMax
  })
  return end === -1 ? packs : packs.slice(0, end)
}
