/**
 * Archives several directories into one snapshot, as one run: what they share is read once, and they stand
 * or fall together. Each is walked as `archiveTree` walks its one, in the order of their names; then the
 * directories above them are written, from the bottom up, each with nothing in it but what leads to them.
 */
import { isAbsolute, resolve } from 'node:path'
import { Failure } from '../failure.ts'
import { compareNames, treeNode, type TreeNode } from '../format/tree.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { Repository } from '../repository/repository.ts'
import type { BlobId } from '../repository/types.ts'
import { describeAncestor, namesOnPath, saveTree } from './ancestors.ts'
import { archiveDirectory } from './archive-tree.ts'
import type { ArchiveOptions, ArchiveResult } from './archive-result.ts'
import { loadPreviousTree, type PreviousTree } from './previous-tree.ts'
import { compareDirectory, runArchive, type ArchiveRun } from './run.ts'

export interface ArchivedDirectory {
  /** Absolute. */
  readonly path: string
  /** Lines of a `.gitignore` in this directory; see `archiveTree`. */
  readonly excludes?: readonly string[] | undefined
}

export interface ArchiveTreesOptions extends Omit<ArchiveOptions, 'path'> {
  /** At least one. One that lies in another one is a part of it, with the other's excludes. */
  readonly directories: readonly ArchivedDirectory[]
}

/**
 * Backs up directories with everything below them. One that cannot be opened is missing in the snapshot,
 * and a warning tells of it; throws `source.missing`, `source.wrong_kind` or `source.unreadable` when
 * that is true of all.
 */
export function archiveTrees(repository: Repository, lock: RepositoryLock, options: ArchiveTreesOptions): Promise<ArchiveResult> {
  const directories = outermost(options.directories)
  const paths = directories.map(({ path }) => path)
  const [first] = paths
  if (first === undefined) throw new Failure('source.missing', { reason: 'there is no directory to archive' })
  return runArchive(repository, lock, { ...options, path: first, paths }, async (run) => {
    run.bytesTotal = run.parent?.snapshot.summary?.total_bytes_processed
    const top = run.parent === undefined ? undefined : treeNode({ name: Buffer.from('/'), type: 'dir', subtree: run.parent.snapshot.tree })
    const walk = new Roots(run)
    const treeId = await walk.save(branchOf(directories), '', top)
    if (walk.archived === 0) throw walk.failures[0] ?? new Failure('source.missing', { path: first })
    return run.commit(treeId)
  })
}

/** Normal paths, each once, without those that lie in others. */
function outermost(directories: readonly ArchivedDirectory[]): ArchivedDirectory[] {
  for (const { path } of directories) {
    if (!isAbsolute(path)) throw new Failure('source.wrong_kind', { path, reason: 'the path is not absolute' })
  }
  const byPath = new Map(directories.map((directory) => [resolve(directory.path), directory]))
  const isInside = (path: string): boolean => [...byPath.keys()].some((other) => other !== path && path.startsWith(other === '/' ? '/' : `${other}/`))
  return [...byPath].filter(([path]) => !isInside(path)).map(([path, directory]) => ({ ...directory, path }))
}

/** A directory on the way, or one that is archived: then there is nothing below it here. */
interface Branch {
  readonly directory: ArchivedDirectory | undefined
  /** By name. */
  readonly children: ReadonlyMap<string, Branch>
}

function branchOf(directories: readonly ArchivedDirectory[], depth = 0): Branch {
  const ending = directories.find(({ path }) => namesOnPath(path).length === depth)
  if (ending !== undefined) return { directory: ending, children: new Map() }
  const byName = Map.groupBy(directories, ({ path }) => namesOnPath(path)[depth] ?? '')
  return { directory: undefined, children: new Map(Array.from(byName, ([name, inside]) => [name, branchOf(inside, depth + 1)])) }
}

class Roots {
  archived = 0
  /** Of directories that could not be archived. */
  readonly failures: Failure[] = []
  readonly #run: ArchiveRun

  constructor(run: ArchiveRun) {
    this.#run = run
  }

  /** Archives what is at and below a branch; answers its tree. */
  async save(branch: Branch, path: string, previousNode: TreeNode | undefined): Promise<BlobId> {
    if (branch.directory !== undefined) {
      const node = await this.#archive(branch.directory, previousNode)
      return node?.subtree ?? saveTree(this.#run, [], undefined)
    }
    const previous = await loadPreviousTree(this.#run.trees, previousNode)
    const nodes: TreeNode[] = []
    const names = [...branch.children.keys()].map((name) => Buffer.from(name)).sort(compareNames)
    for (const name of names) {
      const child = branch.children.get(name.toString())
      const node = child === undefined ? undefined : await this.#node(child, `${path}/${name.toString()}`, name.toString(), previous)
      if (node !== undefined) nodes.push(node)
    }
    return saveTree(this.#run, nodes, previous)
  }

  async #node(branch: Branch, path: string, name: string, previous: PreviousTree | undefined): Promise<TreeNode | undefined> {
    const previousNode = previous?.find(Buffer.from(name))
    if (branch.directory !== undefined) return this.#archive(branch.directory, previousNode)
    const archivedBefore = this.archived
    const subtree = await this.save(branch, path, previousNode)
    // Nothing below it could be archived, so that it may not even be there.
    if (this.archived === archivedBefore) return undefined
    const node = { ...describeAncestor(this.#run, path, name), subtree }
    this.#run.directories[compareDirectory(node, previousNode)] += 1
    return node
  }

  async #archive(directory: ArchivedDirectory, previousNode: TreeNode | undefined): Promise<TreeNode | undefined> {
    try {
      const node = await archiveDirectory(this.#run, { path: directory.path, excludes: directory.excludes ?? [] }, previousNode)
      this.archived += 1
      return node
    } catch (error) {
      if (!(error instanceof Failure) || !error.code.startsWith('source.')) throw error
      this.failures.push(error)
      this.#run.warnings.add(Buffer.from(directory.path), 'unreadable', error.message)
      return undefined
    }
  }
}
