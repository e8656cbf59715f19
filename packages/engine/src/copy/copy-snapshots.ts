/**
 * Copies snapshots from one repository into another, whose key, password, format version and chunker
 * polynomial may all be different: each blob is opened and sealed anew, and stored only where the
 * target has not got it.
 *
 * End to end, a blob is compared with its id three times: when it has been opened in the source, when
 * the target names it, and when it has been read back from the target's storage. Content is stored
 * before the trees that name it, both are named by the target's index and read back before the
 * snapshot is written. The source is only read.
 *
 * A cancelled copy leaves blobs in the target that its index names; the next copy finds them there.
 */
import assert from 'node:assert/strict'
import { asFailure, Failure, throwIfCancelled } from '../failure.ts'
import type { Snapshot } from '../format/snapshot.ts'
import { decodeTree } from '../format/tree.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { Repository, StoredSnapshot } from '../repository/repository.ts'
import type { BlobId, BlobType, SnapshotId } from '../repository/types.ts'
import { ByteBudget } from '../restore/byte-budget.ts'
import { fetchBlobs } from '../restore/fetch-blobs.ts'

export interface CopyProgress {
  /** Snapshots that are done, those that were skipped among them. */
  readonly snapshotsDone: number
  readonly snapshotsTotal: number
  /** Plaintext bytes that were copied. */
  readonly bytesCopied: number
}

export interface CopySnapshotsOptions {
  readonly signal?: AbortSignal | undefined
  /** Whether to read everything back from the target's storage; true by default. */
  readonly readBack?: boolean | undefined
  /** Must not throw. */
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined
}

export interface CopiedSnapshot {
  readonly sourceId: SnapshotId
  /** The snapshot in the target: the new one, or the one that was there already. */
  readonly targetId: SnapshotId
  /** False when the target had a copy already. */
  readonly copied: boolean
}

export interface CopyResult {
  readonly snapshots: readonly CopiedSnapshot[]
  readonly blobsCopied: number
  /** Plaintext bytes of those blobs, and what they take in the target's packs. */
  readonly bytesCopied: number
  readonly bytesStored: number
}

/** Blobs are stored and read back in batches of this, so that little is lost when either fails. */
const BATCH_BYTES = 512 * 1024 * 1024
const BATCH_BLOBS = 100_000
const FETCH_BLOBS = 4096
const SOURCE_BYTES_HELD_MAX = 48 * 1024 * 1024
const READ_BACK_BYTES_HELD_MAX = 32 * 1024 * 1024

/**
 * Copies snapshots, oldest first; the target needs a shared lock at least. Throws `blob.missing`,
 * `blob.damaged` or `repository.damaged` when the source has lost what a snapshot needs, or the target
 * does not give back what was stored; snapshots that were copied before it stay.
 */
export async function copySnapshots(
  source: Repository, target: Repository, lock: RepositoryLock, snapshots: readonly StoredSnapshot[], options: CopySnapshotsOptions = {},
): Promise<CopyResult> {
  assert(source.id !== target.id, 'the two repositories are different ones')
  const { signal } = options
  try {
    const known = knownCopies(await target.listSnapshots({ signal }))
    await source.loadIndex(signal === undefined ? {} : { signal })
    await target.loadIndex(signal === undefined ? {} : { signal })
    const run = new CopyRun(source, target, lock, options, snapshots.length)
    return await run.copy(snapshots.toSorted((a, b) => Date.parse(a.snapshot.time) - Date.parse(b.snapshot.time)), known)
  } catch (error) {
    // What is stored is named, so that it need not be copied again; the first error is the one to report.
    await target.flush(lock).catch(() => undefined)
    throw lock.lost.aborted ? lock.lost.reason : asFailure(error, signal)
  }
}

/** The target's snapshots by what identifies them through all changes and copies. */
function knownCopies(snapshots: readonly StoredSnapshot[]): Map<SnapshotId, StoredSnapshot[]> {
  const known = new Map<SnapshotId, StoredSnapshot[]>()
  for (const stored of snapshots) {
    const origin = stored.snapshot.original ?? stored.id
    known.set(origin, [...known.get(origin) ?? [], stored])
  }
  return known
}

/** A snapshot whose tags were changed in the source since is another one, and is copied again. */
function isSameSnapshot(a: Snapshot, b: Snapshot): boolean {
  return identityOf(a) === identityOf(b)
}

function identityOf({ time, tree, paths, hostname, username, uid = 0, gid = 0, excludes = [], tags = [] }: Snapshot): string {
  return JSON.stringify([time, tree, paths, hostname, username, uid, gid, excludes, tags.toSorted()])
}

class CopyRun {
  readonly #source: Repository
  readonly #target: Repository
  readonly #lock: RepositoryLock
  readonly #options: CopySnapshotsOptions
  readonly #snapshotsTotal: number
  readonly #sourceBudget = new ByteBudget(SOURCE_BYTES_HELD_MAX)
  readonly #readBackBudget = new ByteBudget(READ_BACK_BYTES_HELD_MAX)
  /** Trees of which everything below is in the target, as earlier snapshots of the run have seen to. */
  readonly #treesDone = new Set<BlobId>()
  /** What was stored and not read back yet. */
  #batch: Record<BlobType, BlobId[]> = { data: [], tree: [] }
  #batchBytes = 0
  #snapshotsDone = 0
  #blobsCopied = 0
  #bytesCopied = 0
  #bytesStored = 0

