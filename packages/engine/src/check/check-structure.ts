/**
 * Whether snapshots are whole: every directory can be read and every piece of every file is there.
 *
 * Snapshots share most of their directories, so each tree is loaded and judged once, whatever number
 * of snapshots has it. Only when something is wrong are the snapshots walked one by one, to name all
 * of them and every path that is damaged; directories found clean are not entered again.
 */
import { throwIfCancelled } from '../failure.ts'
import { readPlainTree } from '../format/plain-tree.ts'
import { compareNames, type TreeNode } from '../format/tree.ts'
import type { BlobId, SnapshotId } from '../repository/types.ts'
import { ByteBudget } from '../restore/byte-budget.ts'
import { damageOf } from '../restore/damage.ts'
import type { BlobSource } from '../restore/fetch-blobs.ts'
import { assertSafeNames, TreeSource, type LoadedTree } from '../restore/tree-source.ts'
import type { BlobHealthRecord } from './blob-health.ts'
import type { CheckFindingCode, CheckFindings } from './findings.ts'

const BYTES_HELD_MAX = 32 * 1024 * 1024

const RESTORED_TYPES: ReadonlySet<string> = new Set(['file', 'dir', 'symlink', 'dev', 'chardev', 'fifo', 'socket'])

export interface StructureOptions {
  readonly signal?: AbortSignal | undefined
  /** Called after each batch of trees that was judged. */
  readonly onProgress?: ((treesDone: number) => void) | undefined
  /** Told of the content of every file, once for each tree that names it. */
  readonly onContent?: ((content: readonly BlobId[]) => Promise<void>) | undefined
}

export interface SnapshotRoot {
  readonly id: SnapshotId
  readonly tree: BlobId
}

export interface Structure {
  /** Different trees. */
  readonly trees: number
  /** Whether anything at all is wrong below the snapshots. */
  readonly isWhole: boolean
}

/** Judges every tree of some snapshots once; what blobs are worth is asked of the record. */
export async function surveyStructure(
  source: BlobSource, roots: readonly SnapshotRoot[], health: BlobHealthRecord, options: StructureOptions = {},
): Promise<Structure> {
  const trees = openTrees(source, options.signal)
  const seen = new Set<BlobId>(roots.map(({ tree }) => tree))
  let level = [...seen]
  let isWhole = true
  let treesDone = 0
  const plainLengthOf = (id: BlobId) => source.locate('data', id)?.plainLength
  while (level.length > 0) {
    const next: BlobId[] = []
    const enter = (subtree: BlobId): void => {
      if (seen.has(subtree)) return
      seen.add(subtree)
      next.push(subtree)
    }
    const isGood = (bytes: Uint8Array): boolean => {
      // Once something is damaged, the record has to be asked of every blob; and content is told of from nodes.
      const tree = health.hasDamage || options.onContent !== undefined ? undefined : readPlainTree(bytes, plainLengthOf)
      tree?.directories.forEach(({ subtree }) => enter(subtree))
      return tree !== undefined
    }
    for (const slice of trees.slices(level)) {
      for (const tree of (await trees.takeUnsettled(slice, isGood)).values()) {
        throwIfCancelled(options.signal)
        if ('damage' in tree) {
          isWhole = false
          continue
        }
        isWhole &&= problemsOf(tree, health).length === 0
        for (const node of tree.nodes) {
          if (node.content !== null) await options.onContent?.(node.content)
          if (node.type === 'dir' && node.subtree !== undefined) enter(node.subtree)
        }
      }
      throwIfCancelled(options.signal)
      treesDone += slice.length
      options.onProgress?.(treesDone)
    }
    level = next
  }
  return { trees: treesDone, isWhole }
}

