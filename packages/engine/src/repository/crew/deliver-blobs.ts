import type { Sealer } from '../../crypto/envelope.ts'
import { deliver } from '../../restore/deliver.ts'
import { openBriefly } from './blob-work.ts'
import type { BlobDelivery, Work } from './protocol.ts'

type BlobsToDeliver = Extract<Work, { kind: 'deliver' }>['blobs']

/** Opens stored blobs that lie in some memory, and puts each where it is wanted. */
export function deliverBlobs(sealer: Sealer, memory: ArrayBufferLike, ids: Uint8Array, blobs: BlobsToDeliver): BlobDelivery[] {
  return blobs.map(({ start, length, form, targets }, i) => {
    const opened = openBriefly(sealer, ids.subarray(i * 32, i * 32 + 32), form, new Uint8Array(memory, start, length))
    return 'damage' in opened ? opened : { outcomes: targets.map((target) => deliver(opened.plaintext, target)) }
  })
}
