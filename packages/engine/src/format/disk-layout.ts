/**
 * How a snapshot holds a disk. Up to 64 GiB it is one file. A longer one is a directory of segments of
 * 1 GiB, each in a directory of its own:
 *
 *     disk.img/segment-0000000/data
 *     disk.img/segment-0000001/data
 *
 * A tree lists the blobs of all files in its directory, and is stored again as a whole when any of them
 * changes. With one file, every backup of a disk of 1 TiB would store a list of a million blobs; with
 * segments only the lists of those that were written to. For the same reason nodes of segments have no
 * times: they depend on the content alone. The disk's own times and attributes are those of the outer
 * directory. The segments one behind the other are the disk: `cat disk.img/segment-???????/data`.
 */
import type { BlobId } from '../repository/types.ts'
import { treeNode, type TreeNode } from './tree.ts'
import { goModeFrom } from './tree-values.ts'

/** The length of every segment but the last. */
export const SEGMENT_BYTES = 1024 ** 3

const ONE_FILE_BYTES_MAX = 64 * SEGMENT_BYTES
const SEGMENT_FILE = Buffer.from('data')
const SEGMENT_NAME = /^segment-(\d{7})$/
const DIGITS = 7
const S_IFDIR = 0o040000
const READ_BITS = 0o444
const NO_TIME = '1970-01-01T00:00:00Z'

/** Whether a disk of so many bytes is kept in segments. */
export function isSegmented(diskBytes: number): boolean {
  return diskBytes > ONE_FILE_BYTES_MAX
}

/** The mode of a directory that everybody may enter who may read a file of these permissions. */
export function enterableMode(permissions: number): number {
  return goModeFrom(S_IFDIR | permissions | ((permissions & READ_BITS) >> 2))
}

type Owner = Pick<TreeNode, 'uid' | 'gid' | 'user' | 'group'>

function ownedNode({ uid, gid, user, group }: Owner, fields: Partial<TreeNode> & Pick<TreeNode, 'name' | 'type'>): TreeNode {
  return treeNode({ uid, gid, user, group, mtime: NO_TIME, atime: NO_TIME, ctime: NO_TIME, ...fields })
}

/** The only node in the directory of a segment. */
export function segmentFile(owner: Owner, permissions: number, bytes: number, content: readonly BlobId[]): TreeNode {
  return ownedNode(owner, { name: SEGMENT_FILE, type: 'file', mode: permissions, links: 1n, size: BigInt(bytes), content })
}

/** The directory of a segment, by its number from 0. */
export function segmentDirectory(owner: Owner, permissions: number, number: number, subtree: BlobId): TreeNode {
  const name = Buffer.from(`segment-${String(number).padStart(DIGITS, '0')}`)
  return ownedNode(owner, { name, type: 'dir', mode: enterableMode(permissions), subtree })
}

/** The trees of a disk's segments in order, or undefined when a directory holds anything else than a disk. */
export function findSegments(nodes: readonly TreeNode[]): BlobId[] | undefined {
  const trees: BlobId[] = []
  for (const { name, type, subtree } of nodes) {
    const number = SEGMENT_NAME.exec(name.toString())?.[1]
    if (type !== 'dir' || subtree === undefined || number === undefined || Number(number) !== trees.length) return undefined
    trees.push(subtree)
  }
  return trees.length === 0 ? undefined : trees
}

/** The file in a segment's directory; undefined when there is anything else. */
export function findSegmentFile(nodes: readonly TreeNode[]): TreeNode | undefined {
  const [file, ...others] = nodes
  const isSegment = file?.type === 'file' && file.name.equals(SEGMENT_FILE) && others.length === 0 && file.size <= BigInt(SEGMENT_BYTES)
  return isSegment ? file : undefined
}
