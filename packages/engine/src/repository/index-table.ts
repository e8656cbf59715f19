import type { IndexedPack } from '../format/index-file.ts'
import type { PackId } from './types.ts'

export const ID_WORDS = 8
export const NUMBER_WORDS = 4

/** The content of an index file in a form that goes from thread to thread, and into the index, without an object for each blob. */
export interface IndexTable {
  readonly packIds: readonly PackId[]
  /** How many blobs each pack has; they follow each other, in the order of their offsets. */
  readonly blobCounts: Uint32Array<ArrayBuffer>
  /** Eight words for each blob, each made of eight digits of its id. */
  readonly ids: Int32Array<ArrayBuffer>
  /** Four for each blob: 1 for a tree, offset, length, and plaintext length or 0 when stored raw. */
  readonly numbers: Uint32Array<ArrayBuffer>
}

const idBytes = Buffer.alloc(ID_WORDS * 4)

/** Writes the words of an id. */
export function writeIdWords(id: string, words: Int32Array, at: number): void {
  idBytes.write(id, 'hex')
  for (let word = 0; word < ID_WORDS; word += 1) words[at + word] = idBytes.readInt32BE(word * 4)
}

export function tableOf(packs: readonly IndexedPack[]): IndexTable {
  const count = packs.reduce((sum, { blobs }) => sum + blobs.length, 0)
  const table = {
    packIds: packs.map(({ id }) => id),
    blobCounts: Uint32Array.from(packs, ({ blobs }) => blobs.length),
    ids: new Int32Array(count * ID_WORDS),
    numbers: new Uint32Array(count * NUMBER_WORDS),
  }
  let row = 0
  for (const { blobs } of packs) {
    // Some writers list the blobs of a pack in another order than that in which they lie there.
    for (const { id, type, offset, length, plainLength, compressed } of blobs.toSorted((a, b) => a.offset - b.offset)) {
      writeIdWords(id, table.ids, row * ID_WORDS)
      table.numbers.set([type === 'tree' ? 1 : 0, offset, length, compressed ? plainLength : 0], row * NUMBER_WORDS)
      row += 1
    }
  }
  return table
}
