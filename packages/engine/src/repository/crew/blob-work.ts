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
import { loadForeignFunctions } from '../../foreign-functions.ts'
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

/** Those of this thread. What is told by them must not throw: it may concern any of the orders that the thread has. */
export const hashLanes = primitives.createHashLanes()

/** What is told of some work at its end. */
export type Told<Answer> = { readonly answer: Answer } | { readonly error: unknown }

export type End = (outcome: Told<null>) => void

export const DONE = { answer: null }

/** An end for each of several pieces of work, which together have one. */
export function endOfAll(count: number, end: End): End {
  if (count === 0) end(DONE)
  let left = count
  let failed: Told<null> | undefined
  return (outcome) => {
    if ('error' in outcome) failed ??= outcome
    left -= 1
    if (left === 0) end(failed ?? DONE)
  }
}

export interface FilledSlot {
  readonly bytes: Uint8Array
  readonly plainLength: number
  readonly type: BlobType
}

/** Leaves its id in each slot. They are there at the end, which other hashes may bring, or `hashLanes.finish`. */
export function hashSlots(slots: readonly Omit<FilledSlot, 'type'>[], end: End): void {
  const endOfOne = endOfAll(slots.length, end)
  for (const { bytes, plainLength } of slots) {
    hashLanes.add(plaintextIn(bytes, plainLength), (hash) => {
      bytes.set(hash)
      endOfOne(DONE)
    })
  }
}

const PIECE_BYTES_MIN = 64 * 1024
/** Where pieces begin in memory, so that a disk can be written from them without a copy. */
const PIECE_ALIGNMENT = 4096
const ffi = loadForeignFunctions()

/** Memory of a thread for what does not last, used again and again. */
class Scratch {
  readonly #free: Uint8Array[] = []

  take(length: number): Uint8Array {
    const fitting = this.#free.findIndex((piece) => piece.length >= length)
    // One that is too short makes room for a longer one.
    const [piece] = this.#free.splice(Math.max(0, fitting), 1)
    if (piece !== undefined && piece.length >= length) return piece.subarray(0, length)
    let bytes = PIECE_BYTES_MIN
    while (bytes < length) bytes *= 2
    const memory = new ArrayBuffer(bytes + PIECE_ALIGNMENT)
    const misalignment = ffi === undefined ? 0 : Number(ffi.getRawPointer(memory) % BigInt(PIECE_ALIGNMENT))
    return new Uint8Array(memory, PIECE_ALIGNMENT - misalignment, length)
  }

  give({ buffer, byteOffset }: Uint8Array): void {
    this.#free.push(new Uint8Array(buffer, byteOffset, buffer.byteLength - PIECE_ALIGNMENT))
  }
}

const scratch = new Scratch()
const foundHash = new Uint8Array(ID_BYTES)

/** Up to this size, at which zstd changes its tables, level 1 leaves 1 % more than level 2 at most, in less time. */
const QUICK_BYTES_MAX = 256 * 1024

function levelFor(level: ZstdLevel, plainLength: number): ZstdLevel {
  return level === 2 && plainLength <= QUICK_BYTES_MAX ? 1 : level
}

/**
 * Seals the plaintexts in slots that have been hashed, then opens each again and compares, before
 * anything is stored: a faulty machine or a faulty library must not pass for a backup. `host.unsound` is told then.
 */
export function sealSlots(sealer: Sealer, rules: SealingRules, slots: readonly FilledSlot[], end: End): void {
  const endOfOne = endOfAll(slots.length, end)
  for (const slot of slots) sealSlot(sealer, rules, slot, endOfOne)
}

