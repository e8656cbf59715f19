/**
 * Archives a disk: an image file or a block device becomes one file of the snapshot, under its own
 * path, or a directory of segments when it is long; see `format/disk-layout.ts`. It is cut at every MiB of the
 * disk, so that a change inside stays one change. A MiB of zeros becomes two blobs of 512 KiB, of which
 * restic's sparse restore makes holes; holes of an image file are not even read.
 */
import * as fs from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { Failure } from '../failure.ts'
import { enterableMode, findSegmentFile, findSegments, isSegmented, SEGMENT_BYTES, segmentDirectory, segmentFile } from '../format/disk-layout.ts'
import { isSameTime } from '../format/tree-values.ts'
import type { TreeNode } from '../format/tree.ts'
import { sizeOf } from '../posix/posix.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { Repository } from '../repository/repository.ts'
import type { BlobId } from '../repository/types.ts'
import { DataMap } from '../source/data-map.ts'
import { describe, kindOf, readAttributes } from '../source/describe.ts'
import { hasChanged, openSource, type OpenSource } from '../source/open-source.ts'
import { readAt } from '../source/read-source.ts'
import { asSourceFailure } from '../source/source-errors.ts'
import { findPreviousPath, namesOnPath, saveAncestors, saveTree } from './ancestors.ts'
import type { ArchiveOptions, ArchiveResult } from './archive-result.ts'
import { isStored, loadPreviousTree } from './previous-tree.ts'
import { compareDirectory, runArchive, type ArchiveRun } from './run.ts'
import { zeroChunkId, ZeroChunks } from './save-file.ts'

const CHUNK_BYTES = 1024 * 1024
const READS_AT_ONCE = 4
const PERMISSIONS = 0o777

/**
 * Backs up an image file or a block device. Throws `source.missing`, `source.unreadable` or
 * `source.wrong_kind` when it cannot be opened or is neither, and `source.changed` when it becomes
 * shorter meanwhile. A read error anywhere is `source.unreadable`: an image with a gap is of no use.
 */
export function archiveImage(repository: Repository, lock: RepositoryLock, options: ArchiveOptions): Promise<ArchiveResult> {
  if (!isAbsolute(options.path)) throw new Failure('source.wrong_kind', { path: options.path, reason: 'the path is not absolute' })
  const path = resolve(options.path)
  return runArchive(repository, lock, { ...options, path }, async (run) => {
    using image = openImage(path)
    const names = namesOnPath(path)
    const previous = await findPreviousPath(run, names)
    run.bytesTotal = image.bytes
    const node = describeImage(run, image, path)
    const reused = image.isFile ? await reuse(run, image, previous.node, node) : undefined
    const whole = { ...node, ...(reused ?? (await saveImage(run, image, previous.node))) }
    if (whole.type === 'dir') run.directories[compareDirectory(whole, previous.node)] += 1
    return run.commit(await saveAncestors(run, names, whole, previous))
  })
}

interface OpenImage extends OpenSource {
  readonly path: string
  readonly bytes: number
  /** Otherwise a block device. */
  readonly isFile: boolean
}

function openImage(path: string): OpenImage {
  let source: OpenSource
  try {
    source = openSource(path)
  } catch (error) {
    throw asSourceFailure(error, path)
  }
  try {
    const kind = kindOf(source.stat.mode)
    if (kind !== 'file' && kind !== 'dev') throw new Failure('source.wrong_kind', { path, reason: kind ?? 'unknown' })
    return { ...source, path, isFile: kind === 'file', bytes: sizeOf(source.descriptor) }
  } catch (error) {
    source[Symbol.dispose]()
    throw error instanceof Failure ? error : asSourceFailure(error, path)
  }
}

function describeImage(run: ArchiveRun, image: OpenImage, path: string): TreeNode {
  const place = Buffer.from(path)
  const name = Buffer.from(path.slice(path.lastIndexOf('/') + 1))
  const described = describe(name, 'file', image.stat, run.owners)
  let extendedAttributes: TreeNode['extendedAttributes']
  try {
    extendedAttributes = readAttributes(image.descriptor, () => run.warnings.add(place, 'attribute.name'))
  } catch (error) {
    throw asSourceFailure(error, path)
  }
  // A device is kept with its content, so nothing of the device node itself remains.
  const permissions = permissionsOf(image)
  if (!isSegmented(image.bytes)) return { ...described, mode: permissions, size: BigInt(image.bytes), extendedAttributes }
  return { ...described, type: 'dir', mode: enterableMode(permissions), links: 0n, deviceId: 0n, extendedAttributes }
}

