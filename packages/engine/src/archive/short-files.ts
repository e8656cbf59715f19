/**
 * The content of short files, each of which is one blob. Many are read into one batch and stored together: for a file
 * of a few kilobytes, messages and promises of its own would cost as much as the work on its bytes.
 */
import { CHUNK_BYTES_MIN } from '../chunker/chunker.ts'
import type { BlobBatch, BlobId } from '../repository/types.ts'
import type { FileStatus } from '../posix/posix.ts'
import type { BlobSink } from './blob-sink.ts'

/** Whether a file's content is one blob, and no other name's. */
export function isShort({ size, links }: FileStatus): boolean {
  return size > 0 && size <= CHUNK_BYTES_MIN && links === 1
}

interface Gathered {
  readonly bytes: number
  readonly onSaved: (blobId: BlobId) => void
  readonly onFailed: (error: unknown) => void
}

export class ShortFiles implements Disposable {
  readonly #sink: BlobSink
  #batch: BlobBatch | undefined
  #gathered: Gathered[] = []

  constructor(sink: BlobSink) {
    this.#sink = sink
  }

  /** Memory to read a file of so many bytes into; undefined when `makeRoom` must be waited for first. */
  room(bytes: number): Buffer | undefined {
    return this.#batch?.room(bytes)
  }

  /** Hands on what has been gathered, and waits for an empty batch. */
  async makeRoom(): Promise<void> {
    this.flush()
    this.#batch = await this.#sink.openBatch()
  }

  /** Takes the first bytes of the memory that was given last, more than none. */
  add(bytes: number, onSaved: Gathered['onSaved'], onFailed: Gathered['onFailed']): void {
    this.#batch?.add(bytes)
    this.#gathered.push({ bytes, onSaved, onFailed })
  }

  /** Hands on what has been gathered, however little. */
  flush(): void {
    const batch = this.#batch
    const gathered = this.#gathered
    this.#batch = undefined
    this.#gathered = []
    if (batch === undefined) return
    if (gathered.length === 0) {
      this.#sink.giveUpBatch(batch)
      return
    }
    this.#sink.saveBatch(batch, gathered.map(({ bytes }) => bytes)).then(
      (ids) => {
        for (const [i, { onSaved, onFailed }] of gathered.entries()) {
          const id = ids[i]
          if (id === undefined) onFailed(new Error('A blob of a batch was not answered.'))
          else onSaved(id)
        }
      },
      (error: unknown) => {
        for (const { onFailed } of gathered) onFailed(error)
      },
    )
  }

  /** What has been read is stored also when the run has failed: the next one need not do it again. */
  [Symbol.dispose](): void {
    this.flush()
  }
}
