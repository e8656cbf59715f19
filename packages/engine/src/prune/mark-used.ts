import { Failure, throwIfCancelled } from '../failure.ts'
import { decodeTree } from '../format/tree.ts'
import type { BlobIndex } from '../repository/blob-index.ts'
import type { BlobId, BlobReader, BlobType } from '../repository/types.ts'
import { ByteBudget } from '../restore/byte-budget.ts'
import { fetchBlobs } from '../restore/fetch-blobs.ts'
import type { FetchSource } from '../restore/fetch-blobs.ts'
import type { UsedBlobs } from './used-blobs.ts'

const TREES_PER_FETCH = 256
const BYTES_HELD_MAX = 64 * 1024 * 1024

export interface MarkOptions {
  readonly signal?: AbortSignal | undefined
  readonly onTree?: (() => void) | undefined
  /** Told of every blob that was not marked before. */
  readonly onMarked?: ((type: BlobType, id: BlobId) => void) | undefined
}

/**
 * Marks everything that the given trees lead to. Each tree is read once, however many directories
 * and snapshots share it, and none that is marked already, for so is what it leads to; level by level,
 * so that many trees come with one read. Throws `blob.missing`, `blob.damaged` or `repository.damaged`
 * unless all of it is known: what cannot be read may need anything.
 */
export async function markUsed(
  reader: Pick<BlobReader, 'readPack' | 'openBlob'>, index: BlobIndex, used: UsedBlobs, roots: Iterable<BlobId>, options: MarkOptions = {},
): Promise<void> {
  const { signal, onTree, onMarked } = options
  const mark = (type: BlobType, id: BlobId): boolean => {
    const isNew = used.mark(type, id)
    if (isNew) onMarked?.(type, id)
    return isNew
  }
  const budget = new ByteBudget(BYTES_HELD_MAX)
  const source: FetchSource = {
    locate: (type, id) => index.find(type, id),
    locateAll: (type, id) => index.findAll(type, id),
    readPack: (packId, offset, length) => reader.readPack(packId, offset, length),
    openBlob: (type, id, location, stored) => reader.openBlob(type, id, location, stored),
  }
  let level: BlobId[] = []
  for (const root of roots) if (mark('tree', root)) level.push(root)
  while (level.length > 0) {
    const next: BlobId[] = []
    for (let at = 0; at < level.length; at += TREES_PER_FETCH) {
      throwIfCancelled(signal)
      await fetchBlobs(source, 'tree', level.slice(at, at + TREES_PER_FETCH), {
        onBlob(id, plaintext) {
          for (const { content, subtree } of decode(id, plaintext)) {
            if (content !== null) for (const blob of content) mark('data', blob)
            if (subtree !== undefined && mark('tree', subtree)) next.push(subtree)
          }
          onTree?.()
        },
        onDamage(_id, failure) {
          throw failure
        },
      }, { budget, signal })
    }
    level = next
  }
}

function decode(id: BlobId, plaintext: Uint8Array): ReturnType<typeof decodeTree> {
  try {
    return decodeTree(plaintext)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    throw new Failure(error.code, { ...error.facts, blobId: id }, { cause: error })
  }
}