/** Walks snapshots to name all that is wrong in them, until the findings are full. */
export async function nameStructureProblems(
  source: BlobSource, roots: readonly SnapshotRoot[], health: BlobHealthRecord, findings: CheckFindings, signal?: AbortSignal,
): Promise<void> {
  const trees = openTrees(source, signal)
  const clean = new Set<BlobId>()

  async function isTreeClean(id: BlobId, snapshotId: SnapshotId, path: string): Promise<boolean> {
    if (clean.has(id)) return true
    if (findings.isFull) return false
    throwIfCancelled(signal)
    const tree = (await trees.take([id])).get(id)
    if (tree === undefined) return true
    const problems = problemsOf(tree, health)
    for (const { code, name, particulars } of problems) {
      findings.add(code, { snapshotId, path: join(path, name) }, particulars)
    }
    let isClean = problems.length === 0
    for (const node of 'nodes' in tree ? tree.nodes : []) {
      if (node.type !== 'dir' || node.subtree === undefined) continue
      if (!(await isTreeClean(node.subtree, snapshotId, join(path, node.name)))) isClean = false
    }
    if (isClean) clean.add(id)
    return isClean
  }

  for (const { id, tree } of roots) await isTreeClean(tree, id, '/')
}

function openTrees(source: BlobSource, signal: AbortSignal | undefined): TreeSource {
  return new TreeSource(source, { budget: new ByteBudget(BYTES_HELD_MAX), signal, keptBytesMax: 0 })
}

function join(path: string, name: Buffer | undefined): string {
  if (name === undefined) return path
  return path === '/' ? `/${name.toString()}` : `${path}/${name.toString()}`
}

interface Problem {
  readonly code: CheckFindingCode
  /** The entry; undefined when it is the directory itself. */
  readonly name: Buffer | undefined
  readonly particulars?: string
}

function problemsOf(tree: LoadedTree, health: BlobHealthRecord): Problem[] {
  if ('damage' in tree) {
    const isMissing = tree.damage.code === 'blob.missing'
    return [{ code: isMissing ? 'directory.missing' : 'directory.damaged', name: undefined }]
  }
  const problems: Problem[] = []
  const nameProblem = nameProblemOf(tree.nodes)
  if (nameProblem !== undefined) problems.push(nameProblem)
  for (const node of tree.nodes) {
    const problem = problemOf(node, health)
    if (problem !== undefined) problems.push(problem)
  }
  return problems
}

function nameProblemOf(nodes: readonly TreeNode[]): Problem | undefined {
  try {
    assertSafeNames(nodes, '')
  } catch (error) {
    const damage = damageOf(error)
    if (damage === undefined) throw error
    return { code: 'directory.malformed', name: undefined, particulars: String(damage.facts['reason'] ?? '') }
  }
  const isOrdered = nodes.every((node, index) => {
    const previous = nodes[index - 1]
    return previous === undefined || compareNames(previous.name, node.name) < 0
  })
  return isOrdered ? undefined : { code: 'directory.unordered', name: undefined }
}

function problemOf(node: TreeNode, health: BlobHealthRecord): Problem | undefined {
  const { name } = node
  if (!RESTORED_TYPES.has(node.type)) return { code: 'entry.unknown_type', name, particulars: node.type }
  if (node.type === 'dir') return node.subtree === undefined ? { code: 'directory.missing', name } : undefined
  if (node.type !== 'file') return undefined
  let bytes = 0
  let damaged = 0
  for (const id of node.content ?? []) {
    const blobHealth = health.healthOf('data', id)
    if (blobHealth === 'missing') return { code: 'file.missing_content', name, particulars: id }
    if (blobHealth === 'damaged') damaged += 1
    bytes += health.plainLengthOf('data', id)
  }
  if (damaged > 0) return { code: 'file.damaged_content', name, particulars: `${damaged} of ${node.content?.length ?? 0} pieces` }
  if (node.content === null) return { code: 'file.missing_content', name }
  if (node.size === BigInt(bytes)) return undefined
  return { code: 'file.size_differs', name, particulars: `${bytes} instead of ${node.size} bytes` }
}
