/**
 * The content of one open file, cut into blobs exactly as restic cuts it: a file up to the smallest
 * chunk is one blob, a longer one goes through the repository's chunker.
 *
 * Long holes are not read. The chunker starts every chunk afresh, and cuts zeros at the smallest
 * length that it allows; so where a chunk begins and only a hole lies ahead, the next chunk is
 * known without looking.
 */
import { hash } from 'node:crypto'
import { CHUNK_BYTES_MIN } from '../chunker/chunker.ts'
import type { BlobId } from '../repository/types.ts'
import { DataMap, hasHoles } from '../source/data-map.ts'
import type { OpenSource } from '../source/open-source.ts'
import { readNow, readPieces } from '../source/read-source.ts'
import type { ArchiveRun } from './run.ts'

export interface FileContent {
  /** Bytes that were read; a file that changes may have another size than it was said to have. */
  readonly bytes: number
  readonly blobIds: readonly BlobId[]
}

/** The 512 KiB of zeros of which holes are made; other programs recognise this very blob when they restore. */
export const ZERO_CHUNK_BYTES = CHUNK_BYTES_MIN
export const zeroChunkId = hash('sha256', Buffer.alloc(ZERO_CHUNK_BYTES)) as BlobId

/** What is read of a file that says it is empty, and is not: some files of the kernel never end. */
const UNTOLD_BYTES_MAX = 64 * 1024 * 1024

/** Saves the zero chunk in one run only once, however many holes there are. */
export class ZeroChunks {
  readonly #run: ArchiveRun
  #saved: Promise<BlobId> | undefined

  constructor(run: ArchiveRun) {
    this.#run = run
  }

  async save(): Promise<void> {
    if (this.#saved === undefined) {
      await this.#run.sink.admit(ZERO_CHUNK_BYTES)
      this.#saved = this.#run.sink.save('data', Buffer.alloc(ZERO_CHUNK_BYTES))
    }
    await this.#saved
  }
}

/**
 * Reads an open file, as long as it was when it was opened, and saves its content. Resolves once
 * everything is read; the content's promise does so once it is saved. Errors of reading are thrown
 * as the system calls give them.
 */
export async function saveFile(
  run: ArchiveRun, zeroChunks: ZeroChunks, source: OpenSource, path: () => Buffer,
): Promise<{ content: Promise<FileContent> }> {
  const bytes = Number(source.stat.size)
  if (bytes > CHUNK_BYTES_MIN) return saveLong(run, zeroChunks, source, bytes, path)
  if (bytes > 0) return saveShort(run, source, bytes, path)
  if (readNow(source.descriptor, Buffer.alloc(1)) === 0) return { content: Promise.resolve({ bytes: 0, blobIds: [] }) }
  // The kernel's own files say that they are empty, whatever they hold.
  const saved = await saveLong(run, zeroChunks, source, UNTOLD_BYTES_MAX, path)
  if (saved.bytes === UNTOLD_BYTES_MAX) run.warnings.add(path(), 'endless')
  return saved
}

async function saveShort(
  run: ArchiveRun, source: OpenSource, bytes: number, path: () => Buffer,
): Promise<{ content: Promise<FileContent> }> {
  const reserved = await run.sink.reserve(bytes)
  let count: number
  try {
    count = readNow(source.descriptor, reserved.plaintext)
  } catch (error) {
    run.sink.giveUp(reserved)
    throw error
  }
  run.addBytes(count, path)
  const saved = run.sink.saveReserved('data', reserved, count)
  return { content: saved.then((blobId) => ({ bytes: count, blobIds: [blobId] })) }
}

async function saveLong(
  run: ArchiveRun, zeroChunks: ZeroChunks, source: OpenSource, end: number, path: () => Buffer,
): Promise<{ bytes: number; content: Promise<FileContent> }> {
  const { descriptor, stat } = source
  run.repository.expectWork(end)
  const holes = hasHoles(stat) ? new DataMap(descriptor, end) : undefined
  const blobIds: (BlobId | Promise<BlobId>)[] = []
  let position = 0
  const isHoleAhead = () =>
    holes !== undefined && position + ZERO_CHUNK_BYTES <= end && holes.isHole(position, position + ZERO_CHUNK_BYTES)
  const advance = (bytes: number) => {
    position += bytes
    run.addBytes(bytes, path)
  }
  const split = run.repository.chunker()
  do {
    while (isHoleAhead()) {
      await run.pause()
      await zeroChunks.save()
      blobIds.push(zeroChunkId)
      advance(ZERO_CHUNK_BYTES)
    }
    for await (const chunk of split(readPieces(descriptor, position, end))) {
      await run.pause()
      const reserved = await run.sink.reserve(chunk.length)
      reserved.plaintext.set(chunk)
      blobIds.push(run.sink.saveReserved('data', reserved))
      advance(chunk.length)
      if (isHoleAhead()) break
    }
  } while (isHoleAhead())
  const content = Promise.all(blobIds).then((ids) => ({ bytes: position, blobIds: ids }))
  return { bytes: position, content }
}