function permissionsOf({ stat }: OpenImage): number {
  return Number(stat.mode) & PERMISSIONS
}

/** What a node holds: the blobs of a file, or the tree of a directory. */
type Saved = Pick<TreeNode, 'content'> | Pick<TreeNode, 'subtree'>

/** What the parent has of an image file that has not changed since, when all of it is stored. */
async function reuse(run: ArchiveRun, image: OpenImage, previous: TreeNode | undefined, node: TreeNode): Promise<Saved | undefined> {
  if (previous?.type !== node.type || previous.inode !== node.inode) return undefined
  if (!isSameTime(previous.mtime, node.mtime) || !isSameTime(previous.ctime, node.ctime)) return undefined
  let segments: number | undefined
  if (previous.type === 'dir') {
    segments = await findStoredSegments(run, image, previous)
    if (segments === undefined) return undefined
  } else if (previous.content === null || previous.size !== node.size || !isStored(run.repository, previous.content, previous.size)) return undefined
  const path = () => Buffer.from(image.path)
  run.addBytes(image.bytes, path)
  for (let file = 0; file < (segments ?? 1); file += 1) run.addFile('unmodified', path)
  run.directories.unmodified += segments ?? 0
  return segments === undefined ? { content: previous.content } : { subtree: previous.subtree }
}

/** How many segments the parent has of an image, when they are all stored and as long together as it is now. */
async function findStoredSegments(run: ArchiveRun, image: OpenImage, previous: TreeNode): Promise<number | undefined> {
  const tree = await loadPreviousTree(run.trees, previous)
  if (tree === undefined || findSegments(tree.nodes) === undefined) return undefined
  let bytes = 0
  for (const node of tree.nodes) {
    await run.pause()
    const file = findSegmentFile((await loadPreviousTree(run.trees, node))?.nodes ?? [])
    if (file === undefined || file.content === null || !isStored(run.repository, file.content, file.size)) return undefined
    bytes += Number(file.size)
  }
  return bytes === image.bytes ? tree.nodes.length : undefined
}

async function saveImage(run: ArchiveRun, image: OpenImage, previous: TreeNode | undefined): Promise<Saved> {
  const holes = image.isFile ? new DataMap(image.descriptor, image.bytes) : undefined
  run.repository.expectWork(image.bytes)
  const zeroChunks = new ZeroChunks(run)
  const save = (start: number, end: number) => saveRange(run, new ImageChunks(run, image, holes, zeroChunks, start, end))
  let saved: Saved
  if (isSegmented(image.bytes)) saved = { subtree: await saveSegments(run, image, previous, save) }
  else {
    saved = { content: await (await save(0, image.bytes)).content }
    run.addFile(previous?.type === 'file' ? 'changed' : 'new', () => Buffer.from(image.path))
  }
  const after = fs.fstatSync(image.descriptor, { bigint: true })
  if (image.isFile && hasChanged(image.stat, after)) run.warnings.add(Buffer.from(image.path), 'changed')
  return saved
}

async function saveSegments(
  run: ArchiveRun, image: OpenImage, previous: TreeNode | undefined,
  save: (start: number, end: number) => Promise<{ content: Promise<BlobId[]> }>,
): Promise<BlobId> {
  const previousTree = await loadPreviousTree(run.trees, previous)
  const owner = describe(Buffer.alloc(0), 'file', image.stat, run.owners)
  const permissions = permissionsOf(image)
  const directories: Promise<TreeNode>[] = []
  for (let start = 0; start < image.bytes; start += SEGMENT_BYTES) {
    const bytes = Math.min(SEGMENT_BYTES, image.bytes - start)
    const { content } = await save(start, start + bytes)
    // The list of a segment is stored while the next one is read.
    const number = directories.length
    const directory = content.then(async (blobIds) => {
      const subtree = await saveTree(run, [segmentFile(owner, permissions, bytes, blobIds)], undefined)
      const node = segmentDirectory(owner, permissions, number, subtree)
      const before = previousTree?.nodes[number]
      const change = compareDirectory(node, before?.name.equals(node.name) === true ? before : undefined)
      run.directories[change] += 1
      run.addFile(change, () => Buffer.from(image.path))
      return node
    })
    // Whatever fails has ended the run before anybody waits for this.
    directory.catch(() => undefined)
    directories.push(directory)
  }
  return saveTree(run, await Promise.all(directories), previousTree)
}

