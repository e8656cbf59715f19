import type { Sealer } from '../../crypto/envelope.ts'
import { deliver } from '../../restore/deliver.ts'
import { openBriefly, type Told } from './blob-work.ts'
import type { BlobDelivery, Work } from './protocol.ts'

type BlobsToDeliver = Extract<Work, { kind: 'deliver' }>['blobs']

/** Opens stored blobs that lie in some memory, and puts each where it is wanted; `hashLanes.finish` brings the end about. */
export function deliverBlobs(
  sealer: Sealer, memory: ArrayBufferLike, ids: Uint8Array, blobs: BlobsToDeliver, tell: (outcome: Told<BlobDelivery[]>) => void,
): void {
  const deliveries: BlobDelivery[] = []
  let left = blobs.length
  let mistake: { readonly error: unknown } | undefined
  if (left === 0) tell({ answer: deliveries })
  for (const [i, { start, length, form, targets }] of blobs.entries()) {
    openBriefly(sealer, ids.subarray(i * 32, i * 32 + 32), form, new Uint8Array(memory, start, length), (opened) => {
      try {
        deliveries[i] = 'damage' in opened ? opened : { outcomes: targets.map((target) => deliver(opened.plaintext, target)) }
      } catch (error) {
        mistake ??= { error }
      }
      left -= 1
      if (left === 0) tell(mistake ?? { answer: deliveries })
    })
  }
}
