import { hash } from 'node:crypto'
import { Failure } from '../failure.ts'
import { findDataRegion } from '../posix/posix.ts'
import type { BlobId, BlobReader } from '../repository/types.ts'
import { isZeroRange, readAt } from './content-file.ts'
import { isKnownZeroBlob } from './zero-blobs.ts'

/** A piece of a file's content, and the blob that holds it. */
export interface Chunk {
  readonly blobId: BlobId
  /** Bytes from the start of the file. */
  readonly offset: number
  /** Bytes. */
  readonly length: number
}

export interface ContentList {
  /** Bytes of content; where chunks are missing, as far as it can be known. */
  readonly sizeBytes: number
  /** How many chunks the repository's index does not know. */
  readonly missing: number
  /** The chunks whose place is known, in order; new at each call, for lists may be long. */
  chunks(): Iterable<Chunk>
}

/**
 * Lays out the content of a file of a size that its directory entry tells. A chunk that the index has
 * lost takes what the others leave of that size; after several such, nobody knows where the next begins.
 */
export function layOutContent(reader: BlobReader, content: readonly BlobId[], toldBytes: number): ContentList {
  let knownBytes = 0
  let missing = 0
  for (const blobId of content) {
    const length = reader.locate('data', blobId)?.plainLength
    if (length === undefined) missing += 1
    else knownBytes += length
  }
  function* chunks(): Generator<Chunk> {
    let offset = 0
    for (const blobId of content) {
      const length = reader.locate('data', blobId)?.plainLength
      if (length !== undefined) {
        yield { blobId, offset, length }
        offset += length
      } else if (missing === 1 && toldBytes >= knownBytes) {
        offset += toldBytes - knownBytes
      } else {
        return
      }
    }
  }
  return { sizeBytes: missing > 0 ? Math.max(toldBytes, knownBytes) : knownBytes, missing, chunks }
}

export interface ComparedChunk {
  readonly chunk: Chunk
  /** Whether the file holds this chunk already. */
  readonly isThere: boolean
}

const COMPARED_AHEAD = 4

/**
 * Compares a file or device with its chunks, in order and a few at a time, by reading and hashing: times
 * and sizes prove nothing about content.
 *
 * @param endBytes where the file ends; what lies behind reads as zeros
 */
export async function* compareChunks(
  descriptor: number, endBytes: number, chunks: Iterable<Chunk>, signal?: AbortSignal,
): AsyncGenerator<ComparedChunk> {
  const ahead: Promise<ComparedChunk>[] = []
  try {
    for (const chunk of chunks) {
      if (signal?.aborted === true) throw new Failure('cancelled')
      const comparing = compareChunk(descriptor, endBytes, chunk)
      // It is awaited in its turn; an error must not count as unhandled before.
      comparing.catch(() => undefined)
      ahead.push(comparing)
      if (ahead.length < COMPARED_AHEAD) continue
      const first = await ahead.shift()
      if (first !== undefined) yield first
    }
    for (let first = ahead.shift(); first !== undefined; first = ahead.shift()) yield await first
  } finally {
    // Who stops early may close the descriptor next.
    await Promise.allSettled(ahead)
  }
}

async function compareChunk(descriptor: number, endBytes: number, chunk: Chunk): Promise<ComparedChunk> {
  const { blobId, offset, length } = chunk
  if (isKnownZeroBlob(chunk)) {
    const region = findDataRegion(descriptor, offset, endBytes)
    const isHole = region === undefined || region.start >= offset + length
    return { chunk, isThere: isHole || (await isZeroRange(descriptor, offset, length)) }
  }
  const bytes = Buffer.allocUnsafe(length)
  await readAt(descriptor, bytes, offset)
  return { chunk, isThere: (await sha256(bytes)) === blobId }
}

/** Hashing a few bytes takes less time than asking another thread to do it. */
const HASHED_HERE_BYTES_MAX = 64 * 1024

async function sha256(bytes: Buffer<ArrayBuffer>): Promise<string> {
  if (bytes.length <= HASHED_HERE_BYTES_MAX) return hash('sha256', bytes)
  return Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex')
}
