import type { Sealer } from '../../crypto/envelope.ts'
import { deliver, type DeliveryOutcome } from '../../restore/deliver.ts'
import { openBriefly, type Told } from './blob-work.ts'
import type { BlobDelivery, Work } from './protocol.ts'

type BlobsToDeliver = Extract<Work, { kind: 'deliver' }>['blobs']

/**
 * Opens stored blobs that lie in some memory, and puts each where it is wanted. Tells what became of them once all hashes
 * are there, which `hashLanes.finish` brings about, and all is written.
 */
export function deliverBlobs(
  sealer: Sealer, memory: ArrayBufferLike, ids: Uint8Array, blobs: BlobsToDeliver, tell: (outcome: Told<BlobDelivery[]>) => void,
): void {
  const deliveries: BlobDelivery[] = []
  let left = blobs.length
  let mistake: { readonly error: unknown } | undefined
  if (left === 0) tell({ answer: deliveries })
  const end = (i: number, delivery: BlobDelivery): void => {
    deliveries[i] = delivery
    left -= 1
    if (left === 0) tell(mistake ?? { answer: deliveries })
  }
  const fail = (i: number, error: unknown): void => {
    mistake ??= { error }
    end(i, { damage: 'not delivered' })
  }
  for (const [i, { start, length, form, targets }] of blobs.entries()) {
    openBriefly(sealer, ids.subarray(i * 32, i * 32 + 32), form, new Uint8Array(memory, start, length), (opened) => {
      if ('damage' in opened) return end(i, opened)
      try {
        const outcomes = targets.map((target) => deliver(opened.plaintext, target))
        if (outcomes.every((outcome): outcome is DeliveryOutcome => !(outcome instanceof Promise))) return end(i, { outcomes })
        return Promise.all(outcomes).then((all) => end(i, { outcomes: all }), (error: unknown) => fail(i, error))
      } catch (error) {
        return fail(i, error)
      }
    })
  }
}
