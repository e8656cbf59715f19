import { isUtf8 } from 'node:buffer'
import type { BigIntStats } from 'node:fs'
import { treeNode, type ExtendedAttribute, type NodeType, type TreeNode } from '../format/tree.ts'
import { encodeJsonString, encodeLatin1Name } from '../format/tree-text.ts'
import { formatTimeParts, formatTreeTime, goModeFrom } from '../format/tree-values.ts'
import {
  findXattr, listXattrs, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, type FileReference, type FileStatus,
  type OwnerNames,
} from '../posix/posix.ts'

const KINDS: ReadonlyMap<number, NodeType> = new Map([
  [S_IFREG, 'file'], [S_IFDIR, 'dir'], [S_IFLNK, 'symlink'], [S_IFIFO, 'fifo'],
  [S_IFBLK, 'dev'], [S_IFCHR, 'chardev'], [S_IFSOCK, 'socket'],
])

/** The kind of a file from its `st_mode`; undefined for one that Linux does not have. */
export function kindOf(statMode: bigint | number): NodeType | undefined {
  return KINDS.get(Number(statMode) & S_IFMT)
}

/** The node for what `stat` says of a file: everything but content, link target and extended attributes. */
export function describe(name: Buffer, kind: NodeType, stat: BigIntStats, owners: OwnerNames): TreeNode {
  const uid = Number(stat.uid)
  const gid = Number(stat.gid)
  const mtime = formatTreeTime(stat.mtimeNs)
  const isDevice = kind === 'dev' || kind === 'chardev'
  return treeNode({
    name,
    type: kind,
    mode: goModeFrom(Number(stat.mode)),
    mtime,
    // Reading changes access times, so they would make every backup differ.
    atime: mtime,
    ctime: formatTreeTime(stat.ctimeNs),
    uid,
    gid,
    user: owners.userName(uid),
    group: owners.groupName(gid),
    inode: unsigned(stat.ino),
    // Only hard links need it, and it may change whenever the machine starts.
    deviceId: kind !== 'dir' && stat.nlink > 1n ? unsigned(stat.dev) : 0n,
    links: kind === 'dir' || kind === 'fifo' ? 0n : unsigned(stat.nlink),
    device: isDevice ? unsigned(stat.rdev) : 0n,
  })
}

/** The same for a regular file with one name. */
export function describeFile(name: Buffer, status: FileStatus, owners: OwnerNames): TreeNode {
  const { mode, uid, gid, inode } = status
  const mtime = formatTimeParts(status.mtimeSeconds, status.mtimeNanoseconds)
  return treeNode({
    name,
    type: 'file',
    mode: goModeFrom(mode),
    mtime,
    atime: mtime,
    ctime: formatTimeParts(status.ctimeSeconds, status.ctimeNanoseconds),
    uid,
    gid,
    user: owners.userName(uid),
    group: owners.groupName(gid),
    inode: BigInt(inode),
    links: 1n,
  })
}

/** Whether a regular file's node says of it just what `describe` would, of a size and inode that are known to be right. */
export function isDescribedBy(node: TreeNode, stat: BigIntStats, owners: OwnerNames): boolean {
  const uid = Number(stat.uid)
  const gid = Number(stat.gid)
  return (
    node.mtime === formatTreeTime(stat.mtimeNs) && node.ctime === formatTreeTime(stat.ctimeNs) && node.atime === node.mtime &&
    node.uid === uid && node.gid === gid && node.mode === goModeFrom(Number(stat.mode)) &&
    node.links === unsigned(stat.nlink) && node.deviceId === (stat.nlink > 1n ? unsigned(stat.dev) : 0n) &&
    node.user === owners.userName(uid) && node.group === owners.groupName(gid) &&
    node.error === '' && node.device === 0n && node.subtree === undefined && node.linkTarget.length === 0 && node.genericAttributes.size === 0
  )
}

let lastOwner = { uid: -1, gid: -1, mode: -1, names: undefined as OwnerNames | undefined, type: '', ids: '' }

/**
 * How `encodeTree` begins the node that `describe` makes of a regular file without extended attributes, up to its content.
 * Undefined for a file of another kind, and for one with several names.
 */
export function textOfFile(latin1Name: string, status: FileStatus, owners: OwnerNames): string | undefined {
  const { mode, links, uid, gid, inode, size } = status
  if ((mode & S_IFMT) !== S_IFREG || links !== 1) return undefined
  // Neighbours mostly have these in common.
  if (lastOwner.uid !== uid || lastOwner.gid !== gid || lastOwner.mode !== mode || lastOwner.names !== owners) {
    const goMode = goModeFrom(mode)
    const [user, group] = [owners.userName(uid), owners.groupName(gid)]
    const type = `,"type":"file"${goMode === 0 ? '' : `,"mode":${goMode}`},"mtime":"`
    const ids = `","uid":${uid},"gid":${gid}${user === '' ? '' : `,"user":${encodeJsonString(user)}`}${group === '' ? '' : `,"group":${encodeJsonString(group)}`}`
    lastOwner = { uid, gid, mode, names: owners, type, ids }
  }
  const mtime = formatTimeParts(status.mtimeSeconds, status.mtimeNanoseconds)
  const ctime = formatTimeParts(status.ctimeSeconds, status.ctimeNanoseconds)
  const numbers = `${inode === 0 ? '' : `,"inode":${inode}`}${size === 0 ? '' : `,"size":${size}`},"links":1,"content":[`
  return `{"name":${encodeLatin1Name(latin1Name)}${lastOwner.type}${mtime}","atime":"${mtime}","ctime":"${ctime}${lastOwner.ids}${numbers}`
}

/** Node hands out the kernel's unsigned numbers as signed ones. */
function unsigned(number: bigint): bigint {
  return BigInt.asUintN(64, number)
}

const NONE: readonly ExtendedAttribute[] = []

/**
 * The extended attributes of a file, in the kernel's order; access control lists are among them.
 * Calls back for a name that a tree cannot hold, which is left out.
 */
export function readAttributes(file: FileReference, onUnfitName: () => void): readonly ExtendedAttribute[] {
  const names = listXattrs(file)
  if (names.length === 0) return NONE
  const attributes: ExtendedAttribute[] = []
  for (const name of names) {
    if (!isUtf8(name)) {
      onUnfitName()
      continue
    }
    const value = findXattr(file, name)
    // It was removed since it was listed.
    if (value !== undefined) attributes.push({ name: name.toString(), value })
  }
  return attributes
}
