/**
 * What is known of a repository while it is pruned: its index, what is needed of it, and which index
 * files and snapshots that knowledge comes from. It only ever learns what has been added, so a second
 * look costs as much as was added since the first.
 */
import { Failure } from '../failure.ts'
import { BlobIndex } from '../repository/blob-index.ts'
import type { Repository } from '../repository/repository.ts'
import type { BlobId, BlobType, IndexFileId, PackId, SnapshotId } from '../repository/types.ts'
import { forEachOf } from '../repository/for-each-of.ts'
import { markUsed } from './mark-used.ts'
import { UsedBlobs } from './used-blobs.ts'

const CALLS_AT_ONCE = 6

/** An index file that has been added. */
export interface AddedIndexFile {
  readonly id: IndexFileId
  readonly blobCount: number
  readonly packIds: readonly PackId[]
}

export class PruneLook {
  readonly index: BlobIndex
  readonly #used: UsedBlobs
  readonly #indexFiles: Set<IndexFileId>
  readonly #snapshots: Set<SnapshotId>

  constructor(index: BlobIndex, used: UsedBlobs, indexFiles: Iterable<IndexFileId>, snapshots: Iterable<SnapshotId>) {
    this.index = index
    this.#used = used
    this.#indexFiles = new Set(indexFiles)
    this.#snapshots = new Set(snapshots)
  }

  /** Knows index files, but not what the snapshots need: of new ones it will have to see everything. */
  static async ofIndex(
    repository: Repository, indexFiles: readonly IndexFileId[], snapshots: readonly SnapshotId[], signal: AbortSignal | undefined,
  ): Promise<PruneLook> {
    const index = new BlobIndex()
    await forEachOf(indexFiles, CALLS_AT_ONCE, async (id) => {
      for (const pack of await repository.storedFiles.readIndexFile(id, signal)) index.addPack(pack)
    })
    return new PruneLook(index, new UsedBlobs(index), indexFiles, snapshots)
  }

  /** Learns an index file; what it names may be new, or known from another one. */
  async addIndexFile(repository: Repository, id: IndexFileId, signal: AbortSignal | undefined): Promise<AddedIndexFile> {
    const packs = await repository.storedFiles.readIndexFile(id, signal)
    for (const pack of packs) this.index.addPack(pack)
    for (const packId of this.index.splitPackIds) throw new Failure('repository.changed', { packId, reason: 'the index names the pack piecemeal' })
    this.#indexFiles.add(id)
    return { id, blobCount: packs.reduce((count, { blobs }) => count + blobs.length, 0), packIds: packs.map((pack) => pack.id) }
  }

  knowsIndexFile(id: IndexFileId): boolean {
    return this.#indexFiles.has(id)
  }

  /** Marks what snapshots need that it does not know yet. Throws as `markUsed` does. */
  async addSnapshots(
    repository: Repository, ids: Iterable<SnapshotId>, onMarked: (type: BlobType, id: BlobId) => void, signal: AbortSignal | undefined,
  ): Promise<void> {
    const unknown = new Set(ids).difference(this.#snapshots)
    const roots: BlobId[] = []
    for (const id of unknown) {
      const snapshot = await repository.findSnapshot(id, signal)
      // One that vanished since the listing was forgotten meanwhile.
      if (snapshot !== undefined) roots.push(snapshot.tree)
    }
    await markUsed(repository, this.index, this.#used, roots, { signal, onMarked })
    for (const id of unknown) this.#snapshots.add(id)
  }

  /** A plan is written down without it. */
  toJSON(): undefined {
    return undefined
  }
}
