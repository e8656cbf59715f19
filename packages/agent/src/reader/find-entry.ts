/** From the path that a client names, inside a backup, to what lies there in the snapshot. */
import { chmodBitsFrom, Failure, openContent, type BlobId, type OpenedContent, type SnapshotId, type TreeNode } from '@opencbr/engine'
import { findSnapshotOf } from '../find-snapshot.ts'
import type { BackupPlace, EntryType, FileEntry } from '../reader-protocol.ts'
import type { OpenVault } from './open-vaults.ts'
import { findNode, type TreeCache } from './tree-cache.ts'

export class ReaderFailure extends Error {
  override name = 'ReaderFailure'
  readonly code: 'not_a_directory' | 'not_a_file'
  constructor(code: 'not_a_directory' | 'not_a_file') {
    super(code === 'not_a_directory' ? 'It is not a directory.' : 'It is not a file.')
    this.code = code
  }
}

/** Something in a backup. A directory has a tree; a disk in segments has one too, and is opened as a file. */
export interface Found {
  /** Undefined for the root of a snapshot, and for the folder in which a disk's image shows. */
  readonly node: TreeNode | undefined
  readonly treeId: BlobId | undefined
  /** The names below it are only these, instead of all of its tree. */
  readonly only?: Found | undefined
  readonly isDisk: boolean
}

export async function findEntry(vault: OpenVault, trees: TreeCache, place: BackupPlace, path: readonly Uint8Array[]): Promise<Found> {
  const snapshotId = await findSnapshotOf(vault.repository, place)
  const snapshot = await vault.findSnapshot(snapshotId)
  if (snapshot === undefined) throw new Failure('snapshot.not_found', { snapshotId })
  const source = place.sourcePath.split('/').filter((part) => part !== '').map((part) => Buffer.from(part))
  let found: Found = { node: undefined, treeId: snapshot.tree, isDisk: false }
  for (const name of source) found = await goInto(vault, trees, found, name, snapshotId)
  if (place.isDisk) found = { node: undefined, treeId: undefined, only: { ...found, isDisk: true }, isDisk: false }
  for (const name of path) found = await goInto(vault, trees, found, name, snapshotId)
  return found
}

async function goInto(vault: OpenVault, trees: TreeCache, from: Found, name: Uint8Array, snapshotId: SnapshotId): Promise<Found> {
  if (from.only?.node !== undefined && Buffer.compare(from.only.node.name, name) === 0) return from.only
  const isOpen = from.treeId !== undefined && !from.isDisk
  const node = isOpen && from.treeId !== undefined ? findNode(await trees.load(vault, from.treeId), name) : undefined
  if (node === undefined) throw new Failure('snapshot.path_not_found', { snapshotId })
  return { node, treeId: node.type === 'dir' ? node.subtree : undefined, isDisk: false }
}

/** What is in a directory. */
export async function listFound(vault: OpenVault, trees: TreeCache, found: Found): Promise<readonly TreeNode[]> {
  if (found.only?.node !== undefined) return [found.only.node]
  if (found.isDisk || found.treeId === undefined) throw new ReaderFailure('not_a_directory')
  return trees.load(vault, found.treeId)
}

export async function openFound(vault: OpenVault, found: Found): Promise<OpenedContent | undefined> {
  if (!found.isDisk && found.node?.type !== 'file') return undefined
  return openContent(vault, { node: found.node, treeId: found.treeId })
}

const TYPES: Readonly<Record<string, EntryType>> = {
  file: 'file', dir: 'directory', symlink: 'symlink', fifo: 'fifo', socket: 'socket', dev: 'block_device', chardev: 'character_device',
}

export function describeEntry(node: TreeNode): FileEntry {
  return {
    name: node.name,
    type: TYPES[node.type] ?? 'other',
    size: node.type === 'file' ? Number(node.size) : undefined,
    mode: chmodBitsFrom(node.mode),
    mtime: node.mtime,
    uid: node.uid,
    gid: node.gid,
    user: node.user,
    group: node.group,
    linkTarget: node.type === 'symlink' ? node.linkTarget : undefined,
  }
}
