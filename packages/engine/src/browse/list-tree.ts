import type { TreeNode } from '../format/tree.ts'
import type { BlobId, SnapshotId } from '../repository/types.ts'
import { throwIfCancelled } from '../failure.ts'
import { ByteBudget } from '../restore/byte-budget.ts'
import type { BlobSource } from '../restore/fetch-blobs.ts'
import { findInSnapshot, type SnapshotReader } from '../restore/find-in-snapshot.ts'
import { assertSafeNames, TreeSource, type LoadedTree } from '../restore/tree-source.ts'

/** Something in a snapshot. */
export interface SnapshotEntry {
  /** Absolute, in the bytes that the file system had. */
  readonly path: Buffer
  readonly node: TreeNode
}

export interface ListTreeOptions {
  readonly signal?: AbortSignal | undefined
  /** Whether to go into directories below the first; true by default. */
  readonly recursive?: boolean | undefined
}

const BYTES_HELD_MAX = 32 * 1024 * 1024

/**
 * Goes through everything below a path of a snapshot, each directory before what is in it, by the order
 * of the names. A path that is no directory yields itself. Throws `snapshot.not_found`,
 * `snapshot.path_not_found`, and `blob.missing`, `blob.damaged` or `repository.damaged` where a directory
 * cannot be read.
 */
export async function* listTree(
  repository: SnapshotReader, snapshotId: SnapshotId, path: string, options: ListTreeOptions = {},
): AsyncGenerator<SnapshotEntry> {
  const { recursive = true, signal } = options
  const top = await findInSnapshot(repository, snapshotId, path)
  const names = path.split('/').filter((name) => name !== '')
  const topPath = Buffer.from(names.map((name) => `/${name}`).join(''))
  if (top.node !== undefined) yield { path: topPath, node: top.node }
  if (top.treeId === undefined) return
  const trees = new TreeSource(repository, { budget: new ByteBudget(BYTES_HELD_MAX), signal, keptBytesMax: 0 })
  yield* walk(trees, topPath, nodesOf((await trees.take([top.treeId])).get(top.treeId), topPath), recursive, signal)
}

async function* walk(
  trees: TreeSource, path: Buffer, nodes: readonly TreeNode[], recursive: boolean, signal: AbortSignal | undefined,
): AsyncGenerator<SnapshotEntry> {
  const subtrees = nodes.flatMap(({ type, subtree }) => (type === 'dir' && subtree !== undefined ? [subtree] : []))
  // Loaded many at a time, in the order in which they are gone into.
  const slices = trees.slices(new Set(subtrees))
  const seen = new Set<BlobId>()
  let loaded: ReadonlyMap<BlobId, LoadedTree> = new Map()
  for (const node of nodes) {
    throwIfCancelled(signal)
    const entryPath = Buffer.concat([path, Buffer.from('/'), node.name])
    yield { path: entryPath, node }
    if (!recursive || node.type !== 'dir' || node.subtree === undefined) continue
    let tree = loaded.get(node.subtree)
    if (tree === undefined) {
      const isSeen = seen.has(node.subtree)
      // A tree that several entries share was in an earlier slice; for it alone the slices do not go on.
      const ids = isSeen ? [node.subtree] : (slices.next().value ?? [node.subtree])
      const taken = await trees.take(ids)
      for (const id of ids) seen.add(id)
      if (!isSeen) loaded = taken
      tree = taken.get(node.subtree)
    }
    yield* walk(trees, entryPath, nodesOf(tree, entryPath), recursive, signal)
  }
}

function nodesOf(tree: LoadedTree | undefined, path: Buffer): readonly TreeNode[] {
  if (tree === undefined) return []
  if ('damage' in tree) throw tree.damage
  assertSafeNames(tree.nodes, path.toString())
  return tree.nodes
}

/** Pieces of a file that are fetched ahead of the one that is handed out. */
const PIECES_AHEAD = 4

/** The content of a file, piece by piece. Throws `blob.missing` or `blob.damaged`. */
export async function* readContent(
  source: Pick<BlobSource, 'loadBlob'>, node: Pick<TreeNode, 'content'>, signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const rest = (node.content ?? []).values()
  const ahead: Promise<Uint8Array>[] = []
  const fetchNext = (): void => {
    const next = rest.next()
    if (next.done === true) return
    const piece = source.loadBlob('data', next.value)
    // Whoever stops before this piece does not wait for it; its failure is thrown in its turn.
    piece.catch(() => undefined)
    ahead.push(piece)
  }
  for (let count = 0; count < PIECES_AHEAD; count += 1) fetchNext()
  for (let piece = ahead.shift(); piece !== undefined; piece = ahead.shift()) {
    throwIfCancelled(signal)
    fetchNext()
    yield await piece
  }
}
