import { compareNames, decodeTree, type TreeNode } from '../format/tree.ts'
import type { BlobReader, BlobId } from '../repository/types.ts'
import type { TreeWindows } from './tree-windows.ts'

/** Trees of directories further on that are fetched while the walk is still at an earlier one. */
const TREES_AHEAD = 8

/** A directory as the parent snapshot has it. */
export class PreviousTree {
  readonly id: BlobId
  readonly bytes: Uint8Array
  readonly #trees: TreeWindows
  readonly nodes: readonly TreeNode[]
  /** Loads that were begun, by the place of their nodes. */
  readonly #begun = new Map<number, Promise<PreviousTree | undefined>>()
  /** The place behind the node that was found last. */
  #next = 0
  #nextToBegin = 0

  constructor(trees: TreeWindows, id: BlobId, bytes: Uint8Array) {
    this.#trees = trees
    this.id = id
    this.bytes = bytes
    this.nodes = decodeTree(bytes)
  }

  /** The node of a name. Names must be asked for in ascending order. */
  find(name: Buffer): TreeNode | undefined {
    for (let node = this.nodes[this.#next]; node !== undefined; node = this.nodes[this.#next]) {
      const order = compareNames(node.name, name)
      if (order > 0) return undefined
      this.#next += 1
      if (order === 0) return node
    }
    return undefined
  }

  /**
   * The tree of the directory that `find` found last, as `loadPreviousTree` loads it. Those of the next
   * directories are loaded meanwhile, for a storage may be far away.
   */
  async enterFound(): Promise<PreviousTree | undefined> {
    const found = this.#next - 1
    const tree = this.#begun.get(found) ?? loadPreviousTree(this.#trees, this.nodes[found])
    for (const place of this.#begun.keys()) if (place <= found) this.#begun.delete(place)
    this.#nextToBegin = Math.max(this.#nextToBegin, this.#next)
    while (this.#begun.size < TREES_AHEAD && this.#nextToBegin < this.nodes.length) {
      const node = this.nodes[this.#nextToBegin]
      if (node?.type === 'dir') {
        const begun = loadPreviousTree(this.#trees, node)
        // Its failure is told when the walk comes to it, if ever.
        begun.catch(() => undefined)
        this.#begun.set(this.#nextToBegin, begun)
      }
      this.#nextToBegin += 1
    }
    return tree
  }
}

/**
 * The tree of a directory in the parent snapshot, verified; undefined when the parent has none, or
 * when the index has lost it: then everything below is read and stored again. A tree that the index
 * names but that cannot be loaded ends the run instead, for the repository would take it for stored.
 */
export async function loadPreviousTree(trees: TreeWindows, node: TreeNode | undefined): Promise<PreviousTree | undefined> {
  const id = node?.type === 'dir' ? node.subtree : undefined
  const bytes = id === undefined ? undefined : await trees.load(id)
  return id === undefined || bytes === undefined ? undefined : new PreviousTree(trees, id, bytes)
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
