/**
 * The work on single blobs and packs, done by whichever thread has time: hashing, compressing,
 * sealing, verifying, opening.
 *
 * A blob that is to be stored lies in a slot of shared memory, where it changes from plaintext to
 * its stored form: `id (32) ‖ stored length (4) ‖ compressed (4) ‖ unused (8) ‖ envelope`, the
 * plaintext standing where the envelope's ciphertext comes to stand. Slots start at multiples
 * of 64 bytes.
 */
import { ENVELOPE_BYTES, IV_BYTES } from '../../crypto/envelope.ts'
import type { Sealer } from '../../crypto/envelope.ts'
import { frameBytesMax, primitives } from '../../crypto/primitives.ts'
import { looksIncompressible } from '../../crypto/zstd.ts'
import type { ZstdLevel } from '../../crypto/zstd.ts'
import { Failure } from '../../failure.ts'
import type { BlobId, BlobType } from '../types.ts'

const ID_BYTES = 32
const LENGTH_AT = 32
const COMPRESSED_AT = 36
const ENVELOPE_AT = 48
const PLAINTEXT_AT = ENVELOPE_AT + IV_BYTES
const SLOT_ALIGNMENT = 64

/** Lengths in packs and indexes have 32 bits. */
export const BLOB_BYTES_MAX = 2 ** 31

/** How the repository of a key wants its blobs. */
export interface SealingRules {
  readonly version: 1 | 2
  readonly level: ZstdLevel
}

export interface StoredForm {
  /** Plaintext bytes. */
  readonly plainLength: number
  readonly compressed: boolean
}

export interface SealedBlob extends StoredForm {
  /** The envelope. */
  readonly stored: Uint8Array
}

/** The bytes of a slot in which a plaintext of so many bytes can be sealed. */
export function slotBytes(plainLength: number): number {
  const bytes = PLAINTEXT_AT + frameBytesMax(plainLength) + ENVELOPE_BYTES
  return bytes + SLOT_ALIGNMENT - (bytes % SLOT_ALIGNMENT)
}

/** Where in a slot the plaintext lies. */
export function plaintextIn(slot: Uint8Array, plainLength: number): Buffer {
  return Buffer.from(slot.buffer, slot.byteOffset + PLAINTEXT_AT, plainLength)
}

/** The id that `hashSlot` has left. */
export function idIn(slot: Uint8Array): BlobId {
  return Buffer.from(slot.buffer, slot.byteOffset, ID_BYTES).toString('hex') as BlobId
}

/** What `sealSlot` has left. */
export function sealedIn(slot: Uint8Array, plainLength: number): SealedBlob {
  const view = new DataView(slot.buffer, slot.byteOffset)
  const length = view.getUint32(LENGTH_AT, true)
  return { stored: slot.subarray(ENVELOPE_AT, ENVELOPE_AT + length), plainLength, compressed: view.getUint32(COMPRESSED_AT, true) === 1 }
}

export function hashSlot(slot: Uint8Array, plainLength: number): void {
  primitives.writeHash(plaintextIn(slot, plainLength), slot.subarray(0, ID_BYTES))
}

/** Memory of a thread for what does not last, which grows as needed. */
class Scratch {
  #bytes = new Uint8Array(0)

  take(length: number): Uint8Array {
    if (this.#bytes.length < length) this.#bytes = new Uint8Array(Math.max(length, 2 * this.#bytes.length))
    return this.#bytes.subarray(0, length)
  }
}

const frames = new Scratch()
const plaintexts = new Scratch()
const foundHash = new Uint8Array(ID_BYTES)

/** Up to this size, at which zstd changes its tables, level 1 leaves 1 % more than level 2 at most, in less time. */
const QUICK_BYTES_MAX = 256 * 1024

function levelFor(level: ZstdLevel, plainLength: number): ZstdLevel {
  return level === 2 && plainLength <= QUICK_BYTES_MAX ? 1 : level
}

/**
 * Seals the plaintext in a slot that has been hashed, then opens it again and compares, before
 * anything is stored: a faulty machine or a faulty library must not pass for a backup. Throws
 * `host.unsound` then.
 */
export function sealSlot(sealer: Sealer, { version, level }: SealingRules, type: BlobType, slot: Uint8Array, plainLength: number): void {
  const plaintext = plaintextIn(slot, plainLength)
  let contentLength = plainLength
  let compressed = false
  // Zero marks raw blobs in the format, so that an empty one cannot be a compressed one.
  if (version === 2 && plainLength > 0 && (type === 'tree' || !looksIncompressible(plaintext))) {
    const frame = frames.take(frameBytesMax(plainLength))
    const frameLength = primitives.compress(plaintext, levelFor(level, plainLength), frame)
    // Trees are compressed even where that makes them longer: pruning repacks raw trees every time.
    if (type === 'tree' || frameLength < plainLength) {
      slot.set(frame.subarray(0, frameLength), PLAINTEXT_AT)
      contentLength = frameLength
      compressed = true
    }
  }
  const envelope = slot.subarray(ENVELOPE_AT, ENVELOPE_AT + contentLength + ENVELOPE_BYTES)
  sealer.sealInPlace(envelope)
  const opened = openStored(sealer, slot.subarray(0, ID_BYTES), { plainLength, compressed }, envelope, (length) => plaintexts.take(length))
  if ('damage' in opened) throw new Failure('host.unsound', { blobId: idIn(slot), reason: opened.damage })
  const view = new DataView(slot.buffer, slot.byteOffset)
  view.setUint32(LENGTH_AT, envelope.length, true)
  view.setUint32(COMPRESSED_AT, compressed ? 1 : 0, true)
}

/**
 * Opens a stored blob, and proves it by its id, which is 32 bytes here. Answers with the reason when
 * it is damaged, since what that means depends on whether it comes from a storage or was made a
 * moment ago. The plaintext lies in the memory that `allocate` gives.
 */
export function openStored(
  sealer: Sealer, id: Uint8Array, { plainLength, compressed }: StoredForm, stored: Uint8Array,
  allocate: (length: number) => Uint8Array = (length) => new Uint8Array(length),
): { readonly plaintext: Uint8Array } | { readonly damage: string } {
  if (!compressed && stored.length !== plainLength + ENVELOPE_BYTES) return { damage: 'of another length' }
  const content = sealer.open(stored, compressed ? (length) => frames.take(length) : allocate)
  if (content === undefined) return { damage: 'not authentic' }
  let plaintext = content
  if (compressed) {
    plaintext = allocate(plainLength)
    if (!primitives.decompress(content, plaintext)) return { damage: 'not decompressible to its length' }
  }
  primitives.writeHash(plaintext, foundHash)
  if (Buffer.compare(foundHash, id) !== 0) return { damage: 'content does not match id' }
  return { plaintext }
}

/** Opens a stored blob for a moment: the plaintext lies in memory of the thread until the next one. */
export function openBriefly(
  sealer: Sealer, id: Uint8Array, form: StoredForm, stored: Uint8Array,
): { readonly plaintext: Uint8Array } | { readonly damage: string } {
  return openStored(sealer, id, form, stored, (length) => plaintexts.take(length))
}

/** Whether a stored blob can be opened and is what its id says; the plaintext is not kept. */
export function plaintextIsGood(sealer: Sealer, id: Uint8Array, form: StoredForm, stored: Uint8Array): boolean {
  return 'plaintext' in openBriefly(sealer, id, form, stored)
}
