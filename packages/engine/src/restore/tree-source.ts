import { Failure } from '../failure.ts'
import { readPlainTree, type PlainTree } from '../format/plain-tree.ts'
import { compareNames, decodeTree, type TreeNode } from '../format/tree.ts'
import type { BlobId } from '../repository/types.ts'
import type { ByteBudget } from './byte-budget.ts'
import { damageOf } from './damage.ts'
import { fetchBlobs, type BlobSource } from './fetch-blobs.ts'

/** The entries of a directory, or why they cannot be had; and what is known of an ordinary one without them. */
export type LoadedTree = { readonly nodes: readonly TreeNode[], readonly plain?: PlainTree | undefined } | { readonly damage: Failure }

/** Makes its nodes when they are asked for: there is no damage in what could be read as plain. */
class UndecodedTree {
  readonly plain: PlainTree
  readonly #bytes: Uint8Array

  constructor(plain: PlainTree, bytes: Uint8Array) {
    this.plain = plain
    this.#bytes = bytes
  }

  get nodes(): readonly TreeNode[] {
    return decodeTree(this.#bytes)
  }
}

const SLICE_BYTES_MAX = 8 * 1024 * 1024
const SLICE_TREES_MAX = 256

export interface TreeSourceOptions {
  readonly budget: ByteBudget
  readonly signal?: AbortSignal | undefined
  /** Plaintext bytes of trees that are kept until they are asked for a second time. */
  readonly keptBytesMax: number
}

/** Loads trees many at a time, and keeps some for the second pass of a reader that goes twice. */
export class TreeSource {
  readonly #blobs: BlobSource
  readonly #options: TreeSourceOptions
  readonly #kept = new Map<BlobId, LoadedTree>()
  #keptBytes = 0

  constructor(blobs: BlobSource, options: TreeSourceOptions) {
    this.#blobs = blobs
    this.#options = options
  }

  /** Divides ids into slices whose trees can well be held at once; at least one tree is in each. */
  *slices(ids: Iterable<BlobId>, bytesMax = SLICE_BYTES_MAX): Generator<BlobId[]> {
    let slice: BlobId[] = []
    let bytes = 0
    for (const id of ids) {
      const length = this.#lengthOf(id)
      if (slice.length > 0 && (bytes + length > bytesMax || slice.length >= SLICE_TREES_MAX)) {
        yield slice
        slice = []
        bytes = 0
      }
      slice.push(id)
      bytes += length
    }
    if (slice.length > 0) yield slice
  }

  /** Loads trees and keeps them for `take`, as far as there is room. */
  async loadAndKeep(ids: readonly BlobId[]): Promise<Map<BlobId, LoadedTree>> {
    const trees = await this.#load(ids, (plaintext) => {
      const plain = readPlainTree(plaintext)
      return plain === undefined ? decode(plaintext) : new UndecodedTree(plain, plaintext)
    })
    for (const [id, tree] of trees) {
      const length = this.#lengthOf(id)
      if (this.#kept.has(id) || this.#keptBytes + length > this.#options.keptBytesMax) continue
      this.#kept.set(id, tree)
      this.#keptBytes += length
    }
    return trees
  }

  /** Loads trees, and lets go of those that were kept. */
  async take(ids: readonly BlobId[]): Promise<Map<BlobId, LoadedTree>> {
    const taken = new Map<BlobId, LoadedTree>()
    for (const id of ids) {
      const kept = this.#kept.get(id)
      if (kept === undefined) continue
      taken.set(id, kept)
      this.#kept.delete(id)
      this.#keptBytes -= this.#lengthOf(id)
    }
    const missing = ids.filter((id) => !taken.has(id))
    if (missing.length > 0) for (const [id, tree] of await this.#load(missing)) taken.set(id, tree)
    return taken
  }

  /** Loads trees, and gives those that are not settled by a look at their bytes. */
  takeUnsettled(ids: readonly BlobId[], isSettled: (bytes: Uint8Array) => boolean): Promise<Map<BlobId, LoadedTree>> {
    return this.#load(ids, (plaintext) => (isSettled(plaintext) ? undefined : decode(plaintext)))
  }

  async #load(ids: readonly BlobId[], read: (plaintext: Uint8Array) => LoadedTree | undefined = decode): Promise<Map<BlobId, LoadedTree>> {
    const trees = new Map<BlobId, LoadedTree>()
    await fetchBlobs(this.#blobs, 'tree', ids, {
      onBlob: (id, plaintext) => {
        const tree = read(plaintext)
        if (tree !== undefined) trees.set(id, tree)
      },
      onDamage: (id, damage) => void trees.set(id, { damage }),
    }, this.#options)
    return trees
  }

  #lengthOf(id: BlobId): number {
    return this.#blobs.locate('tree', id)?.plainLength ?? 0
  }
}

function decode(plaintext: Uint8Array): LoadedTree {
  try {
    return { nodes: decodeTree(plaintext) }
  } catch (error) {
    const damage = damageOf(error)
    if (damage === undefined) throw error
    return { damage }
  }
}

const DOT = '.'.charCodeAt(0)
const SLASH = '/'.charCodeAt(0)

/**
 * Throws `repository.damaged` naming the path when a directory has an entry whose name leads out of
 * it, or two of one name. No archiver writes such a tree, so whoever did wants something.
 */
export function assertSafeNames(nodes: readonly TreeNode[], path: string): void {
  const seen = new Set<string>()
  let previous: Buffer | undefined
  for (const { name } of nodes) {
    const isSafe = name.length > 0 && !isDots(name) && !name.includes(SLASH) && !name.includes(0)
    if (!isSafe) throw unsafe(path, name, 'The repository holds a file name that is not one.')
    // Trees are in order of their names, in which a name twice is seen at once; the set serves the others.
    const isInOrder = previous === undefined || compareNames(previous, name) < 0
    if (!isInOrder && seen.size === 0) for (const node of nodes) {
      const key = node.name.toString('latin1')
      if (seen.has(key)) throw unsafe(path, node.name, 'The repository holds two entries of one name in a directory.')
      seen.add(key)
    }
    previous = name
  }
}

function isDots(name: Buffer): boolean {
  return name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT))
}

function unsafe(path: string, name: Buffer, reason: string): Failure {
  return new Failure('repository.damaged', { path: path === '' ? name.toString() : `${path}/${name.toString()}`, reason })
}
