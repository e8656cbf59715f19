import assert from 'node:assert/strict'
import type { Storage } from '@opencbr/storage'
import { createChunker } from '../chunker/chunker.ts'
import { createSealer, ENVELOPE_BYTES } from '../crypto/envelope.ts'
import type { SealingKey } from '../crypto/envelope.ts'
import { Failure, throwIfCancelled } from '../failure.ts'
import { decodeConfig } from '../format/config.ts'
import { decodePackHeader, HEADER_BYTES_MAX, HEADER_LENGTH_BYTES } from '../format/pack-header.ts'
import { decodeSnapshot, encodeSnapshot } from '../format/snapshot.ts'
import type { Snapshot } from '../format/snapshot.ts'
import { BlobIndex } from './blob-index.ts'
import { BlobCrew, shortened } from './crew/blob-crew.ts'
import type { HeldBytes } from './crew/blob-crew.ts'
import type { SlabBatch } from './crew/blob-batch.ts'
import { BLOB_BYTES_MAX, idIn, sealedIn } from './crew/blob-work.ts'
import type { OpenedBlob } from './crew/protocol.ts'
import { packTableOf } from './crew/verify-pack.ts'
import { failureCode } from './guarded-storage.ts'
import { CONFIG_KEY, idOfKey, keyOf } from './layout.ts'
import { acquireLock, listLocks } from './lock.ts'
import { PackMemories } from './pack-memories.ts'
import { createPackWriter } from './pack-writer.ts'
import type { PackWriter } from './pack-writer.ts'
import type { Repository, StoredSnapshot } from './repository.ts'
import { createSealedFiles } from './sealed-files.ts'
import { createStoredFiles } from './stored-files.ts'
import type { BlobId, BlobLocation, BlobType, PackId, SavedBlob, SnapshotId } from './types.ts'
import type { OpenOptions } from './unlock-repository.ts'

const READS_AT_ONCE = 6
const INDEX_ATTEMPTS_MAX = 3

/** Runs over a list with a few calls under way at once; the first error ends it. */
async function forEachOf<Item>(items: readonly Item[], atOnce: number, visit: (item: Item) => Promise<void>): Promise<void> {
  const rest = items.values()
  await Promise.all(
    Array.from({ length: Math.min(atOnce, items.length) }, async () => {
      for (const item of rest) await visit(item)
    }),
  )
}

/** What the key has to open first. */
export interface Unlocked {
  /** Guarded. */
  readonly storage: Storage
  readonly sealedConfig: Uint8Array
  readonly masterKey: SealingKey
}

