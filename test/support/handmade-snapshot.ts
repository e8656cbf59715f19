/**
 * Snapshots whose trees are written by hand, letter by letter, so that they can hold what no archiver
 * would ever write.
 */
import { initRepository, openRepository, type BlobId, type Repository, type SnapshotId } from '@opencbr/engine'
import { memoryStorage } from '@opencbr/storage'

const PASSWORD = 'only for tests'
const CHEAP_KDF = { N: 1024, r: 8, p: 1 }

/** A new repository in memory, ready to be written to. */
export async function openMemoryRepository(): Promise<Repository> {
  const storage = memoryStorage()
  await initRepository(storage, { password: PASSWORD, kdf: CHEAP_KDF })
  const repository = await openRepository(storage, { password: PASSWORD })
  await repository.loadIndex()
  return repository
}

/** Fields of a node under the names that they have in a tree; the name as it is written there, quoted. */
export type HandmadeNode = Readonly<Record<string, unknown>> & { readonly name: string; readonly type: string }

const TIME = '2024-02-29T12:34:56.123456789Z'
const DIRECTORY = 2 ** 31 + 0o755
const SYMLINK = 2 ** 27 + 0o777

/** Stores a tree with these nodes in this order. */
export async function saveTree(repository: Repository, nodes: readonly HandmadeNode[]): Promise<BlobId> {
  const texts = nodes.map((node) =>
    JSON.stringify({ mode: 0o644, mtime: TIME, atime: TIME, ctime: TIME, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, content: null, ...node }),
  )
  return (await repository.saveBlob('tree', Buffer.from(`{"nodes":[${texts.join(',')}]}\n`))).id
}

/** A directory with these nodes. */
export async function directoryNode(repository: Repository, name: string, nodes: readonly HandmadeNode[]): Promise<HandmadeNode> {
  return { name, type: 'dir', mode: DIRECTORY, subtree: await saveTree(repository, nodes) }
}

/** A regular file with this content, in pieces. */
export async function fileNode(repository: Repository, name: string, ...pieces: readonly (string | Uint8Array)[]): Promise<HandmadeNode> {
  const content: BlobId[] = []
  let size = 0
  for (const piece of pieces) {
    const bytes = Buffer.from(piece)
    size += bytes.length
    content.push((await repository.saveBlob('data', bytes)).id)
  }
  return { name, type: 'file', ...(size > 0 ? { size } : {}), content }
}

export function symlinkNode(name: string, linktarget: string): HandmadeNode {
  return { name, type: 'symlink', mode: SYMLINK, linktarget }
}

/** Commits a snapshot whose directory `/source` holds these nodes. */
export async function saveHandmadeSnapshot(repository: Repository, nodes: readonly HandmadeNode[]): Promise<SnapshotId> {
  const tree = await saveTree(repository, [await directoryNode(repository, 'source', nodes)])
  await using lock = await repository.lock({ exclusive: false, settleMs: 0 })
  return await repository.saveSnapshot({ time: TIME, tree, paths: ['/source'], hostname: 'handmade' }, lock)
}
