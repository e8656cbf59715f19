import type { IndexedPack } from '../format/index-file.ts'
import { INDEX_BLOBS_MAX } from '../repository/pack-writer.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { StoredFiles } from '../repository/stored-files.ts'
import type { IndexFileId, PackId } from '../repository/types.ts'
import type { AddedIndexFile } from './prune-look.ts'
import type { PlannedIndexFile } from './prune-plan.ts'

interface IndexFile {
  readonly id: IndexFileId
  readonly blobCount: number
  /** Those of its packs that the plan takes out of the index, sooner or later. */
  readonly leaving: ReadonlySet<PackId>
  /** Whether it names nothing else. */
  readonly leavesWhole: boolean
  readonly repeats: boolean
}

/** An exclusive lock, and the signal that ends the work under it. */
export interface Hold {
  readonly lock: RepositoryLock
  readonly signal: AbortSignal
}

/** Small index files are put together once there are so many; opening a repository reads each of them. */
const SMALL_FILES_MIN = 10
const SMALL_FILE_BLOBS = INDEX_BLOBS_MAX / 10

const isSmall = ({ blobCount }: Pick<IndexFile, 'blobCount'>) => blobCount < SMALL_FILE_BLOBS

/** Whether there are so many small files among them that they should be put together. */
export function wantsJoining(files: Iterable<Pick<IndexFile, 'blobCount'>>): boolean {
  return Iterator.from(files).filter(isSmall).toArray().length >= SMALL_FILES_MIN
}

/**
 * Replaces index files: new ones are stored before old ones are removed, so that at no time a pack
 * that stays is without a name. Few at a time, so that no more space is needed than one index file
 * takes. Knows which files there are, as the plan has seen them and as they have become since.
 */
export class IndexRewriter {
  readonly #storedFiles: StoredFiles
  readonly #leaving: ReadonlySet<PackId>
  readonly #files = new Map<IndexFileId, IndexFile>()

  constructor(storedFiles: StoredFiles, planned: readonly PlannedIndexFile[]) {
    this.#storedFiles = storedFiles
    this.#leaving = new Set(planned.flatMap(({ leavingPackIds }) => leavingPackIds))
    for (const { id, blobCount, leavingPackIds, stayingPackCount, repeats } of planned) {
      this.#files.set(id, { id, blobCount, leaving: new Set(leavingPackIds), leavesWhole: stayingPackCount === 0, repeats })
    }
  }

  /** The files that must be there. */
  get ids(): IndexFileId[] {
    return [...this.#files.keys()]
  }

  /** Takes notice of a file that somebody else has stored. */
  learn({ id, blobCount, packIds }: AddedIndexFile): void {
    this.#know(id, blobCount, new Set(packIds))
  }

  /** Which of these packs some index file still names. */
  named(packIds: ReadonlySet<PackId>): Set<PackId> {
    return new Set(this.#files.values().flatMap(({ leaving }) => leaving.intersection(packIds)))
  }

  /** Names new packs. */
  async add(
    packs: readonly IndexedPack[], signal: AbortSignal, usesReserve?: 'partly', onSaved?: (packIds: ReadonlySet<PackId>) => void,
  ): Promise<void> {
    await this.#save(packs, signal, usesReserve, onSaved)
  }

  /** Removes the files that name nothing but these packs, which needs no space at all. */
  async dropWhole(packIds: ReadonlySet<PackId>, hold: Hold): Promise<void> {
    await this.#replace((file) => file.leavesWhole && file.leaving.isSubsetOf(packIds), packIds, hold)
  }

  /** Makes the index forget packs, and name every other pack once. */
  async forget(packIds: ReadonlySet<PackId>, hold: Hold): Promise<void> {
    await this.#replace((file) => file.repeats || !file.leaving.isDisjointFrom(packIds), packIds, hold)
  }

  /** Puts small files together when there are many. */
  async joinSmallFiles(hold: Hold): Promise<void> {
    if (wantsJoining(this.#files.values())) await this.#replace(isSmall, new Set(), hold)
  }

  #know(id: IndexFileId, blobCount: number, packIds: ReadonlySet<PackId>): void {
    const leaving = packIds.intersection(this.#leaving)
    this.#files.set(id, { id, blobCount, leaving, leavesWhole: leaving.size === packIds.size, repeats: false })
  }

  async #save(
    packs: Iterable<IndexedPack> | AsyncIterable<IndexedPack>, signal: AbortSignal, usesReserve: 'partly' | 'wholly' | undefined,
    onSaved?: (packIds: ReadonlySet<PackId>) => void,
  ): Promise<void> {
    let collected: IndexedPack[] = []
    let blobCount = 0
    const save = async () => {
      if (collected.length === 0) return
      const packIds = new Set(collected.map(({ id }) => id))
      const id = await this.#storedFiles.saveIndexFile(collected, signal, usesReserve)
      this.#know(id, blobCount, packIds)
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

  async #replace(chosen: (file: IndexFile) => boolean, forgotten: ReadonlySet<PackId>, { lock, signal }: Hold): Promise<void> {
    const seen = new Set<PackId>()
    for (const group of groupsOf(this.#files.values().filter(chosen).toArray())) {
      await this.#save(this.#staying(group, forgotten, seen, signal), signal, 'wholly')
      await this.#storedFiles.removeIndexFiles(group.map(({ id }) => id), lock, { signal })
      for (const { id } of group) this.#files.delete(id)
    }
  }

  async *#staying(
    files: readonly IndexFile[], forgotten: ReadonlySet<PackId>, seen: Set<PackId>, signal: AbortSignal,
  ): AsyncGenerator<IndexedPack> {
    for (const { id, leaving, leavesWhole } of files) {
      if (leavesWhole && leaving.isSubsetOf(forgotten)) continue
      for (const pack of await this.#storedFiles.readIndexFile(id, signal)) {
        if (forgotten.has(pack.id) || seen.has(pack.id)) continue
        seen.add(pack.id)
        yield pack
      }
    }
  }
}

/** Files that are replaced at once: as many as fill about one. */
function* groupsOf(files: readonly IndexFile[]): Generator<readonly IndexFile[]> {
  let group: IndexFile[] = []
  let blobCount = 0
  for (const file of files) {
    if (group.length > 0 && blobCount + file.blobCount > INDEX_BLOBS_MAX) {
      yield group
      group = []
      blobCount = 0
    }
    group.push(file)
    blobCount += file.blobCount
  }
  if (group.length > 0) yield group
}
