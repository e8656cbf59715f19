import { loadNativePrimitives } from './native-primitives.ts'
import { portablePrimitives } from './portable-primitives.ts'

/** AES-256 in counter mode with one key. Encrypting and decrypting are the same; source and target may be one. */
export type Crypt = (iv: Uint8Array, source: Uint8Array, target: Uint8Array) => void

/** Writes the 16-byte Poly1305-AES tag of a message with one key. */
export type WriteTag = (iv: Uint8Array, message: Uint8Array, tag: Uint8Array) => void

/** Gets the 32-byte SHA-256 of a message, in memory that is used again. */
export type TakeHash = (hash: Uint8Array) => void

/** Hashes messages beside each other, which takes less time than one after the other. */
export interface HashLanes {
  /**
   * Takes a message in, whose memory must stay as it is until its hash is there. Goes on with those that it
   * has until there is room for another one; what becomes ready is told meanwhile, in any order. Those that are told must not add.
   */
  add(message: Uint8Array, takeHash: TakeHash): void
  /** Goes on for at most so many bytes of each message; says whether any is left. */
  goOn(bytes: number): boolean
  /** Completes all. */
  finish(): void
}

/** What the engine needs of cryptography and compression, working from given memory into given memory. */
export interface Primitives {
  /** @param key 32 bytes */
  createCrypt(key: Uint8Array): Crypt
  /** @param macK 16 bytes, @param macR 16 bytes */
  createWriteTag(macK: Uint8Array, macR: Uint8Array): WriteTag
  /** Writes the 32-byte SHA-256. */
  writeHash(data: Uint8Array, hash: Uint8Array): void
  createHashLanes(): HashLanes
  /**
   * Compresses into memory of at least `frameBytesMax` bytes; gives the length of the frame, which
   * states its content size and carries no checksum.
   */
  compress(plaintext: Uint8Array, level: number, frame: Uint8Array): number
  /** Fills the memory with the content of a frame; false when the frame is damaged or holds more or less. */
  decompress(frame: Uint8Array, plaintext: Uint8Array): boolean
}

/** More bytes than any frame of so many bytes takes. */
export function frameBytesMax(plainBytes: number): number {
  return plainBytes + (plainBytes >> 7) + 256
}

/** The libraries inside Node called directly where that is possible, which spares memory and set-up; else Node's own interfaces to them. */
export const primitives: Primitives = loadNativePrimitives() ?? portablePrimitives
