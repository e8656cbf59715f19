import { asFailure } from '../failure.ts'
import { BATCH_BYTES } from '../repository/crew/blob-batch.ts'
import type { BlobBatch, BlobId, BlobType, BlobWriter, ReservedBlob, SavedBlob } from '../repository/types.ts'
import { ByteBudget } from '../restore/byte-budget.ts'

/** Content that may be on its way into the repository at once: enough to keep its workers busy. */
const BYTES_IN_FLIGHT_MAX = 24 * 1024 * 1024
/** What a blob on its way costs beside its content, so that tiny ones are bounded too. */
const BYTES_PER_BLOB = 4096

/**
 * Puts blobs into a repository, many at once, and counts what was new. After the first failure it takes
 * nothing more: what was promised is missing, and no snapshot may be written.
 */
export class BlobSink {
  dataBlobs = 0
  treeBlobs = 0
  dataBytesAdded = 0
  bytesAdded = 0
  bytesAddedPacked = 0
  readonly #writer: BlobWriter
  readonly #budget = new ByteBudget(BYTES_IN_FLIGHT_MAX)
  readonly #underWay = new Set<Promise<unknown>>()
  #failure: { readonly error: unknown } | undefined

  constructor(writer: BlobWriter) {
    this.#writer = writer
  }

  /** Waits until there is room for a blob, which `save` must be given next. */
  async admit(bytes: number): Promise<void> {
    await this.#budget.take(bytes + BYTES_PER_BLOB)
    if (this.#failure === undefined) return
    this.#budget.giveBack(bytes + BYTES_PER_BLOB)
    throw this.#failure.error
  }

  /** Waits for room for a blob, which is read into it; then `saveReserved` or `giveUp` must be called. */
  async reserve(bytes: number): Promise<ReservedBlob> {
    await this.admit(bytes)
    try {
      return await this.#writer.reserveBlob(bytes)
    } catch (error) {
      this.#budget.giveBack(bytes + BYTES_PER_BLOB)
      throw asFailure(error)
    }
  }

  giveUp(reserved: ReservedBlob): void {
    this.#budget.giveBack(reserved.length + BYTES_PER_BLOB)
    reserved.release()
  }

  /** Saves the first bytes of what was reserved. */
  saveReserved(type: BlobType, reserved: ReservedBlob, bytes = reserved.length): Promise<BlobId> {
    return this.#watch(this.#save(type, bytes, reserved.length, () => this.#writer.saveReserved(type, reserved, bytes)))
  }

  /** Waits for room for a batch, which `saveBatch` or `giveUpBatch` must be given. */
  async openBatch(): Promise<BlobBatch> {
    await this.admit(BATCH_BYTES)
    try {
      return await this.#writer.openBatch()
    } catch (error) {
      this.#budget.giveBack(BATCH_BYTES + BYTES_PER_BLOB)
      throw asFailure(error)
    }
  }

  /** Saves a batch of file content; answers the ids in its order. */
  saveBatch(batch: BlobBatch, lengths: readonly number[]): Promise<readonly BlobId[]> {
    return this.#watch(this.#saveBatch(batch, lengths))
  }

  async #saveBatch(batch: BlobBatch, lengths: readonly number[]): Promise<readonly BlobId[]> {
    try {
      const saved = await this.#writer.saveBatch('data', batch)
      for (const [i, { known, packedBytes }] of saved.entries()) if (!known) this.#count('data', lengths[i] ?? 0, packedBytes)
      return saved.map(({ id }) => id)
    } catch (error) {
      throw asFailure(error)
    } finally {
      this.#budget.giveBack(BATCH_BYTES + BYTES_PER_BLOB)
    }
  }

  giveUpBatch(batch: BlobBatch): void {
    this.#budget.giveBack(BATCH_BYTES + BYTES_PER_BLOB)
    this.#writer.releaseBatch(batch)
  }

  /** Saves an admitted blob, which must not be changed any more. */
  save(type: BlobType, plaintext: Uint8Array): Promise<BlobId> {
    return this.#watch(this.#save(type, plaintext.length, plaintext.length, () => this.#writer.saveBlob(type, plaintext)))
  }

  #watch<Saved>(saved: Promise<Saved>): Promise<Saved> {
    this.#underWay.add(saved)
    // Whoever waits for the id sees the failure as well, but may come too late to be the first.
    saved.then(
      () => this.#underWay.delete(saved),
      (error: unknown) => {
        this.#underWay.delete(saved)
        this.#failure ??= { error }
      },
    )
    return saved
  }

  async #save(type: BlobType, length: number, admittedBytes: number, save: () => Promise<SavedBlob>): Promise<BlobId> {
    try {
      const { id, known, packedBytes } = await save()
      if (!known) this.#count(type, length, packedBytes)
      return id
    } catch (error) {
      throw asFailure(error)
    } finally {
      this.#budget.giveBack(admittedBytes + BYTES_PER_BLOB)
    }
  }

  #count(type: BlobType, length: number, packedBytes: number): void {
    if (type === 'data') {
      this.dataBlobs += 1
      this.dataBytesAdded += length
    } else this.treeBlobs += 1
    this.bytesAdded += length
    this.bytesAddedPacked += packedBytes
  }

  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** Resolves when nothing is under way any more, whatever became of it. */
  async settle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay)
  }
}
