/**
 * Gets the work on blobs done by worker threads, in memory that all threads see. Small blobs lie
 * together in one slab and go over many in a message. A repository that has little to do starts no
 * thread at all: the first small blobs are done in place.
 */
import assert from 'node:assert/strict'
import os from 'node:os'
import { createSealer } from '../../crypto/envelope.ts'
import type { Sealer, SealingKey } from '../../crypto/envelope.ts'
import { idOf } from '../../crypto/ids.ts'
import type { DeliveryTarget } from '../../restore/deliver.ts'
import type { IndexTable } from '../index-table.ts'
import { openIndexFile } from '../sealed-files.ts'
import type { BlobId, BlobType, PackId } from '../types.ts'
import { BATCH_BYTES, SlabBatch } from './blob-batch.ts'
import { hashLanes, hashSlots, idIn, openStored, plaintextIn, sealedIn, sealSlots, slotBytes } from './blob-work.ts'
import type { SealedBlob, SealingRules, StoredForm, Told } from './blob-work.ts'
import { Gatherer } from './gatherer.ts'
import { packPlaces } from './protocol.ts'
import { deliverBlobs } from './deliver-blobs.ts'
import type { Answers, BlobDelivery, OpenedBlob, OpenOrder, SealOrder, SlotPlace } from './protocol.ts'
import { SlabPool } from './slab-pool.ts'
import type { Slab } from './slab-pool.ts'
import { verifyPack } from './verify-pack.ts'
import type { PackTable, PackVerdict } from './verify-pack.ts'
import { workerPool } from './worker-pool.ts'

/** What lies in slabs at once: enough for every worker to have work waiting, and for the longest chunks. */
const SLAB_BYTES_PER_CORE = 16 * 1024 * 1024
const SLAB_BYTES_MIN = 2 * SLAB_BYTES_PER_CORE
const SLAB_BYTES_MAX = 8 * SLAB_BYTES_PER_CORE
/** Blobs up to this size lie together in slabs of this size. */
const SMALL_BYTES_MAX = 128 * 1024
const SHARED_SLAB_BYTES = 1024 * 1024
/** A message is sent once it has this much work. */
const MESSAGE_WEIGHT_MAX = 1024 * 1024
/** What a blob costs beside its bytes, expressed in bytes. */
const BLOB_WEIGHT = 4096

/** How much more work a byte of an index file is than a byte of a blob. */
const INDEX_WEIGHT = 8

/** In place, as long as no worker runs: blobs up to this size, until so much has been done. */
const IN_PLACE_BLOB_BYTES_MAX = 64 * 1024
const IN_PLACE_BYTES_MAX = 1024 * 1024
/** Opening takes a fraction of the time of sealing: threads are not started for the directories of one backup that has not changed. */
const OPENED_IN_PLACE_WEIGHT = 1 / 64
/** The directory with the list of a disk's content is longer than others. */
const OPENED_IN_PLACE_BYTES_MAX = 1024 * 1024
/** Index files of so many bytes, one of the longest, take some forty milliseconds; a thread takes as long to start. */
const IN_PLACE_INDEX_BYTES_MAX = 3 * 1024 * 1024

/** Work on so many bytes is sure to keep all threads busy. */
const STARTED_AHEAD_BYTES = 64 * 1024 * 1024

/** A stored blob in a range of a pack, and where its plaintext is wanted. */
export interface BlobToDeliver {
  readonly id: BlobId
  /** Bytes from the start of the range. */
  readonly start: number
  /** Stored bytes. */
  readonly length: number
  readonly form: StoredForm
  readonly targets: readonly DeliveryTarget[]
}

/** The first bytes of what is held, when a plaintext turns out to be shorter. */
export function shortened(held: HeldBytes, length: number): HeldBytes {
  const { slot, plaintext, place } = held
  return {
    slot, length, plaintext: plaintext.subarray(0, length), place: place === undefined ? undefined : { ...place, plainLength: length },
    release: () => held.release(),
  }
}

/** Bytes in memory that the workers see. */
export interface HeldBytes {
  readonly slot: Uint8Array
  /** The part of the slot that the plaintext is put into. */
  readonly plaintext: Buffer
  /** Where the slot lies for the workers; undefined for what is done in place. */
  readonly place: SlotPlace | undefined
  readonly length: number
  release(): void
}

class SlabBytes implements HeldBytes {
  readonly slot: Uint8Array
  readonly place: SlotPlace
  readonly length: number
  readonly release: () => void

