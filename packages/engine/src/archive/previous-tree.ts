import { isId } from '../crypto/ids.ts'
import { compareNames, decodeTreePlaces, encodeTree, type TreeNode } from '../format/tree.ts'
import type { BlobReader, BlobId } from '../repository/types.ts'
import type { TreeWindows } from './tree-windows.ts'

/** Trees of directories further on that are fetched while the walk is still at an earlier one. */
const TREES_AHEAD = 8

const QUOTE = 0x22
const COMMA = 0x2c
const CLOSE_LIST = 0x5d
const CLOSE_OBJECT = 0x7d
const ID_DIGITS = 64

const EMPTY = encodeTree([])
/** How a tree ends whose nodes have begun. */
const END = EMPTY.subarray(EMPTY.indexOf(CLOSE_LIST))
const BEGIN = EMPTY.subarray(0, EMPTY.length - END.length)

const expected = Buffer.alloc(16 * 1024)

/**
 * A directory as the parent snapshot has it. Its nodes are only made when somebody asks for one: most directories have not
 * changed, and that shows in the bytes.
 */
export class PreviousTree {
  readonly id: BlobId
  readonly bytes: Buffer
  readonly #trees: TreeWindows
  #decoded: ReturnType<typeof decodeTreePlaces> | undefined
  /** Loads that were begun, by the place of their nodes. */
  readonly #begun = new Map<number, Promise<PreviousTree | undefined>>()
  /** The place behind the node that was found or taken last, */
  #next = 0
  /** and where its bytes begin, while nothing is decoded. */
  #nextByte: number | undefined
  #nextToBegin = 0

  constructor(trees: TreeWindows, id: BlobId, bytes: Uint8Array) {
    this.#trees = trees
    this.id = id
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    if (this.#hasAt(BEGIN, 0)) this.#nextByte = BEGIN.length
  }

  get nodes(): readonly TreeNode[] {
    this.#decoded ??= decodeTreePlaces(this.bytes)
    return this.#decoded.nodes
  }

  #hasAt(bytes: Uint8Array, at: number, length = bytes.length): boolean {
    return at + length <= this.bytes.length && this.bytes.compare(bytes, 0, length, at, at + length) === 0
  }

  /**
   * Takes the next node if it is a file's that begins with this text and has content that is stored and as long as the
   * file. Gives its place, or undefined. It is asked as `find` is, and costs a fraction of it.
   */
  takeFile(text: string, size: number, reader: BlobReader): number | undefined {
    const start = this.#decoded === undefined ? this.#nextByte : this.#decoded.starts[this.#next]
    // A character may take three bytes.
    if (start === undefined || text.length * 3 > expected.length) return undefined
    const length = expected.write(text)
    if (!this.#hasAt(expected, start, length)) return undefined
    const { bytes } = this
    let contentBytes = 0
    let at = start + length
    while (bytes[at] === QUOTE) {
      const id = bytes.toString('latin1', at + 1, at + 1 + ID_DIGITS)
      if (!isId<BlobId>(id) || bytes[at + 1 + ID_DIGITS] !== QUOTE) return undefined
      const location = reader.locate('data', id)
      if (location === undefined) return undefined
      contentBytes += location.plainLength
      at += ID_DIGITS + 2
      if (bytes[at] !== COMMA) break
      at += 1
    }
    if (bytes[at] !== CLOSE_LIST || bytes[at - 1] === COMMA || bytes[at + 1] !== CLOSE_OBJECT) return undefined
    if (contentBytes !== size) return undefined
    this.#nextByte = bytes[at + 2] === COMMA ? at + 3 : at + 2
    this.#next += 1
    return this.#next - 1
  }

  /** Whether nothing is left, and nothing was passed over: all of so many nodes were taken from the bytes. */
  isWhole(taken: number): boolean {
    return this.#decoded === undefined && this.#next === taken && this.#nextByte === this.bytes.length - END.length && this.#hasAt(END, this.#nextByte)
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
  let blobId: BlobId | undefined
  let blobBytes = 0
  for (const id of content) {
    // The empty part of a disk is one blob thousands of times.
    if (id !== blobId) {
      const location = reader.locate('data', id)
      if (location === undefined) return false
      blobId = id
      blobBytes = location.plainLength
    }
    bytes += blobBytes
  }
  return BigInt(bytes) === size
}
