import { Failure } from '../failure.ts'
import { decodeTree, type TreeNode } from '../format/tree.ts'
import type { BlobId, SnapshotId } from '../repository/types.ts'
import type { BlobSource } from './fetch-blobs.ts'

/** What restoring and checking need of a repository: an index that is loaded, and its snapshots. */
export interface SnapshotReader extends BlobSource {
  findSnapshot(id: SnapshotId): Promise<{ readonly tree: BlobId } | undefined>
}

export interface FoundNode {
  /** Undefined for the root of the snapshot. */
  readonly node: TreeNode | undefined
  /** The tree of a directory; undefined for everything else. */
  readonly treeId: BlobId | undefined
}

/**
 * Finds an absolute path in a snapshot. Throws `snapshot.not_found`, `snapshot.path_not_found`, and
 * `blob.missing`, `blob.damaged` or `repository.damaged` when a directory on the way is broken.
 */
export async function findInSnapshot(repository: SnapshotReader, snapshotId: SnapshotId, path: string): Promise<FoundNode> {
  const snapshot = await repository.findSnapshot(snapshotId)
  if (snapshot === undefined) throw new Failure('snapshot.not_found', { snapshotId })
  let found: FoundNode = { node: undefined, treeId: snapshot.tree }
  for (const part of path.split('/')) {
    if (part === '') continue
    const name = Buffer.from(part)
    const node = found.treeId === undefined ? undefined : (await loadTree(repository, found.treeId)).find((entry) => entry.name.equals(name))
    if (node === undefined) throw new Failure('snapshot.path_not_found', { snapshotId, path })
    found = { node, treeId: node.type === 'dir' ? node.subtree : undefined }
  }
  return found
}

async function loadTree(blobs: BlobSource, id: BlobId): Promise<TreeNode[]> {
  return decodeTree(await blobs.loadBlob('tree', id))
}
