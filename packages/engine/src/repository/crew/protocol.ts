import type { SealingKey } from '../../crypto/envelope.ts'
import type { Failure } from '../../failure.ts'
import type { BlobId, BlobType, PackId } from '../types.ts'
import type { SealingRules, StoredForm } from './blob-work.ts'

/** A slot in shared memory. */
export interface SlotPlace {
  readonly memory: SharedArrayBuffer
  readonly offset: number
  readonly plainLength: number
}

export type Work =
  | { readonly kind: 'hash'; readonly slots: readonly SlotPlace[] }
  | { readonly kind: 'seal'; readonly slots: readonly (SlotPlace & { readonly type: BlobType })[] }
  | { readonly kind: 'open'; readonly blobs: readonly (StoredForm & SlotPlace & { readonly id: BlobId; readonly storedLength: number })[] }
  | { readonly kind: 'name'; readonly memory: SharedArrayBuffer; readonly bytes: number }

export type OpenedBlob = { readonly plaintext: Uint8Array } | { readonly damage: string }

/** What each kind of work answers. */
export interface Answers {
  readonly hash: null
  readonly seal: null
  readonly open: readonly OpenedBlob[]
  /** The hash of the memory's first bytes. */
  readonly name: PackId
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
