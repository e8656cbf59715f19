import { ENVELOPE_BYTES } from '../crypto/envelope.ts'
import { isId } from '../crypto/ids.ts'
import type { BlobId, PackId } from '../repository/types.ts'
import { isObject, isWhole, parseJson } from './json.ts'
import type { PackedBlob } from './pack-header.ts'

export interface IndexedPack {
  readonly id: PackId
  readonly blobs: readonly PackedBlob[]
}

const UINT32_MAX = 2 ** 32 - 1

/** The JSON of an index file. Every pack stands there with all of its blobs. */
export function encodeIndex(packs: readonly IndexedPack[]): Uint8Array {
  return Buffer.from(
    JSON.stringify({
      packs: packs.map((pack) => ({
        id: pack.id,
        blobs: pack.blobs.map(({ id, type, offset, length, plainLength, compressed }) =>
          compressed ? { id, type, offset, length, uncompressed_length: plainLength } : { id, type, offset, length },
        ),
      })),
    }),
  )
}

function decodeBlob(value: unknown): PackedBlob | undefined {
  if (!isObject(value)) return undefined
  const { id, type, offset, length, uncompressed_length: uncompressed = 0 } = value
  if (!isId<BlobId>(id) || (type !== 'data' && type !== 'tree')) return undefined
  if (!isWhole(offset, UINT32_MAX) || !isWhole(length, UINT32_MAX) || length < ENVELOPE_BYTES) return undefined
  if (!isWhole(uncompressed, UINT32_MAX)) return undefined
  const compressed = uncompressed > 0
  return { id, type, offset, length, plainLength: compressed ? uncompressed : length - ENVELOPE_BYTES, compressed }
}

/** The packs that an index file names, or undefined when it is damaged. */
export function decodeIndex(json: Uint8Array): IndexedPack[] | undefined {
  const index = parseJson(json)
  if (!isObject(index)) return undefined
  // An index of nothing is written as null by some writers.
  if (index.packs === null) return []
  if (!Array.isArray(index.packs)) return undefined
  const packs: IndexedPack[] = []
  for (const pack of index.packs as readonly unknown[]) {
    if (!isObject(pack) || !isId<PackId>(pack.id) || !Array.isArray(pack.blobs)) return undefined
    const blobs: PackedBlob[] = []
    for (const value of pack.blobs as readonly unknown[]) {
      const blob = decodeBlob(value)
      if (blob === undefined) return undefined
      blobs.push(blob)
    }
    packs.push({ id: pack.id, blobs })
  }
  return packs
}
