import { Failure } from '../failure.ts'
import { compareNames, decodeTree, type TreeNode } from '../format/tree.ts'
import type { BlobReader, BlobId } from '../repository/types.ts'

/** A directory as the parent snapshot has it. */
export class PreviousTree {
  readonly id: BlobId
  readonly bytes: Uint8Array
  readonly #nodes: readonly TreeNode[]
  #next = 0

  constructor(id: BlobId, bytes: Uint8Array) {
    this.id = id
    this.bytes = bytes
    this.#nodes = decodeTree(bytes)
  }

  /** The node of a name. Names must be asked for in ascending order. */
  find(name: Buffer): TreeNode | undefined {
    for (let node = this.#nodes[this.#next]; node !== undefined; node = this.#nodes[this.#next]) {
      const order = compareNames(node.name, name)
      if (order > 0) return undefined
      this.#next += 1
      if (order === 0) return node
    }
    return undefined
  }
}

/**
 * The tree of a directory in the parent snapshot, verified; undefined when the parent has none, or
 * when the repository has lost it: then everything below is read and stored again. A tree that is
 * damaged in place ends the run instead, for the repository would take it for stored.
 */
export async function loadPreviousTree(reader: BlobReader, node: TreeNode | undefined): Promise<PreviousTree | undefined> {
  const id = node?.type === 'dir' ? node.subtree : undefined
  if (id === undefined) return undefined
  try {
    return new PreviousTree(id, await reader.loadBlob('tree', id))
  } catch (error) {
    if (error instanceof Failure && error.code === 'blob.missing') return undefined
    throw error
  }
}

/** Whether the index names every blob of a file's content, and they are as long together as the file. */
export function isStored(reader: BlobReader, content: readonly BlobId[], size: bigint): boolean {
  let bytes = 0
  for (const id of content) {
    const location = reader.locate('data', id)
    if (location === undefined) return false
    bytes += location.plainLength
  }
  return BigInt(bytes) === size
}