  constructor(source: Repository, target: Repository, lock: RepositoryLock, options: CopySnapshotsOptions, snapshotsTotal: number) {
    this.#source = source
    this.#target = target
    this.#lock = lock
    this.#options = options
    this.#snapshotsTotal = snapshotsTotal
  }

  async copy(snapshots: readonly StoredSnapshot[], known: Map<SnapshotId, StoredSnapshot[]>): Promise<CopyResult> {
    const copied: CopiedSnapshot[] = []
    for (const { id, snapshot } of snapshots) {
      this.#checkpoint()
      const original = snapshot.original ?? id
      const twin = known.get(original)?.find((other) => isSameSnapshot(other.snapshot, snapshot))
      if (twin !== undefined) copied.push({ sourceId: id, targetId: twin.id, copied: false })
      else {
        await this.#copyTrees(snapshot.tree)
        await this.#readBack()
        // The parent means nothing in another repository.
        const { parent: _parent, ...rest } = snapshot
        const targetId = await this.#target.saveSnapshot({ ...rest, original }, this.#lock, this.#options.signal)
        copied.push({ sourceId: id, targetId, copied: true })
      }
      this.#snapshotsDone += 1
      this.#report()
    }
    return { snapshots: copied, blobsCopied: this.#blobsCopied, bytesCopied: this.#bytesCopied, bytesStored: this.#bytesStored }
  }

  #checkpoint(): void {
    throwIfCancelled(this.#options.signal)
    if (this.#lock.lost.aborted) throw this.#lock.lost.reason
  }

  #report(): void {
    this.#options.onProgress?.({
      snapshotsDone: this.#snapshotsDone, snapshotsTotal: this.#snapshotsTotal, bytesCopied: this.#bytesCopied,
    })
  }

  /**
   * Goes through the trees level by level. A tree that the target has is gone into all the same: an
   * interrupted copy may have left it there without what it names.
   */
  async #copyTrees(root: BlobId): Promise<void> {
    const visited: BlobId[] = []
    const missingTrees: BlobId[] = []
    const seen = new Set<BlobId>()
    let level = this.#treesDone.has(root) ? [] : [root]
    while (level.length > 0) {
      const next: BlobId[] = []
      for (let at = 0; at < level.length; at += FETCH_BLOBS) {
        const content = new Set<BlobId>()
        await this.#fetch(this.#source, 'tree', level.slice(at, at + FETCH_BLOBS), this.#sourceBudget, (id, plaintext) => {
          visited.push(id)
          if (!this.#isInTarget('tree', id)) missingTrees.push(id)
          for (const node of decodeTree(plaintext)) {
            for (const blob of node.content ?? []) if (!this.#isInTarget('data', blob)) content.add(blob)
            const { subtree } = node
            if (subtree === undefined || seen.has(subtree) || this.#treesDone.has(subtree)) continue
            seen.add(subtree)
            next.push(subtree)
          }
        })
        await this.#copyBlobs('data', [...content])
      }
      level = next
    }
    // After all the content that they name.
    await this.#copyBlobs('tree', missingTrees)
    for (const id of visited) this.#treesDone.add(id)
  }

  #isInTarget(type: BlobType, id: BlobId): boolean {
    return this.#target.locate(type, id) !== undefined
  }

  async #copyBlobs(type: BlobType, ids: readonly BlobId[]): Promise<void> {
    for (let at = 0; at < ids.length; at += FETCH_BLOBS) {
      await this.#fetch(this.#source, type, ids.slice(at, at + FETCH_BLOBS), this.#sourceBudget, async (id, plaintext) => {
        this.#checkpoint()
        const saved = await this.#target.saveBlob(type, plaintext)
        if (saved.id !== id) throw new Failure('host.unsound', { blobId: id, named: saved.id })
        if (saved.known) return
        this.#batch[type].push(id)
        this.#batchBytes += plaintext.length
        this.#blobsCopied += 1
        this.#bytesCopied += plaintext.length
        this.#bytesStored += saved.packedBytes
        this.#report()
      })
      if (this.#batchBytes >= BATCH_BYTES || this.#batch.data.length + this.#batch.tree.length >= BATCH_BLOBS) await this.#readBack()
    }
  }

  /** Stores what is on its way, and compares everything since the last time with its ids, as the storage gives it. */
  async #readBack(): Promise<void> {
    const batch = this.#batch
    this.#batch = { data: [], tree: [] }
    this.#batchBytes = 0
    await this.#target.flush(this.#lock)
    if (this.#options.readBack === false) return
    for (const type of ['data', 'tree'] as const) {
      for (let at = 0; at < batch[type].length; at += FETCH_BLOBS) {
        // Opening a blob compares its hash with the id; there is nothing more to do with it.
        await this.#fetch(this.#target, type, batch[type].slice(at, at + FETCH_BLOBS), this.#readBackBudget, () => this.#checkpoint())
      }
    }
  }

  async #fetch(
    from: Repository, type: BlobType, ids: readonly BlobId[], budget: ByteBudget, onBlob: (id: BlobId, plaintext: Uint8Array) => void | Promise<void>,
  ): Promise<void> {
    await fetchBlobs(from, type, ids, {
      onBlob,
      onDamage(id, failure) {
        throw new Failure(failure.code, { ...failure.facts, blobId: id, repository: from.location }, { cause: failure })
      },
    }, { budget, signal: this.#options.signal })
  }
}
