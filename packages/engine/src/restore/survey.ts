/**
 * The first pass of a restore over the trees: it learns how much there is to do, finds the files that
 * have several names, and refuses a hostile tree before anything is written. It goes level by level,
 * so that the trees of many directories come with one read, and looks at a tree that several
 * directories share only once a level: trees can name each other so often that the directories could
 * never be counted one by one.
 */
import { Failure } from '../failure.ts'
import type { TreeNode } from '../format/tree.ts'
import type { BlobId } from '../repository/types.ts'
import { assertSafeNames, type TreeSource } from './tree-source.ts'

/** Deeper than any path that Linux can name in one piece, by far. */
const DEPTH_MAX = 8192

export interface Survey {
  readonly files: number
  /** Content of all regular files, in bytes; a file of several names counts once. */
  readonly bytes: number
  /** Paths, relative to the top and each by its names, of what has several of them; by `linkKeyOf`. */
  readonly linkGroups: ReadonlyMap<string, readonly (readonly Buffer[])[]>
}

interface Place {
  /** How many directories of this level have this tree. */
  count: number
  /** The names that lead to the first of them. */
  readonly names: readonly Buffer[]
}

/** Throws `repository.damaged` for names that no archiver writes. Damaged trees are passed over. */
export async function surveyTree(source: TreeSource, top: BlobId): Promise<Survey> {
  let files = 0
  let bytes = 0
  const groups = new Map<string, (readonly Buffer[])[]>()
  let level = new Map<BlobId, Place>([[top, { count: 1, names: [] }]])
  for (let depth = 0; level.size > 0; depth += 1) {
    if (depth > DEPTH_MAX) throw new Failure('repository.damaged', { reason: `Directories lie more than ${DEPTH_MAX} deep.` })
    const next = new Map<BlobId, Place>()
    for (const slice of source.slices(level.keys())) {
      const trees = await source.loadAndKeep(slice)
      for (const [id, tree] of trees) {
        const place = level.get(id)
        if (place === undefined || 'damage' in tree) continue
        const { plain } = tree
        if (plain?.hasLinks === false) {
          files += place.count * plain.files
          bytes += place.count * plain.bytes
          for (const { name, subtree } of plain.directories) addPlace(next, subtree, place, Buffer.from(name, 'latin1'))
          continue
        }
        const { nodes } = tree
        assertSafeNames(nodes, place.names.map(String).join('/'))
        for (const node of nodes) {
          if (node.type === 'dir') {
            if (node.subtree !== undefined) addPlace(next, node.subtree, place, node.name)
            continue
          }
          if (node.type === 'file') files += place.count
          const key = linkKeyOf(node)
          const group = key === undefined ? undefined : groups.get(key)
          if (key !== undefined && place.count === 1) {
            if (group === undefined) groups.set(key, [[...place.names, node.name]])
            else group.push([...place.names, node.name])
          }
          if (node.type === 'file' && group === undefined) bytes += place.count * Number(node.size)
        }
      }
    }
    level = next
  }
  for (const [key, paths] of groups) if (paths.length < 2) groups.delete(key)
  return { files, bytes, linkGroups: groups }
}

function addPlace(level: Map<BlobId, Place>, tree: BlobId, above: Place, name: Buffer): void {
  const known = level.get(tree)
  if (known === undefined) level.set(tree, { count: above.count, names: [...above.names, name] })
  else known.count += above.count
}

/** What all names of one file have in common; undefined for what has only one name. */
export function linkKeyOf(node: TreeNode): string | undefined {
  if (node.links <= 1n || node.inode === 0n || node.type === 'dir') return undefined
  return `${node.type} ${node.deviceId} ${node.inode}`
}
