import { RabinChunker } from './rabin.ts'

export { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN } from './rabin.ts'

/** Splits byte streams; every stream starts afresh, and several may be split at once. */
export type Chunker = (source: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>

/** The chunker of a repository; a chunk is valid until the next one is asked for. */
export function createChunker(polynomial: bigint): Chunker {
  // Each holds 8 MiB of memory, so they are kept for the next stream.
  const idle: RabinChunker[] = []

  return async function* split(source) {
    const chunker = idle.pop() ?? new RabinChunker(polynomial)
    try {
      for await (const piece of source) yield* chunker.push(piece)
      const last = chunker.finish()
      if (last !== undefined) yield last
    } finally {
      chunker.finish()
      idle.push(chunker)
    }
  }
}