/** Resolves once everything is read; the content's promise does so once it is saved. */
async function saveRange(run: ArchiveRun, chunks: ImageChunks): Promise<{ content: Promise<BlobId[]> }> {
  const readers = Array.from({ length: READS_AT_ONCE }, () => chunks.saveNext())
  // All must have ended before the descriptor is closed, also when one has failed.
  const ended = await Promise.allSettled(readers)
  const failed = ended.find((reader) => reader.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  run.checkpoint()
  return { content: chunks.content() }
}

/** Goes through the chunks of a part of an image from front to back, for several readers at once. */
class ImageChunks {
  readonly #run: ArchiveRun
  readonly #image: OpenImage
  readonly #holes: DataMap | undefined
  readonly #zeroChunks: ZeroChunks
  /** In order; a MiB of zeros has two. */
  readonly #blobIds: (BlobId | Promise<BlobId>)[][] = []
  readonly #end: number
  #position: number
  #hasFailed = false

  constructor(run: ArchiveRun, image: OpenImage, holes: DataMap | undefined, zeroChunks: ZeroChunks, start: number, end: number) {
    this.#run = run
    this.#image = image
    this.#holes = holes
    this.#zeroChunks = zeroChunks
    this.#position = start
    this.#end = end
  }

  /** Takes one chunk after the other until all are taken, or any reader has failed. */
  async saveNext(): Promise<void> {
    try {
      while (this.#position < this.#end && !this.#hasFailed) {
        await this.#run.pause()
        await this.#saveChunk()
      }
    } catch (error) {
      this.#hasFailed = true
      throw error
    }
  }

  async #saveChunk(): Promise<void> {
    const { descriptor } = this.#image
    const start = this.#position
    const length = Math.min(CHUNK_BYTES, this.#end - start)
    if (length <= 0) return
    this.#position += length
    const place = this.#blobIds.push([]) - 1
    if (length === CHUNK_BYTES && this.#holes?.isHole(start, start + length) === true) return this.#saveZeros(place)
    const { sink } = this.#run
    const reserved = await sink.reserve(length)
    try {
      await this.#read(descriptor, reserved.plaintext, start)
    } catch (error) {
      sink.giveUp(reserved)
      throw error
    }
    if (length === CHUNK_BYTES && isZero(reserved.plaintext)) {
      sink.giveUp(reserved)
      return this.#saveZeros(place)
    }
    this.#blobIds[place] = [sink.saveReserved('data', reserved)]
    this.#run.addBytes(length, () => Buffer.from(this.#image.path))
  }

  async #read(descriptor: number, chunk: Buffer, start: number): Promise<void> {
    const { path } = this.#image
    try {
      if (await readAt(descriptor, chunk, start) === chunk.length) return
    } catch (error) {
      throw asSourceFailure(error, path)
    }
    throw new Failure('source.changed', { path, reason: 'it became shorter', bytes: this.#image.bytes })
  }

  async #saveZeros(place: number): Promise<void> {
    await this.#zeroChunks.save()
    this.#blobIds[place] = [zeroChunkId, zeroChunkId]
    this.#run.addBytes(CHUNK_BYTES, () => Buffer.from(this.#image.path))
  }

  content(): Promise<BlobId[]> {
    return Promise.all(this.#blobIds.flat())
  }
}

const zeros = Buffer.alloc(CHUNK_BYTES)

function isZero(chunk: Buffer): boolean {
  // Most data shows at its first bytes that it is none.
  return chunk.readUInt8(0) === 0 && chunk.equals(zeros)
}