  constructor(slab: Slab, offset: number, length: number, slotLength: number, release: () => void) {
    this.slot = slab.bytes.subarray(offset, offset + slotLength)
    this.place = { memory: slab.memory, offset, plainLength: length }
    this.length = length
    this.release = release
  }

  get plaintext(): Buffer {
    return plaintextIn(this.slot, this.length)
  }
}

/** A slab, how far it is filled, and by how many blobs that are still held. */
interface SharedSlab {
  readonly slab: Slab
  filled: number
  held: number
}

export class BlobCrew {
  readonly #key: SealingKey
  readonly #rules: SealingRules
  readonly #sealer: Sealer
  readonly #slabs = new SlabPool(
    Math.min(SLAB_BYTES_MAX, Math.max(SLAB_BYTES_MIN, SLAB_BYTES_PER_CORE * os.availableParallelism())),
  )
  readonly #hashes: Gatherer<SlotPlace, true>
  readonly #seals: Gatherer<SealOrder, true>
  readonly #opens: Gatherer<OpenOrder, OpenedBlob>
  #keyId: number | undefined
  #inPlaceBytes = 0
  #indexBytesInPlace = 0
  /** The slab that small blobs are put into at the moment, and the next one while it is awaited. */
  #shared: SharedSlab | undefined
  #opening: Promise<void> | undefined

  constructor(key: SealingKey, rules: SealingRules) {
    this.#key = key
    this.#rules = rules
    this.#sealer = createSealer(key)
    this.#hashes = new Gatherer(MESSAGE_WEIGHT_MAX, async (orders, weight) => {
      const slots = packPlaces(orders.map(({ memory, offset, plainLength }) => ({ memory, offset, a: plainLength, b: 0, c: 0 })))
      await workerPool.submit(this.#getKeyId(), { kind: 'hash', slots }, weight)
      return orders.map(() => true)
    })
    this.#seals = new Gatherer(MESSAGE_WEIGHT_MAX, async (orders, weight) => {
      const slots = packPlaces(
        orders.map(({ memory, offset, plainLength, type }) => ({ memory, offset, a: plainLength, b: type === 'tree' ? 1 : 0, c: 0 })),
      )
      await workerPool.submit(this.#getKeyId(), { kind: 'seal', slots }, weight)
      return orders.map(() => true)
    })
    this.#opens = new Gatherer(MESSAGE_WEIGHT_MAX, async (orders, weight) => {
      const blobs = packPlaces(
        orders.map(({ memory, offset, storedLength, plainLength, compressed }) =>
          ({ memory, offset, a: storedLength, b: plainLength, c: compressed ? 1 : 0 })),
      )
      const ids = Buffer.concat(orders.map(({ id }) => id))
      return takeApart(orders, await workerPool.submit(this.#getKeyId(), { kind: 'open', blobs, ids }, weight))
    })
  }

  /** Room for a plaintext where the crew can work on it, as soon as there is some; release it in the end. */
  reserve(length: number): HeldBytes | Promise<HeldBytes> {
    return this.#staysInPlace(length) ? holdInPlace(length) : this.#holdInSlab(length, slotBytes(length))
  }

  /** Puts a plaintext where the crew can work on it. */
  async hold(plaintext: Uint8Array): Promise<HeldBytes> {
    const bytes = await this.reserve(plaintext.length)
    bytes.plaintext.set(plaintext)
    return bytes
  }

  async hash({ slot, place, length }: HeldBytes): Promise<BlobId> {
    if (place === undefined) inPlace<null>((end) => hashSlots([{ bytes: slot, plainLength: length }], end))
    else await this.#hashes.add(place, length + BLOB_WEIGHT)
    return idIn(slot)
  }

  /** Seals what has been hashed; the stored form lies in the held memory. Throws `host.unsound`. */
  async seal({ slot, place, length }: HeldBytes, type: BlobType): Promise<SealedBlob> {
    if (place === undefined) inPlace<null>((end) => sealSlots(this.#sealer, this.#rules, [{ bytes: slot, plainLength: length, type }], end))
    else await this.#seals.add({ memory: place.memory, offset: place.offset, plainLength: length, type }, length + BLOB_WEIGHT)
    return sealedIn(slot, length)
  }

  /** Room for many small plaintexts, as soon as there is some; release it in the end. */
  async openBatch(): Promise<SlabBatch> {
    return new SlabBatch(await this.#slabs.take(BATCH_BYTES))
  }

  async hashBatch(batch: SlabBatch): Promise<void> {
    const weight = batch.plainBytes + batch.count * BLOB_WEIGHT
    if (this.#batchStaysInPlace(weight)) inPlace<null>((end) => hashSlots(batch.slots, end))
    else await workerPool.submit(this.#getKeyId(), { kind: 'hash', slots: batch.placesOf(batch.slots, 0) }, weight)
  }

  /** Seals some of the blobs that have been hashed, each in its slot. Throws `host.unsound`. */
  async sealBatch(batch: SlabBatch, slots: SlabBatch['slots'], type: BlobType): Promise<void> {
    const weight = slots.reduce((sum, { plainLength }) => sum + plainLength + BLOB_WEIGHT, 0)
    if (this.#batchStaysInPlace(0)) inPlace<null>((end) => sealSlots(this.#sealer, this.#rules, slots.map((slot) => ({ ...slot, type })), end))
    else await workerPool.submit(this.#getKeyId(), { kind: 'seal', slots: batch.placesOf(slots, type === 'tree' ? 1 : 0) }, weight)
  }

  releaseBatch(batch: SlabBatch): void {
    this.#slabs.give(batch.slab)
  }

  /** Opens a stored blob; the plaintext is new memory. */
  open(id: BlobId, form: StoredForm, stored: Uint8Array): Promise<OpenedBlob> {
    return this.readAndOpen(id, form, stored.length, async (memory) => memory.set(stored))
  }

  /** Opens a stored blob that is read to where the crew works on it; the plaintext is new memory. */
  async readAndOpen(id: BlobId, form: StoredForm, storedLength: number, read: (memory: Uint8Array) => Promise<void>): Promise<OpenedBlob> {
    const idBytes = Buffer.from(id, 'hex')
    if (this.#staysInPlace(form.plainLength, OPENED_IN_PLACE_WEIGHT, OPENED_IN_PLACE_BYTES_MAX)) {
      const stored = new Uint8Array(storedLength)
      await read(stored)
      return openStored(this.#sealer, idBytes, form, stored)
    }
    const bytes = await this.#holdInSlab(storedLength, storedLength)
    try {
      await read(bytes.slot)
      return await this.#opens.add(
        {
          memory: bytes.place.memory,
          offset: bytes.place.offset,
          id: idBytes,
          storedLength,
          plainLength: form.plainLength,
          compressed: form.compressed,
        },
        form.plainLength + BLOB_WEIGHT,
      )
    } finally {
      bytes.release()
    }
  }

  /** Has blobs opened and put where they are wanted; the range that they lie in is read to where the crew sees it. */
  async deliver(rangeBytes: number, read: (memory: Uint8Array) => Promise<void>, blobs: readonly BlobToDeliver[]): Promise<readonly BlobDelivery[]> {
    const ids = Buffer.allocUnsafeSlow(blobs.length * 32)
    for (const [i, { id }] of blobs.entries()) ids.write(id, i * 32, 'hex')
    const orders = blobs.map(({ start, length, form, targets }) => ({ start, length, form, targets }))
    const plainBytes = blobs.reduce((sum, { form }) => sum + form.plainLength + BLOB_WEIGHT, 0)
    if (this.#staysInPlace(plainBytes)) {
      const memory = new Uint8Array(rangeBytes)
      await read(memory)
      return new Promise((resolve, reject) => {
        deliverBlobs(this.#sealer, memory.buffer, ids, orders, (told) => ('error' in told ? reject(told.error as Error) : resolve(told.answer)))
        hashLanes.finish()
      })
    }
    const slab = await this.#slabs.take(rangeBytes)
    try {
      await read(slab.bytes.subarray(0, rangeBytes))
      return await workerPool.submit(this.#getKeyId(), { kind: 'deliver', memory: slab.memory, ids, blobs: orders }, plainBytes)
    } finally {
      this.#slabs.give(slab)
    }
  }

  /** What an index file says that was read. Throws `repository.damaged`. */
  async readIndex(id: string, stored: Uint8Array): Promise<IndexTable> {
    if (!workerPool.isStarted && this.#indexBytesInPlace + stored.length <= IN_PLACE_INDEX_BYTES_MAX) {
      this.#indexBytesInPlace += stored.length
      return openIndexFile(this.#sealer, id, stored)
    }
    return workerPool.submit(this.#getKeyId(), { kind: 'index', id, stored }, stored.length * INDEX_WEIGHT)
  }

  /** The hash of the first bytes of some shared memory. */
  async name(memory: SharedArrayBuffer, bytes: number): Promise<PackId> {
    if (this.#staysInPlace(bytes)) return idOf<PackId>(new Uint8Array(memory, 0, bytes))
    return workerPool.submit(this.#getKeyId(), { kind: 'name', memory, bytes }, bytes)
  }

  /** Judges a pack that lies at the beginning of some memory. */
  async verify(memory: SharedArrayBuffer, bytes: number, packId: PackId, table: PackTable): Promise<PackVerdict> {
    if (this.#staysInPlace(bytes)) return inPlace<PackVerdict>((tell) => verifyPack(this.#sealer, packId, new Uint8Array(memory, 0, bytes), table, tell))
    return workerPool.submit(this.#getKeyId(), { kind: 'verify', memory, bytes, packId, table }, bytes)
  }

  /** Has the threads come up while the first of so many bytes is still being fetched. */
  expect(bytes: number): void {
    if (bytes < STARTED_AHEAD_BYTES) return
    this.#getKeyId()
    workerPool.start()
  }

  /** Ends the crew's work; nothing may be under way any more. */
  async disband(): Promise<void> {
    if (this.#keyId !== undefined) await workerPool.removeKey(this.#keyId)
    this.#keyId = undefined
  }

  #getKeyId(): number {
    this.#keyId ??= workerPool.addKey({ key: this.#key, rules: this.#rules })
    return this.#keyId
  }

  #staysInPlace(bytes: number, weight = 1, bytesMax = IN_PLACE_BLOB_BYTES_MAX): boolean {
    if (workerPool.isStarted || bytes > bytesMax || this.#inPlaceBytes > IN_PLACE_BYTES_MAX) return false
    this.#inPlaceBytes += (bytes + BLOB_WEIGHT) * weight
    return true
  }

  #batchStaysInPlace(weight: number): boolean {
    if (workerPool.isStarted || this.#inPlaceBytes + weight > IN_PLACE_BYTES_MAX) return false
    this.#inPlaceBytes += weight
    return true
  }

  /** At once when there is room, which spares small blobs a turn of waiting. */
  #holdInSlab(length: number, slotLength: number): SlabBytes | Promise<SlabBytes> {
    if (slotLength > SMALL_BYTES_MAX) return this.#holdInOwnSlab(length, slotLength)
    const shared = this.#shared
    if (shared === undefined) return this.#holdInNextSlab(length, slotLength)
    const { slab, filled } = shared
    if (filled + slotLength > slab.bytes.length) {
      this.#shared = undefined
      this.#letGo(shared)
      return this.#holdInNextSlab(length, slotLength)
    }
    shared.filled += slotLength + 63 - ((slotLength + 63) % 64)
    shared.held += 1
    return new SlabBytes(slab, filled, length, slotLength, () => this.#letGo(shared))
  }

  async #holdInOwnSlab(length: number, slotLength: number): Promise<SlabBytes> {
    const slab = await this.#slabs.take(slotLength)
    return new SlabBytes(slab, 0, length, slotLength, () => this.#slabs.give(slab))
  }

  async #holdInNextSlab(length: number, slotLength: number): Promise<SlabBytes> {
    this.#opening ??= this.#openShared()
    await this.#opening
    return this.#holdInSlab(length, slotLength)
  }

  async #openShared(): Promise<void> {
    const slab = await this.#slabs.take(SHARED_SLAB_BYTES)
    this.#opening = undefined
    // Being open for more counts as one that holds it.
    this.#shared = { slab, filled: 0, held: 1 }
  }

  #letGo(shared: SharedSlab): void {
    shared.held -= 1
    if (shared.held === 0) this.#slabs.give(shared.slab)
  }
}

/** What some work in this thread answers, whose hashes may come about beside each other. Throws what it tells to have gone wrong. */
function inPlace<Answer>(begin: (tell: (outcome: Told<Answer>) => void) => void): Answer {
  let outcome: Told<Answer> | undefined
  begin((told) => (outcome = told))
  hashLanes.finish()
  assert(outcome !== undefined)
  if ('error' in outcome) throw outcome.error
  return outcome.answer
}

function takeApart(orders: readonly OpenOrder[], { memories, results }: Answers['open']): OpenedBlob[] {
  return orders.map(({ plainLength }, i) => {
    const result = results[i]
    if (result === undefined || typeof result === 'string') return { damage: result ?? 'not answered' }
    const [memory, offset] = result
    const plaintext = memories[memory]?.subarray(offset, offset + plainLength)
    return plaintext?.length === plainLength ? { plaintext } : { damage: 'not answered' }
  })
}

function holdInPlace(length: number): HeldBytes {
  const slot = new Uint8Array(slotBytes(length))
  return { slot, plaintext: plaintextIn(slot, length), place: undefined, length, release: () => undefined }
}
