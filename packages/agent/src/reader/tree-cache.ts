/** Directories that were looked into lately, decoded and in order. A tree never changes: its id is its content. */
import { compareNames, decodeTree, Failure, type BlobId, type TreeNode } from '@opencbr/engine'
import type { OpenVault } from './open-vaults.ts'

/** Of stored text; decoded it takes several times as much. */
const CACHED_BYTES_MAX = 32 * 1024 * 1024

export class TreeCache {
  readonly #trees = new Map<string, { readonly nodes: readonly TreeNode[], readonly bytes: number }>()
  #bytes = 0

  /** The entries by name, in the order of their bytes. */
  async load(vault: OpenVault, id: BlobId): Promise<readonly TreeNode[]> {
    // Two vaults may hold the same directory, but nothing of one is answered from the other.
    const key = `${vault.repository.id}/${id}`
    const known = this.#trees.get(key)
    if (known !== undefined) {
      this.#trees.delete(key)
      this.#trees.set(key, known)
      return known.nodes
    }
    const text = await vault.loadBlob('tree', id)
    const nodes = inOrder(decodeTree(text))
    this.#keep(key, nodes, text.length)
    return nodes
  }

  #keep(key: string, nodes: readonly TreeNode[], bytes: number): void {
    if (bytes > CACHED_BYTES_MAX || this.#trees.has(key)) return
    this.#trees.set(key, { nodes, bytes })
    this.#bytes += bytes
    for (const [oldest, tree] of this.#trees) {
      if (this.#bytes <= CACHED_BYTES_MAX) break
      this.#trees.delete(oldest)
      this.#bytes -= tree.bytes
    }
  }
}

/** Throws when a name leads out of its directory: no archiver writes such a tree, so whoever did wants something. */
function inOrder(nodes: readonly TreeNode[]): readonly TreeNode[] {
  let isOrdered = true
  let previous: Buffer | undefined
  for (const { name } of nodes) {
    const text = name.toString('latin1')
    if (text === '' || text === '.' || text === '..' || text.includes('/') || text.includes('\0')) {
      throw new Failure('repository.damaged', { reason: 'The repository holds a file name that is not one.' })
    }
    if (previous !== undefined && compareNames(previous, name) >= 0) isOrdered = false
    previous = name
  }
  return isOrdered ? nodes : nodes.toSorted((a, b) => compareNames(a.name, b.name))
}

/** The place of the first entry whose name is not below a name. */
export function findPlace(nodes: readonly TreeNode[], name: Uint8Array): number {
  let [from, to] = [0, nodes.length]
  while (from < to) {
    const middle = (from + to) >> 1
    const node = nodes[middle]
    if (node !== undefined && compareNames(node.name, name) < 0) from = middle + 1
    else to = middle
  }
  return from
}

export function findNode(nodes: readonly TreeNode[], name: Uint8Array): TreeNode | undefined {
  const node = nodes[findPlace(nodes, name)]
  return node !== undefined && compareNames(node.name, name) === 0 ? node : undefined
}
