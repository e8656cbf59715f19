import type { IndexedPack } from '../format/index-file.ts'
import { INDEX_BLOBS_MAX } from '../repository/pack-writer.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { StoredFiles } from '../repository/stored-files.ts'
import type { IndexFileId, PackId } from '../repository/types.ts'
import type { PlannedIndexFile } from './prune-plan.ts'

interface IndexFile {
  readonly id: IndexFileId
  readonly blobCount: number
  /** Those of its packs that must not stay in the index. */
  readonly leaving: ReadonlySet<PackId>
  /** Whether it names nothing else. */
  readonly leavesWhole: boolean
  readonly repeats: boolean
}

/** Small index files are put together once there are so many; opening a repository reads each of them. */
const SMALL_FILES_MIN = 10
const SMALL_FILE_BLOBS = INDEX_BLOBS_MAX / 10

const isSmall = ({ blobCount }: IndexFile) => blobCount < SMALL_FILE_BLOBS

/**
 * Replaces index files: new ones are stored before old ones are removed, so that at no time a pack
 * that stays is without a name. Knows which files there are, as the plan has seen them and as they
 * have become since.
 */
export class IndexRewriter {
  readonly #storedFiles: StoredFiles
  readonly #lock: RepositoryLock
  readonly #signal: AbortSignal
  readonly #leaving: ReadonlySet<PackId>
  readonly #files = new Map<IndexFileId, IndexFile>()
  readonly #addedPackIds = new Set<PackId>()

  constructor(storedFiles: StoredFiles, lock: RepositoryLock, planned: readonly PlannedIndexFile[], signal: AbortSignal) {
    this.#storedFiles = storedFiles
    this.#lock = lock
    this.#signal = signal
    this.#leaving = new Set(planned.flatMap(({ leavingPackIds }) => leavingPackIds))
    for (const { id, blobCount, leavingPackIds, stayingPackCount, repeats } of planned) {
      this.#files.set(id, { id, blobCount, leaving: new Set(leavingPackIds), leavesWhole: stayingPackCount === 0, repeats })
    }
  }

  /** Which of these packs some index file still names. */
  named(packIds: ReadonlySet<PackId>): Set<PackId> {
    return new Set(this.#files.values().flatMap(({ leaving }) => leaving.intersection(packIds)))
  }

  /** What the index says of packs, as far as it names them. */
  async readPacks(packIds: ReadonlySet<PackId>): Promise<Map<PackId, IndexedPack>> {
    const packs = new Map<PackId, IndexedPack>()
    for (const file of this.#files.values()) {
      if (file.leaving.isDisjointFrom(packIds)) continue
      for (const pack of await this.#storedFiles.readIndexFile(file.id, this.#signal)) if (packIds.has(pack.id)) packs.set(pack.id, pack)
    }
    return packs
  }

  /** Removes the files that name nothing but these packs, which needs no space at all. */
  async dropWhole(packIds: ReadonlySet<PackId>): Promise<void> {
    await this.#replace((file) => file.leavesWhole && file.leaving.isSubsetOf(packIds), packIds)
  }

  /** Makes the index forget packs, and name every other pack once. */
  async forget(packIds: ReadonlySet<PackId>): Promise<void> {
    await this.#replace((file) => file.repeats || !file.leaving.isDisjointFrom(packIds), packIds)
  }

  /** Puts small files together when there are many. */
  async joinSmallFiles(): Promise<void> {
    if (this.#files.values().filter(isSmall).toArray().length >= SMALL_FILES_MIN) await this.#replace(isSmall, new Set())
  }

  /** Names new packs. */
  async add(packs: readonly IndexedPack[]): Promise<void> {
    await this.#save(packs, (packIds) => {
      for (const id of packIds) this.#addedPackIds.add(id)
    })
  }

  /** Whether a new pack has been named. */
  hasAdded(packId: PackId): boolean {
    return this.#addedPackIds.has(packId)
  }

  async #save(packs: Iterable<IndexedPack> | AsyncIterable<IndexedPack>, onSaved?: (packIds: ReadonlySet<PackId>) => void): Promise<void> {
    let collected: IndexedPack[] = []
    let blobCount = 0
    const save = async () => {
      if (collected.length === 0) return
      const packIds = new Set(collected.map(({ id }) => id))
      const id = await this.#storedFiles.saveIndexFile(collected, this.#signal)
      const leaving = packIds.intersection(this.#leaving)
      this.#files.set(id, { id, blobCount, leaving, leavesWhole: leaving.size === packIds.size, repeats: false })
      onSaved?.(packIds)
      collected = []
      blobCount = 0
    }
    for await (const pack of packs) {
      collected.push(pack)
      blobCount += pack.blobs.length
      if (blobCount >= INDEX_BLOBS_MAX) await save()
    }
    await save()
  }

  async #replace(chosen: (file: IndexFile) => boolean, forgotten: ReadonlySet<PackId>): Promise<void> {
    const old = this.#files.values().filter(chosen).toArray()
    await this.#save(this.#staying(old, forgotten))
    await this.#storedFiles.removeIndexFiles(old.map(({ id }) => id), this.#lock, { signal: this.#signal })
    for (const { id } of old) this.#files.delete(id)
  }

  async *#staying(files: readonly IndexFile[], forgotten: ReadonlySet<PackId>): AsyncGenerator<IndexedPack> {
    const seen = new Set<PackId>()
    for (const { id, leaving, leavesWhole } of files) {
      if (leavesWhole && leaving.isSubsetOf(forgotten)) continue
      for (const pack of await this.#storedFiles.readIndexFile(id, this.#signal)) {
        if (forgotten.has(pack.id) || seen.has(pack.id)) continue
        seen.add(pack.id)
        yield pack
      }
    }
  }
}