function sealSlot(sealer: Sealer, { version, level }: SealingRules, { bytes: slot, plainLength, type }: FilledSlot, end: End): void {
  const plaintext = plaintextIn(slot, plainLength)
  let contentLength = plainLength
  let compressed = false
  // Zero marks raw blobs in the format, so that an empty one cannot be a compressed one.
  if (version === 2 && plainLength > 0 && (type === 'tree' || !looksIncompressible(plaintext))) {
    const frame = scratch.take(frameBytesMax(plainLength))
    const frameLength = primitives.compress(plaintext, levelFor(level, plainLength), frame)
    // Trees are compressed even where that makes them longer: pruning repacks raw trees every time.
    if (type === 'tree' || frameLength < plainLength) {
      slot.set(frame.subarray(0, frameLength), PLAINTEXT_AT)
      contentLength = frameLength
      compressed = true
    }
    scratch.give(frame)
  }
  const envelope = slot.subarray(ENVELOPE_AT, ENVELOPE_AT + contentLength + ENVELOPE_BYTES)
  sealer.sealInPlace(envelope)
  const view = new DataView(slot.buffer, slot.byteOffset)
  view.setUint32(LENGTH_AT, envelope.length, true)
  view.setUint32(COMPRESSED_AT, compressed ? 1 : 0, true)
  openBriefly(sealer, slot.subarray(0, ID_BYTES), { plainLength, compressed }, envelope, (opened) => {
    end('damage' in opened ? { error: new Failure('host.unsound', { blobId: idIn(slot), reason: opened.damage }) } : DONE)
  })
}

/** An opened blob, or the reason why it is damaged, since what that means depends on whether it comes from a storage or was made a moment ago. */
type Opened = { readonly plaintext: Uint8Array } | { readonly damage: string }

/** Opens a stored blob that its id has yet to prove. */
function openUnproven(
  sealer: Sealer, { plainLength, compressed }: StoredForm, stored: Uint8Array, allocate: (length: number) => Uint8Array,
): Opened {
  if (!compressed) {
    if (stored.length !== plainLength + ENVELOPE_BYTES) return { damage: 'of another length' }
    const plaintext = sealer.open(stored, allocate)
    return plaintext === undefined ? { damage: 'not authentic' } : { plaintext }
  }
  const frame = scratch.take(Math.max(0, stored.length - ENVELOPE_BYTES))
  try {
    if (sealer.open(stored, () => frame) === undefined) return { damage: 'not authentic' }
    const plaintext = allocate(plainLength)
    return primitives.decompress(frame, plaintext) ? { plaintext } : { damage: 'not decompressible to its length' }
  } finally {
    scratch.give(frame)
  }
}

/**
 * Opens a stored blob, and proves it by its id, which is 32 bytes here. The plaintext lies in the
 * memory that `allocate` gives.
 */
export function openStored(
  sealer: Sealer, id: Uint8Array, form: StoredForm, stored: Uint8Array, allocate: (length: number) => Uint8Array = (length) => new Uint8Array(length),
): Opened {
  const opened = openUnproven(sealer, form, stored, allocate)
  if ('damage' in opened) return opened
  primitives.writeHash(opened.plaintext, foundHash)
  return Buffer.compare(foundHash, id) === 0 ? opened : MISNAMED
}

const MISNAMED = { damage: 'content does not match id' }

/**
 * As `openStored`, but the hash comes about beside others, and the plaintext lies in memory of the thread until the call that it is told by, or its
 * promise, has come to its end. The promise must not fail; the id must stay until the call.
 */
export function openBriefly(sealer: Sealer, id: Uint8Array, form: StoredForm, stored: Uint8Array, take: (opened: Opened) => void | Promise<void>): void {
  const opened = openUnproven(sealer, form, stored, (length) => scratch.take(length))
  if ('damage' in opened) {
    void take(opened)
    return
  }
  const { plaintext } = opened
  hashLanes.add(plaintext, (hash) => {
    const taking = take(Buffer.compare(hash, id) === 0 ? opened : MISNAMED)
    if (taking === undefined) scratch.give(plaintext)
    else void taking.then(() => scratch.give(plaintext))
  })
}
