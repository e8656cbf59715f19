import { hash } from 'node:crypto'
import type { BlobId } from '../repository/types.ts'

const UNIT_BYTES = 64 * 1024
const LENGTH_MAX = 8 * 1024 * 1024

const idsByLength = new Map<number, BlobId>()

/**
 * Whether a blob is known, by its id alone, to hold nothing but zeros. Holes are archived in pieces of
 * round lengths, and only those are known; false says nothing.
 */
export function isKnownZeroBlob(blob: { readonly blobId: BlobId; readonly length: number }): boolean {
  const { blobId, length } = blob
  if (length === 0 || length > LENGTH_MAX || length % UNIT_BYTES !== 0) return false
  let id = idsByLength.get(length)
  if (id === undefined) {
    id = hash('sha256', Buffer.alloc(length)) as BlobId
    idsByLength.set(length, id)
  }
  return id === blobId
}
