/**
 * Judges a whole pack as it was read: its name, its header, and every blob that the index says lies in it.
 * Nothing is copied, and nothing but the verdict leaves the thread that does it.
 */
import { ENVELOPE_BYTES } from '../../crypto/envelope.ts'
import type { Sealer } from '../../crypto/envelope.ts'
import { decodePackHeader, HEADER_BYTES_MAX, HEADER_LENGTH_BYTES } from '../../format/pack-header.ts'
import type { PackedBlob } from '../../format/pack-header.ts'
import type { PackId } from '../types.ts'
import { DONE, endOfAll, hashLanes, openBriefly, type Told } from './blob-work.ts'

/** What the index says of the blobs in a pack, in a form that goes from thread to thread at little cost. */
export interface PackTable {
  /** 32 bytes for each blob. */
  readonly ids: Uint8Array
  /** Five for each: offset, stored length, plaintext length, 1 when compressed, 1 for a tree. */
  readonly numbers: Float64Array
}

export interface PackVerdict {
  /** Whether the pack's name is the hash of its bytes. */
  readonly hasItsName: boolean
  /** Whether the header names all these blobs, and how many it names; or why it cannot be read. */
  readonly header: { readonly agrees: boolean; readonly blobCount: number } | { readonly damage: string }
  /** Which of the blobs are damaged, by their places in the table; those that lie behind the pack's end are not among them. */
  readonly damaged: readonly number[]
}

const ID_BYTES = 32
const NUMBERS_PER_BLOB = 5

export function packTableOf(blobs: readonly PackedBlob[]): PackTable {
  const ids = Buffer.alloc(blobs.length * ID_BYTES)
  const numbers = new Float64Array(blobs.length * NUMBERS_PER_BLOB)
  for (const [i, { id, type, offset, length, plainLength, compressed }] of blobs.entries()) {
    ids.write(id, i * ID_BYTES, 'hex')
    const at = i * NUMBERS_PER_BLOB
    numbers[at] = offset
    numbers[at + 1] = length
    numbers[at + 2] = plainLength
    numbers[at + 3] = compressed ? 1 : 0
    numbers[at + 4] = type === 'tree' ? 1 : 0
  }
  return { ids, numbers }
}

/** Tells the verdict once all hashes are there, which `hashLanes.finish` brings about: the one of the pack comes about beside those of its blobs. */
export function verifyPack(
  sealer: Sealer, packId: PackId, pack: Uint8Array, { ids, numbers }: PackTable, tell: (outcome: Told<PackVerdict>) => void,
): void {
  const damaged: number[] = []
  const count = numbers.length / NUMBERS_PER_BLOB
  let hasItsName = false
  const header = judgeHeader(sealer, pack, { ids, numbers })
  const end = endOfAll(count + 1, () => tell({ answer: { hasItsName, header, damaged: damaged.toSorted((a, b) => a - b) } }))
  hashLanes.add(pack, (hash) => {
    hasItsName = Buffer.from(hash).toString('hex') === packId
    end(DONE)
  })
  for (let i = 0; i < count; i += 1) {
    const at = i * NUMBERS_PER_BLOB
    const offset = numbers[at] ?? 0
    const packEnd = offset + (numbers[at + 1] ?? 0)
    if (packEnd > pack.length) {
      end(DONE)
      continue
    }
    const form = { plainLength: numbers[at + 2] ?? 0, compressed: numbers[at + 3] === 1 }
    openBriefly(sealer, ids.subarray(i * ID_BYTES, (i + 1) * ID_BYTES), form, pack.subarray(offset, packEnd), (opened) => {
      if ('damage' in opened) damaged.push(i)
      end(DONE)
    })
  }
}

function judgeHeader(sealer: Sealer, pack: Uint8Array, table: PackTable): PackVerdict['header'] {
  if (pack.length < ENVELOPE_BYTES + HEADER_LENGTH_BYTES) return { damage: 'pack is too short' }
  const end = pack.length - HEADER_LENGTH_BYTES
  const length = new DataView(pack.buffer, pack.byteOffset + end).getUint32(0, true)
  if (length < ENVELOPE_BYTES || length > HEADER_BYTES_MAX || length > end) return { damage: 'impossible header length' }
  const header = sealer.open(pack.subarray(end - length, end))
  if (header === undefined) return { damage: 'header is not authentic' }
  const blobs = decodePackHeader(header)
  if (blobs === undefined) return { damage: 'header has an unknown form' }
  const found = packTableOf(blobs)
  if (Buffer.compare(found.ids, table.ids) === 0 && haveEqualNumbers(found.numbers, table.numbers)) return { agrees: true, blobCount: blobs.length }
  const inHeader = new Set(rowsOf(found))
  return { agrees: rowsOf(table).every((row) => inHeader.has(row)), blobCount: blobs.length }
}

function haveEqualNumbers(a: Float64Array, b: Float64Array): boolean {
  return a.length === b.length && a.every((number, i) => number === b[i])
}

/** Each blob as a text of all that is said of it. */
function rowsOf({ ids, numbers }: PackTable): string[] {
  const text = Buffer.from(ids.buffer, ids.byteOffset, ids.length).toString('hex')
  return Array.from({ length: numbers.length / NUMBERS_PER_BLOB }, (_, i) =>
    `${text.slice(i * 2 * ID_BYTES, (i + 1) * 2 * ID_BYTES)} ${numbers.subarray(i * NUMBERS_PER_BLOB, (i + 1) * NUMBERS_PER_BLOB).join(' ')}`)
}
