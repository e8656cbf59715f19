/**
 * Makes sure that what a backup adds fits into its vault, before it writes anything.
 *
 * 1. When all of the source would fit, new and incompressible, it is as good as done.
 * 2. Else a dry pass does what the run does (read, compare, cut, deduplicate, compress, pack), into a storage that only
 *    counts. It ends at the pack that would not fit.
 * 3. What it has counted is asked for. A vault that grows by itself grows now. What other runs in the vault have set
 *    aside is theirs; when it would fit without them, they are waited for.
 *
 * The run itself is limited to what it was granted: a source may have grown between the two passes.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from '@opencbr/engine'
import type { RoomAnswer, RoomRequest } from './protocol.ts'

export type AskForRoom = (request: RoomRequest) => Promise<RoomAnswer>

const ASK_AGAIN_MS = 1000
/** Of two passes over the same source one may close a few packs more, each with some bytes at its end. */
const PACKS_APART_BYTES = 4096

export interface SecuredRoom {
  /** Bytes of packs that the run may add; undefined when there is no limit. */
  readonly bytesMax: number | undefined
}

/** Throws `storage.over_capacity`. `measure` makes the dry pass, in which at most so many bytes fit. */
export async function secureRoom(
  ask: AskForRoom, boundBytes: number, measure: (freeBytes: number | undefined) => Promise<number>, signal: AbortSignal,
): Promise<SecuredRoom> {
  let answer = await ask({ neededBytes: boundBytes, measured: false })
  if (answer.kind === 'measure') {
    const neededBytes = await measure(answer.freeBytes) + PACKS_APART_BYTES
    answer = await ask({ neededBytes, measured: true })
    while (answer.kind === 'wait') {
      await sleep(ASK_AGAIN_MS, undefined, { signal })
      answer = await ask({ neededBytes, measured: true })
    }
    if (answer.kind === 'refused') throw new Failure('storage.over_capacity', { needed: neededBytes, available: answer.freeBytes })
  }
  if (answer.kind !== 'granted') throw new TypeError(`the server answers ${answer.kind}`)
  return { bytesMax: answer.bytes }
}
