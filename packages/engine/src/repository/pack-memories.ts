/** Memory for a pack with a last blob as long as the chunker cuts them, and its header. */
const PACK_MEMORY_BYTES = 25 * 1024 * 1024

/**
 * Memory that packs lie in, seen by all threads and used again: fresh memory would be fetched from the system
 * page by page, and each piece would hasten the next collection of garbage. Who takes bounds how much is in use.
 */
export class PackMemories {
  readonly #idle: SharedArrayBuffer[] = []

  /** Memory for at least so many bytes, whatever is in it. */
  take(bytes: number): SharedArrayBuffer {
    if (bytes > PACK_MEMORY_BYTES) return new SharedArrayBuffer(bytes)
    return this.#idle.pop() ?? new SharedArrayBuffer(PACK_MEMORY_BYTES)
  }

  give(memory: SharedArrayBuffer): void {
    if (memory.byteLength === PACK_MEMORY_BYTES) this.#idle.push(memory)
  }
}
