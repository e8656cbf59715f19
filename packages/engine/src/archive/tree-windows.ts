/**
 * Reads the trees of a parent snapshot with few requests. Trees lie in their packs about in the order in
 * which a walk comes to them, so with one of them its surroundings are read, and are at hand for the next.
 */
import type { Repository } from '../repository/repository.ts'
import type { BlobId, BlobLocation, PackId } from '../repository/types.ts'
import { Failure } from '../failure.ts'

const WINDOW_BYTES = 512 * 1024
const WINDOWS_KEPT_MAX = 8

interface Window {
  readonly packId: PackId
  readonly start: number
  readonly bytes: Promise<Uint8Array>
}

export class TreeWindows {
  readonly #repository: Repository
  /** The one that was used last is at the end. */
  #windows: Window[] = []
  readonly #packBytes = new Map<PackId, Promise<number | undefined>>()

  constructor(repository: Repository) {
    this.#repository = repository
  }

  /** The plaintext of a tree; undefined when the index does not name it. Throws as `loadBlob` does. */
  async load(id: BlobId): Promise<Uint8Array | undefined> {
    const location = this.#repository.locate('tree', id)
    if (location === undefined) return undefined
    try {
      const window = this.#windowAt(location)
      const start = location.offset - window.start
      const bytes = await window.bytes
      if (start + location.length <= bytes.length) {
        return await this.#repository.openBlob('tree', id, location, bytes.subarray(start, start + location.length))
      }
    } catch (error) {
      // Damage around the tree need not concern the tree itself.
      if (!(error instanceof Failure) || (error.code !== 'blob.damaged' && error.code !== 'blob.missing')) throw error
    }
    return this.#repository.loadBlob('tree', id)
  }

  #windowAt({ packId, offset }: BlobLocation): Window {
    const start = offset - (offset % WINDOW_BYTES)
    const at = this.#windows.findIndex((kept) => kept.packId === packId && kept.start === start)
    const window = this.#windows[at] ?? { packId, start, bytes: this.#read(packId, start) }
    // Whoever waits for it gets the error; until then it must not count as unhandled.
    window.bytes.catch(() => undefined)
    if (at >= 0) this.#windows.splice(at, 1)
    this.#windows.push(window)
    if (this.#windows.length > WINDOWS_KEPT_MAX) this.#windows.shift()
    return window
  }

  async #read(packId: PackId, start: number): Promise<Uint8Array> {
    const known = this.#packBytes.get(packId) ?? this.#repository.statPack(packId)
    this.#packBytes.set(packId, known)
    const packBytes = await known
    if (packBytes === undefined) throw new Failure('blob.missing', { packId })
    return this.#repository.readPack(packId, start, Math.max(0, Math.min(WINDOW_BYTES, packBytes - start)))
  }
}
