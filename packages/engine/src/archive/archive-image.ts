/**
 * Archives a disk: an image file or a block device becomes one file of the snapshot, under its own
 * path. It is cut at every MiB of the disk, so that a change inside stays one change. A MiB of zeros
 * becomes two blobs of 512 KiB, of which restic's sparse restore makes holes; holes of an image file
 * are not even read.
 */
import * as fs from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { Failure } from '../failure.ts'
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
import { findPreviousPath, namesOnPath, saveAncestors } from './ancestors.ts'
import type { ArchiveOptions, ArchiveResult } from './archive-result.ts'
import { isStored } from './previous-tree.ts'
import { runArchive, type ArchiveRun } from './run.ts'
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
    const isUnmodified = image.isFile && isUnchanged(run, previous.node, node)
    const content = isUnmodified ? previous.node?.content ?? [] : await saveImage(run, image)
    if (isUnmodified) run.addBytes(image.bytes, () => Buffer.from(path))
    run.addFile(isUnmodified ? 'unmodified' : previous.node?.type === 'file' ? 'changed' : 'new', () => Buffer.from(path))
    return run.commit(await saveAncestors(run, names, { ...node, content }, previous))
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
  // A device is kept as a file with its content, so nothing of the device node itself remains.
  return { ...described, mode: Number(image.stat.mode) & PERMISSIONS, size: BigInt(image.bytes), extendedAttributes }
}

function isUnchanged(run: ArchiveRun, previous: TreeNode | undefined, node: TreeNode): boolean {
  if (previous?.type !== 'file' || previous.content === null) return false
  return (
    previous.size === node.size && previous.inode === node.inode &&
    isSameTime(previous.mtime, node.mtime) && isSameTime(previous.ctime, node.ctime) &&
    isStored(run.repository, previous.content, previous.size)
  )
}

async function saveImage(run: ArchiveRun, image: OpenImage): Promise<readonly BlobId[]> {
  const chunks = new ImageChunks(run, image)
  const readers = Array.from({ length: READS_AT_ONCE }, () => chunks.saveNext())
  // All must have ended before the descriptor is closed, also when one has failed.
  const ended = await Promise.allSettled(readers)
  const failed = ended.find((reader) => reader.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  const content = await chunks.content()
  const after = fs.fstatSync(image.descriptor, { bigint: true })
  if (image.isFile && hasChanged(image.stat, after)) run.warnings.add(Buffer.from(image.path), 'changed')
  return content
}

/** Goes through the chunks of an image from front to back, for several readers at once. */
class ImageChunks {
  readonly #run: ArchiveRun
  readonly #image: OpenImage
  readonly #holes: DataMap | undefined
  readonly #zeroChunks: ZeroChunks
  /** In the order of the image; a MiB of zeros has two. */
  readonly #blobIds: (BlobId | Promise<BlobId>)[][] = []
  #position = 0
  #hasFailed = false

  constructor(run: ArchiveRun, image: OpenImage) {
    this.#run = run
    this.#image = image
    this.#holes = image.isFile ? new DataMap(image.descriptor, image.bytes) : undefined
    this.#zeroChunks = new ZeroChunks(run)
  }

  /** Takes one chunk after the other until all are taken, or any reader has failed. */
  async saveNext(): Promise<void> {
    try {
      while (this.#position < this.#image.bytes && !this.#hasFailed) {
        await this.#run.pause()
        await this.#saveChunk()
      }
    } catch (error) {
      this.#hasFailed = true
      throw error
    }
  }

  async #saveChunk(): Promise<void> {
    const { descriptor, bytes } = this.#image
    const start = this.#position
    const length = Math.min(CHUNK_BYTES, bytes - start)
    if (length <= 0) return
    this.#position += length
    const place = this.#blobIds.push([]) - 1
    if (length === CHUNK_BYTES && this.#holes?.isHole(start, start + length) === true) return this.#saveZeros(place)
    const { bytes: chunk, release } = this.#run.memory.take(length)
    await this.#read(descriptor, chunk, start)
    if (length === CHUNK_BYTES && isZero(chunk)) {
      release()
      return this.#saveZeros(place)
    }
    await this.#run.sink.admit(length)
    this.#blobIds[place] = [this.#run.sink.save('data', chunk, release)]
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
