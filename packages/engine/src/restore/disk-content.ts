/** The content of a disk in a snapshot, whether it is one file or a directory of segments. */
import { Failure } from '../failure.ts'
import { findSegmentFile, findSegments, SEGMENT_BYTES } from '../format/disk-layout.ts'
import { decodeTree, type TreeNode } from '../format/tree.ts'
import type { BlobId, SnapshotId } from '../repository/types.ts'
import { layOutContent, type Chunk } from './chunks.ts'
import { damageOf } from './damage.ts'
import type { BlobSource } from './fetch-blobs.ts'
import { findInSnapshot, type FoundNode, type SnapshotReader } from './find-in-snapshot.ts'
import type { RestoreWarningCode } from './restore-warnings.ts'

export interface DiskContent {
  /** What the disk had for attributes, as a file. */
  readonly node: TreeNode
  /** As far as it can be known when a part is missing. */
  readonly sizeBytes: number
  /** The chunks whose place is known, part by part in the order of the disk. Warns of what is missing. */
  parts(warn: (code: RestoreWarningCode, reason: string) => void): AsyncIterable<Iterable<Chunk>>
}

/** Whether a path of a snapshot holds what `restoreImage` restores. Throws as `findInSnapshot` does. */
export async function holdsImage(repository: SnapshotReader, snapshotId: SnapshotId, path: string): Promise<boolean> {
  const { node, treeId } = await findInSnapshot(repository, snapshotId, path)
  if (node?.type === 'file') return true
  return node?.type === 'dir' && treeId !== undefined && findSegments(decodeTree(await repository.loadBlob('tree', treeId))) !== undefined
}

/** The length in bytes of the disk that a directory holds in segments; undefined for everything else. */
export async function segmentedDiskBytes(source: Pick<BlobSource, 'loadBlob'>, node: TreeNode): Promise<bigint | undefined> {
  if (node.type !== 'dir' || node.subtree === undefined) return undefined
  const segments = findSegments(decodeTree(await source.loadBlob('tree', node.subtree)))
  const last = segments?.at(-1)
  if (segments === undefined || last === undefined) return undefined
  const file = findSegmentFile(decodeTree(await source.loadBlob('tree', last)))
  return file === undefined ? undefined : BigInt(segments.length - 1) * BigInt(SEGMENT_BYTES) + file.size
}

/** The disk that a node is; undefined when it is none. */
export async function openDisk(source: BlobSource, { node, treeId }: FoundNode): Promise<DiskContent | undefined> {
  if (node?.type === 'file') return oneFile(source, node)
  if (node === undefined || treeId === undefined) return undefined
  const segments = findSegments(decodeTree(await source.loadBlob('tree', treeId)))
  return segments === undefined ? undefined : inSegments(source, node, segments)
}

function oneFile(source: BlobSource, node: TreeNode): DiskContent {
  const content = layOutContent(source, node.content ?? [], Number(node.size))
  return {
    node,
    sizeBytes: content.sizeBytes,
    async *parts(warn) {
      if (content.missing > 0) warn('content.damaged', `${content.missing} chunks are missing`)
      else if (node.size !== BigInt(content.sizeBytes)) warn('content.size_differs', `${content.sizeBytes} instead of ${node.size} bytes`)
      yield content.chunks()
    },
  }
}

async function inSegments(source: BlobSource, node: TreeNode, segments: readonly BlobId[]): Promise<DiskContent> {
  const loaded = await Promise.all([segments[0], segments.at(-1)].map((id) => loadSegment(source, id)))
  const [first, last] = loaded
  const before = (segments.length - 1) * SEGMENT_BYTES
  // Who knows how long a lost last segment was; nothing of it can be restored anyway.
  const lastBytes = last === undefined || last instanceof Failure ? 0 : Number(last.size)
  const mode = first === undefined || first instanceof Failure ? OWNER_ONLY : first.mode
  return {
    node: { ...node, type: 'file', mode },
    sizeBytes: before + lastBytes,
    async *parts(warn) {
      for (const [number, id] of segments.entries()) {
        const start = number * SEGMENT_BYTES
        const bytes = number === segments.length - 1 ? lastBytes : SEGMENT_BYTES
        const segment = await loadSegment(source, id)
        if (segment instanceof Failure) {
          warn('content.damaged', `${segment.code}, ${bytes} bytes at ${start}`)
          continue
        }
        const content = layOutContent(source, segment.content ?? [], bytes)
        if (content.missing > 0) warn('content.damaged', `${content.missing} chunks are missing in the ${bytes} bytes at ${start}`)
        else if (content.sizeBytes !== bytes) warn('content.size_differs', `${content.sizeBytes} instead of ${bytes} bytes at ${start}`)
        yield shiftedChunks(content.chunks(), start, bytes)
      }
    },
  }
}

const OWNER_ONLY = 0o600

async function loadSegment(source: BlobSource, id: BlobId | undefined): Promise<TreeNode | Failure> {
  if (id === undefined) return new Failure('blob.missing')
  try {
    const file = findSegmentFile(decodeTree(await source.loadBlob('tree', id)))
    return file ?? new Failure('repository.damaged', { reason: 'A segment of a disk is not as it should be.' })
  } catch (error) {
    const damage = damageOf(error)
    if (damage === undefined) throw error
    return damage
  }
}

/** The chunks of a segment at their places on the disk; what would reach into the next segment is left out. */
function* shiftedChunks(chunks: Iterable<Chunk>, start: number, bytes: number): Generator<Chunk> {
  for (const chunk of chunks) {
    if (chunk.offset + chunk.length <= bytes) yield { ...chunk, offset: start + chunk.offset }
  }
}
