/** The content of a file or a disk of a snapshot, from any place on, piece by piece. */
import { Failure, throwIfCancelled } from '../failure.ts'
import type { Chunk } from '../restore/chunks.ts'
import { openDisk } from '../restore/disk-content.ts'
import type { BlobSource } from '../restore/fetch-blobs.ts'
import type { FoundNode } from '../restore/find-in-snapshot.ts'

export interface OpenedContent {
  /** Exact: what is missing is found before a byte is handed out. */
  readonly sizeBytes: number
  /** Yields the bytes from `start` to below `end` in order. Throws `blob.missing` or `blob.damaged`. */
  read(start: number, end: number, signal?: AbortSignal): AsyncGenerator<Uint8Array>
}

function throwLost(_code: string, reason: string): never {
  throw new Failure('blob.missing', { reason })
}

/** Pieces that are fetched ahead of the one that is handed out: some 8 MiB each at most. */
const PIECES_AHEAD = 3

/**
 * Opens a file, or a disk that is kept in segments; undefined when the node is neither. The segments of
 * a disk are looked up while it is read.
 */
export async function openContent(source: BlobSource, found: FoundNode): Promise<OpenedContent | undefined> {
  const content = await openDisk(source, found)
  if (content === undefined) return undefined
  const { sizeBytes } = content
  async function* chunks(start: number): AsyncGenerator<Chunk> {
    for await (const part of content?.parts(throwLost) ?? []) {
      for (const chunk of part) if (chunk.offset + chunk.length > start) yield chunk
    }
  }
  return {
    sizeBytes,
    async *read(start, end, signal) {
      const ahead: { readonly chunk: Chunk, readonly bytes: Promise<Uint8Array> }[] = []
      let last: { readonly chunk: Chunk, readonly bytes: Promise<Uint8Array> } | undefined
      function fetch(chunk: Chunk): void {
        // The zeros of a hole are one blob, many times.
        const bytes = last?.chunk.blobId === chunk.blobId ? last.bytes : source.loadBlob('data', chunk.blobId)
        // Whoever stops before this piece does not wait for it; its failure is thrown in its turn.
        bytes.catch(() => undefined)
        last = { chunk, bytes }
        ahead.push(last)
      }
      async function take(): Promise<Uint8Array> {
        const first = ahead.shift()
        if (first === undefined) return new Uint8Array()
        const { offset } = first.chunk
        const bytes = await first.bytes
        return bytes.subarray(Math.max(0, start - offset), Math.min(bytes.length, end - offset))
      }
      for await (const chunk of chunks(start)) {
        throwIfCancelled(signal)
        if (chunk.offset >= end) break
        fetch(chunk)
        if (ahead.length > PIECES_AHEAD) yield take()
      }
      while (ahead.length > 0) {
        throwIfCancelled(signal)
        yield take()
      }
    },
  }
}
