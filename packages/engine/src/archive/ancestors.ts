/**
 * The directories from the root of the machine down to what is archived. A snapshot holds them as
 * nodes, each with one entry, so that every path in it is the path on the machine.
 */
import * as fs from 'node:fs'
import { encodeTree, treeNode, type TreeNode } from '../format/tree.ts'
import type { BlobId } from '../repository/types.ts'
import { describe, readAttributes } from '../source/describe.ts'
import { asSourceFailure } from '../source/source-errors.ts'
import { loadPreviousTree, type PreviousTree } from './previous-tree.ts'
import { compareDirectory, type ArchiveRun } from './run.ts'

/** The names on an absolute, normal path; none for the root. */
export function namesOnPath(path: string): string[] {
  return path.split('/').filter((name) => name !== '')
}

export interface PreviousPath {
  /** What the parent has at the path. */
  readonly node: TreeNode | undefined
  /** The trees from the root on, as far as the parent has them. */
  readonly trees: readonly (PreviousTree | undefined)[]
  /** The nodes of the directories on the way. */
  readonly ancestors: readonly (TreeNode | undefined)[]
}

/** Follows a path through the parent snapshot. */
export async function findPreviousPath(run: ArchiveRun, names: readonly string[]): Promise<PreviousPath> {
  const trees: (PreviousTree | undefined)[] = []
  const ancestors: (TreeNode | undefined)[] = []
  let node: TreeNode | undefined
  if (run.parent !== undefined) {
    node = treeNode({ name: Buffer.from('/'), type: 'dir', subtree: run.parent.snapshot.tree })
  }
  for (const name of names) {
    const tree = await loadPreviousTree(run.trees, node)
    trees.push(tree)
    node = tree?.find(Buffer.from(name))
    ancestors.push(node)
  }
  return { node, trees, ancestors: ancestors.slice(0, -1) }
}

/** Wraps the node of what was archived into the trees above it; returns the snapshot's tree. */
export async function saveAncestors(
  run: ArchiveRun, names: readonly string[], leaf: TreeNode, previous: PreviousPath,
): Promise<BlobId> {
  let treeId = await saveTree(run, [leaf], previous.trees[names.length - 1])
  for (let depth = names.length - 1; depth > 0; depth -= 1) {
    const path = `/${names.slice(0, depth).join('/')}`
    const node = { ...describeAncestor(run, path, names[depth - 1] ?? ''), subtree: treeId }
    run.directories[compareDirectory(node, previous.ancestors[depth - 1])] += 1
    treeId = await saveTree(run, [node], previous.trees[depth - 1])
  }
  return treeId
}

/** The node of a directory that leads to what is archived. */
export function describeAncestor(run: ArchiveRun, path: string, name: string): TreeNode {
  try {
    // A symbolic link on the way counts as the directory behind it: in a restore it must be one.
    const stat = fs.statSync(path, { bigint: true })
    const place = Buffer.from(path)
    const extendedAttributes = readAttributes(place, () => run.warnings.add(place, 'attribute.name'))
    return { ...describe(Buffer.from(name), 'dir', stat, run.owners), extendedAttributes }
  } catch (error) {
    throw asSourceFailure(error, path)
  }
}

/** Saves a tree unless it is the very one that the parent had. */
export async function saveTree(run: ArchiveRun, nodes: readonly TreeNode[], previous: PreviousTree | undefined): Promise<BlobId> {
  // A tree of the parent's own nodes is the parent's, also when an older program has written it in another way.
  if (previous !== undefined && nodes.length === previous.nodes.length && nodes.every((node, i) => node === previous.nodes[i])) return previous.id
  const bytes = encodeTree(nodes)
  if (previous !== undefined && bytes.equals(previous.bytes)) return previous.id
  await run.sink.admit(bytes.length)
  return run.sink.save('tree', bytes)
}
