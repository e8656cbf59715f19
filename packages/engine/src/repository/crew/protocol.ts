import type { SealingKey } from '../../crypto/envelope.ts'
import type { Failure } from '../../failure.ts'
import type { IndexTable } from '../index-table.ts'
import type { DeliveryOutcome, DeliveryTarget } from '../../restore/deliver.ts'
import type { BlobType, PackId } from '../types.ts'
import type { SealingRules, StoredForm } from './blob-work.ts'
import type { PackTable, PackVerdict } from './verify-pack.ts'

/** A slot in shared memory. */
export interface SlotPlace {
  readonly memory: SharedArrayBuffer
  readonly offset: number
  readonly plainLength: number
}

export interface SealOrder extends SlotPlace {
  readonly type: BlobType
}

export interface OpenOrder extends StoredForm {
  readonly memory: SharedArrayBuffer
  readonly offset: number
  readonly storedLength: number
  /** 32 bytes. */
  readonly id: Uint8Array
}

/**
 * Many places in few numbers: a message costs by its objects. Each place is the number of its memory
 * and four more numbers, whose meaning the kind of work says.
 */
export interface Places {
  readonly memories: readonly SharedArrayBuffer[]
  readonly numbers: Float64Array
}

const NUMBERS_PER_PLACE = 5

export interface UnpackedPlace {
  readonly memory: SharedArrayBuffer
  readonly offset: number
  readonly a: number
  readonly b: number
  readonly c: number
}

export function packPlaces(places: readonly UnpackedPlace[]): Places {
  const memories: SharedArrayBuffer[] = []
  const numbers = new Float64Array(places.length * NUMBERS_PER_PLACE)
  for (const [i, { memory, offset, a, b, c }] of places.entries()) {
    // Neighbours mostly share their memory.
    if (memories.at(-1) !== memory) memories.push(memory)
    const at = i * NUMBERS_PER_PLACE
    numbers[at] = memories.length - 1
    numbers[at + 1] = offset
    numbers[at + 2] = a
    numbers[at + 3] = b
    numbers[at + 4] = c
  }
  return { memories, numbers }
}

export function* unpackPlaces({ memories, numbers }: Places): Generator<UnpackedPlace> {
  for (let at = 0; at < numbers.length; at += NUMBERS_PER_PLACE) {
    const memory = memories[numbers[at] ?? 0]
    if (memory === undefined) throw new Error('A place names no memory.')
    yield { memory, offset: numbers[at + 1] ?? 0, a: numbers[at + 2] ?? 0, b: numbers[at + 3] ?? 0, c: numbers[at + 4] ?? 0 }
  }
}

export type Work =
  /** a: plaintext bytes. */
  | { readonly kind: 'hash'; readonly slots: Places }
  /** a: plaintext bytes; b: 1 for a tree. */
  | { readonly kind: 'seal'; readonly slots: Places }
  /** a: stored bytes; b: plaintext bytes; c: 1 when compressed. The ids come one after the other. */
  | { readonly kind: 'open'; readonly blobs: Places; readonly ids: Uint8Array }
  /** An index file as it was read. */
  | { readonly kind: 'index'; readonly id: string; readonly stored: Uint8Array }
  | { readonly kind: 'name'; readonly memory: SharedArrayBuffer; readonly bytes: number }
  /** Stored blobs in a range of a pack, which lies at the beginning of some memory. The ids come one after the other. */
  | {
      readonly kind: 'deliver'; readonly memory: SharedArrayBuffer; readonly ids: Uint8Array
      readonly blobs: readonly { readonly start: number; readonly length: number; readonly form: StoredForm; readonly targets: readonly DeliveryTarget[] }[]
    }
  /** A pack that lies at the beginning of some memory. */
  | { readonly kind: 'verify'; readonly memory: SharedArrayBuffer; readonly bytes: number; readonly packId: PackId; readonly table: PackTable }

export type OpenedBlob = { readonly plaintext: Uint8Array } | { readonly damage: string }

/** What became of each target of a blob, or how the blob is damaged. */
export type BlobDelivery = { readonly outcomes: readonly DeliveryOutcome[] } | { readonly damage: string }

/** What each kind of work answers. */
export interface Answers {
  readonly hash: null
  readonly seal: null
  /** Small plaintexts lie one after the other in memory of their own, which comes first; large ones follow. */
  readonly open: { readonly memories: readonly Uint8Array[]; readonly results: readonly (string | readonly [memory: number, offset: number])[] }
  readonly index: IndexTable
  /** The hash of the memory's first bytes. */
  readonly name: PackId
  readonly verify: PackVerdict
  /** For each blob what became of its targets, or how it is damaged. */
  readonly deliver: readonly BlobDelivery[]
}

/** What goes to a worker. A key comes before the first work that needs it. */
export type Order =
  | { readonly kind: 'learn-key'; readonly keyId: number; readonly key: SealingKey; readonly rules: SealingRules }
  | { readonly kind: 'forget-key'; readonly keyId: number }
  | { readonly kind: 'work'; readonly orderId: number; readonly keyId: number; readonly work: Work }

/** What comes back; a failure is taken apart for the way, and anything else that is thrown comes as text. */
export type Reply =
  | { readonly orderId: number; readonly answer: Answers[keyof Answers] }
  | { readonly orderId: number; readonly failure: { readonly code: Failure['code']; readonly facts: Failure['facts'] } }
  | { readonly orderId: number; readonly mistake: string }