/** Opens a repository with its key. Throws `repository.unsupported` or `repository.damaged`. */
export function openWithKey({ storage: guarded, sealedConfig, masterKey }: Unlocked, options: OpenOptions): Repository {
  const now = options.now ?? (() => new Date())
  const level = options.compressionLevel ?? 2
  const sealer = createSealer(masterKey)
  const configText = sealer.open(sealedConfig)
  if (configText === undefined) throw new Failure('repository.damaged', { key: CONFIG_KEY, reason: 'not authentic' })
  const config = decodeConfig(configText)
  if ('unsupported' in config) throw new Failure('repository.unsupported', { reason: config.unsupported })
  const { id: repositoryId, version, chunkerPolynomial } = config

  const files = createSealedFiles(guarded, sealer, version)
  const chunker = createChunker(chunkerPolynomial)
  const crew = new BlobCrew(masterKey, { version, level })
  const packMemories = new PackMemories()
  let underWay = 0
  let onIdle: (() => void) | undefined
  let loaded: { readonly index: BlobIndex; readonly writer: PackWriter } | undefined
  let loading: Promise<void> | undefined

  function getLoaded(): { readonly index: BlobIndex; readonly writer: PackWriter } {
    assert(loaded !== undefined, 'loadIndex comes first')
    return loaded
  }

  async function readIndex(signal: AbortSignal | undefined): Promise<BlobIndex> {
    const index = new BlobIndex()
    await forEachOf(await files.list<string>('index', signal), READS_AT_ONCE, async ({ id }) => {
      throwIfCancelled(signal)
      index.addTable(await crew.readIndex(id, await guarded.get(keyOf('index', id), { signal })))
    })
    return index
  }

  async function load(signal: AbortSignal | undefined): Promise<void> {
    await loaded?.writer.close()
    let index: BlobIndex | undefined
    for (let attempt = 1; index === undefined; attempt += 1) {
      try {
        index = await readIndex(signal)
      } catch (error) {
        // Somebody who prunes replaces index files; those that took the place of a vanished one are listed now.
        if (failureCode(error) !== 'storage.not_found' || attempt === INDEX_ATTEMPTS_MAX) throw error
      }
    }
    loaded = { index, writer: createPackWriter(guarded, sealer, (memory, bytes) => crew.name(memory, bytes), files, index, packMemories, now) }
  }

  /** What is under way must end before the threads that do it. */
  function leave(): void {
    underWay -= 1
    if (underWay === 0) onIdle?.()
  }

  async function saveHeld(type: BlobType, held: HeldBytes): Promise<SavedBlob> {
    underWay += 1
    try {
      assertWritable()
      const { index, writer } = getLoaded()
      const id = await crew.hash(held)
      if (index.has(type, id) || writer.isPending(type, id)) return { id, known: true, packedBytes: 0 }
      writer.claim(type, id)
      try {
        const sealed = await crew.seal(held, type)
        await writer.add(type, id, sealed)
        return { id, known: false, packedBytes: sealed.stored.length }
      } catch (error) {
        writer.fail(error)
        throw error
      }
    } finally {
      held.release()
      leave()
    }
  }

  async function saveBatch(type: BlobType, batch: SlabBatch): Promise<SavedBlob[]> {
    underWay += 1
    try {
      assertWritable()
      const { index, writer } = getLoaded()
      await crew.hashBatch(batch)
      const saved: SavedBlob[] = []
      const fresh: { readonly slot: SlabBatch['slots'][number]; readonly id: BlobId; readonly at: number }[] = []
      for (const [at, slot] of batch.slots.entries()) {
        const id = idIn(slot.bytes)
        saved.push({ id, known: true, packedBytes: 0 })
        if (index.has(type, id) || writer.isPending(type, id)) continue
        writer.claim(type, id)
        fresh.push({ slot, id, at })
      }
      if (fresh.length === 0) return saved
      try {
        await crew.sealBatch(batch, fresh.map(({ slot }) => slot), type)
        for (const { slot, id, at } of fresh) {
          const sealed = sealedIn(slot.bytes, slot.plainLength)
          await writer.add(type, id, sealed)
          saved[at] = { id, known: false, packedBytes: sealed.stored.length }
        }
      } catch (error) {
        writer.fail(error)
        throw error
      }
      return saved
    } finally {
      crew.releaseBatch(batch)
      leave()
    }
  }

  function assertWritable(): void {
    throwIfCancelled(options.signal)
    getLoaded().writer.throwIfFailed()
  }

  function reserve(bytes: number): HeldBytes | Promise<HeldBytes> {
    assert(bytes <= BLOB_BYTES_MAX)
    assertWritable()
    return crew.reserve(bytes)
  }

  async function saveBlob(type: BlobType, plaintext: Uint8Array): Promise<SavedBlob> {
    const held = await reserve(plaintext.length)
    held.plaintext.set(plaintext)
    return saveHeld(type, held)
  }

  async function takePlaintext(type: BlobType, id: BlobId, location: BlobLocation, open: () => Promise<OpenedBlob>): Promise<Uint8Array> {
    underWay += 1
    let opened: OpenedBlob
    try {
      opened = await open()
    } finally {
      leave()
    }
    if ('damage' in opened) {
      throw new Failure('blob.damaged', { blobId: id, type, packId: location.packId, offset: location.offset, reason: opened.damage })
    }
    return opened.plaintext
  }

  async function readPack(packId: PackId, offset: number, length: number, memory?: Uint8Array): Promise<Uint8Array> {
    try {
      const allocate = memory === undefined ? undefined : () => memory
      return await guarded.get(keyOf('data', packId), { range: { offset, length }, allocate })
    } catch (error) {
      const code = failureCode(error)
      if (code === 'storage.not_found') throw new Failure('blob.missing', { packId }, { cause: error })
      if (code === 'storage.out_of_range') throw new Failure('blob.damaged', { packId, reason: 'pack is too short' }, { cause: error })
      throw error
    }
  }

  async function readSnapshot(id: SnapshotId, signal: AbortSignal | undefined): Promise<Snapshot | undefined> {
    try {
      const snapshot = decodeSnapshot(await files.load('snapshots', id, signal))
      if (snapshot === undefined) throw new Failure('repository.damaged', { key: keyOf('snapshots', id), reason: 'unknown form' })
      return snapshot
    } catch (error) {
      if (failureCode(error) === 'storage.not_found') return undefined
      throw error
    }
  }

  const repository: Repository = {
    id: repositoryId,
    version,
    chunkerPolynomial,
    location: guarded.location,

    storedFiles: createStoredFiles(guarded, sealer, files),

    lock: (lockOptions) => acquireLock(files, { now, settleMs: guarded.listingDelayMs, ...lockOptions }),
    listLocks: () => listLocks(files),

    async loadIndex({ reload = false, signal } = {}) {
      if (reload || loading === undefined) loading = load(signal)
      const mine = loading
      try {
        await mine
      } catch (error) {
        if (loading === mine) loading = undefined
        throw error
      }
    },

    expectWork: (bytes) => crew.expect(bytes),

    locate: (type, id) => getLoaded().index.find(type, id),
    locateAll: (type, id) => getLoaded().index.findAll(type, id),
    indexedPacks: () => getLoaded().index.packs(),
    indexFindings: () => getLoaded().index,

    async *listPacks(signal) {
      for await (const { key, size, modifiedAt } of guarded.list('data/', { signal })) {
        const id = idOfKey<PackId>('data', key)
        if (id !== undefined) yield { id, size, modifiedAt }
      }
    },

    async statPack(id, signal) {
      try {
        return (await guarded.stat(keyOf('data', id), { signal })).size
      } catch (error) {
        if (failureCode(error) === 'storage.not_found') return undefined
        throw error
      }
    },

    async readPackHeader(id, packBytes, signal) {
      const damaged = (reason: string) => new Failure('repository.damaged', { packId: id, reason })
      throwIfCancelled(signal)
      if (packBytes < ENVELOPE_BYTES + HEADER_LENGTH_BYTES) throw damaged('pack is too short')
      const trailer = Buffer.from(await readPack(id, packBytes - HEADER_LENGTH_BYTES, HEADER_LENGTH_BYTES))
      const length = trailer.readUInt32LE(0)
      if (length < ENVELOPE_BYTES || length > HEADER_BYTES_MAX || length + HEADER_LENGTH_BYTES > packBytes) {
        throw damaged('impossible header length')
      }
      const header = sealer.open(await readPack(id, packBytes - HEADER_LENGTH_BYTES - length, length))
      if (header === undefined) throw damaged('header is not authentic')
      const blobs = decodePackHeader(header)
      if (blobs === undefined) throw damaged('header has an unknown form')
      return blobs
    },

    async verifyPack(id, packBytes, blobs) {
      throwIfCancelled(options.signal)
      underWay += 1
      const memory = packMemories.take(packBytes)
      try {
        await readPack(id, 0, packBytes, new Uint8Array(memory, 0, packBytes))
        return await crew.verify(memory, packBytes, id, packTableOf(blobs))
      } finally {
        packMemories.give(memory)
        leave()
      }
    },

    chunker: () => chunker,

    saveBlob,
    reserveBlob: async (bytes) => reserve(bytes),
    saveReserved(type, reserved, bytes) {
      const held = reserved as HeldBytes
      return saveHeld(type, bytes === undefined || bytes === held.length ? held : shortened(held, bytes))
    },

    async openBatch() {
      assertWritable()
      return crew.openBatch()
    },
    saveBatch: (type, batch) => saveBatch(type, batch as SlabBatch),
    releaseBatch: (batch) => crew.releaseBatch(batch as SlabBatch),

    flush: async (lock) => getLoaded().writer.flush(lock === undefined ? undefined : () => lock.assertHeld()),

    readPack: (packId, offset, length) => readPack(packId, offset, length),

    async loadBlob(type, id) {
      const location = getLoaded().index.find(type, id)
      if (location === undefined) throw new Failure('blob.missing', { blobId: id, type })
      const { packId, offset, length } = location
      return takePlaintext(type, id, location, () =>
        crew.readAndOpen(id, location, length, async (memory) => void (await readPack(packId, offset, length, memory))),
      )
    },

    async deliverBlobs(packId, offset, length, blobs) {
      throwIfCancelled(options.signal)
      underWay += 1
      try {
        return await crew.deliver(length, async (memory) => void (await readPack(packId, offset, length, memory)), blobs)
      } finally {
        leave()
      }
    },

    openBlob: (type, id, location, stored) => takePlaintext(type, id, location, () => crew.open(id, location, stored)),

    async listSnapshots(filter = {}) {
      const { tags = [], hostname, paths, onDamaged, signal } = filter
      const found: StoredSnapshot[] = []
      await forEachOf(await files.list<SnapshotId>('snapshots', signal), READS_AT_ONCE, async ({ id }) => {
        let snapshot: Snapshot | undefined
        try {
          snapshot = await readSnapshot(id, signal)
        } catch (error) {
          if (!(error instanceof Failure) || error.code !== 'repository.damaged' || onDamaged === undefined) throw error
          onDamaged(id, error)
        }
        // One that vanished since the listing was forgotten meanwhile.
        if (snapshot === undefined) return
        const { tags: carried = [] } = snapshot
        if (!tags.every((tag) => carried.includes(tag))) return
        if (hostname !== undefined && snapshot.hostname !== hostname) return
        if (paths !== undefined && JSON.stringify(paths.toSorted()) !== JSON.stringify(snapshot.paths.toSorted())) return
        found.push({ id, snapshot })
      })
      return found.toSorted(
        (a, b) => Date.parse(a.snapshot.time) - Date.parse(b.snapshot.time) || (a.id < b.id ? -1 : 1),
      )
    },

    findSnapshot: (id, signal) => readSnapshot(id, signal),

    async saveSnapshot(snapshot, lock, signal) {
      throwIfCancelled(signal)
      if (loaded !== undefined) await loaded.writer.flush(() => lock.assertHeld())
      await lock.assertHeld()
      throwIfCancelled(signal)
      return files.save<SnapshotId>('snapshots', encodeSnapshot(snapshot), signal)
    },

    async forgetSnapshots(ids, lock, signal) {
      assert(lock.exclusive, 'forgetting needs an exclusive lock')
      for (const id of ids) {
        throwIfCancelled(signal)
        await lock.assertHeld()
        await files.remove('snapshots', id, signal)
      }
    },

    async stats() {
      const { index } = getLoaded()
      let otherBytes = sealedConfig.length
      for (const kind of ['index', 'snapshots', 'keys', 'locks'] as const) {
        for await (const { size } of guarded.list(`${kind}/`)) otherBytes += size
      }
      return { packBytes: index.packBytes, packCount: index.packCount, blobCount: index.blobCount, otherBytes }
    },

    async [Symbol.asyncDispose]() {
      await loading?.catch(() => undefined)
      await loaded?.writer.close()
      if (underWay > 0) {
        await new Promise<void>((resolve) => {
          onIdle = resolve
        })
      }
      await crew.disband()
    },
  }
  return repository
}
