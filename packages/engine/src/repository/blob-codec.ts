/**
 * From a blob's plaintext to what lies in a pack, and back: zstd, then the envelope. Used by
 * whichever thread does the work.
 */
import { ENVELOPE_BYTES } from '../crypto/envelope.ts'
import type { Sealer } from '../crypto/envelope.ts'
import { idOf } from '../crypto/ids.ts'
import { compress, decompress } from '../crypto/zstd.ts'
import type { ZstdLevel } from '../crypto/zstd.ts'
import { Failure } from '../failure.ts'
import type { BlobId, BlobType } from './types.ts'

/** Lengths in packs and indexes have 32 bits. */
export const BLOB_BYTES_MAX = 2 ** 32 - 1 - ENVELOPE_BYTES

export interface StoredForm {
  /** Plaintext bytes. */
  readonly plainLength: number
  readonly compressed: boolean
}

export interface SealedBlob extends StoredForm {
  readonly stored: Uint8Array
}

/**
 * Opens a stored blob, and proves it by its id. Answers with the reason when it is damaged, since
 * what that means depends on whether it comes from a storage or was made a moment ago.
 */
export function openStored(
  sealer: Sealer, id: BlobId, { plainLength, compressed }: StoredForm, stored: Uint8Array,
): { readonly plaintext: Uint8Array } | { readonly damage: string } {
  const content = sealer.open(stored)
  if (content === undefined) return { damage: 'not authentic' }
  const plaintext = compressed ? decompress(content, plainLength) : content
  if (plaintext === undefined) return { damage: 'not decompressible to its length' }
  if (plaintext.length !== plainLength) return { damage: 'of another length' }
  if (idOf(plaintext) !== id) return { damage: 'content does not match id' }
  return { plaintext }
}

/**
 * Seals a blob, then opens it again and compares, before anything is stored: a faulty machine or a
 * faulty library must not pass for a backup. Throws `host.unsound` then.
 */
export function sealBlob(
  sealer: Sealer, version: 1 | 2, level: ZstdLevel, type: BlobType, id: BlobId, plaintext: Uint8Array,
): SealedBlob {
  let content = plaintext
  let compressed = false
  // Zero marks raw blobs in the format, so that an empty one cannot be a compressed one.
  if (version === 2 && plaintext.length > 0) {
    const frame = compress(plaintext, level)
    // Trees are compressed even where that makes them longer: pruning repacks raw trees every time.
    if (type === 'tree' || frame.length < plaintext.length) {
      content = frame
      compressed = true
    }
  }
  const form = { plainLength: plaintext.length, compressed }
  const stored = sealer.seal(content)
  const opened = openStored(sealer, id, form, stored)
  if ('damage' in opened) throw new Failure('host.unsound', { blobId: id, damage: opened.damage })
  return { ...form, stored }
}
