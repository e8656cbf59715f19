/**
 * Vaults that are opened for reading, a few at a time. Reading takes no lock: a client that reads
 * slowly, or never ends, must not keep backups from being deleted. So what an index said may be
 * outdated: blobs that a prune has moved, or that a newer backup has brought, are looked for once more in the index of now.
 */
import { Failure, openRepository, type Repository } from '@opencbr/engine'
import type { VaultAccess } from '../protocol.ts'
import { vaultPlace } from '../vault-repository.ts'

/** Each holds its index: some 50 bytes for each blob of the vault. */
const OPEN_MAX = 8

type BlobSource = Pick<Repository, 'locate' | 'locateAll' | 'loadBlob' | 'readPack' | 'openBlob'>

export interface OpenVault extends BlobSource, Pick<Repository, 'findSnapshot' | 'listSnapshots'> {
  readonly repository: Repository
}

interface Entry {
  readonly opening: Promise<OpenVault>
  users: number
  usedAt: number
}

export class OpenVaults {
  readonly #entries = new Map<string, Entry>()

  /** Works with a vault that stays open at least until the work has ended. */
  async use<Result>(access: VaultAccess, work: (vault: OpenVault) => Promise<Result>): Promise<Result> {
    const { vault, release } = await this.take(access)
    try {
      return await work(vault)
    } finally {
      release()
    }
  }

  async take(access: VaultAccess): Promise<{ readonly vault: OpenVault, readonly release: () => void }> {
    const key = access.address
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      await this.#makeRoom()
      entry = this.#entries.get(key) ?? { opening: openVault(access), users: 0, usedAt: 0 }
      this.#entries.set(key, entry)
    }
    const taken = entry
    taken.users += 1
    taken.usedAt = performance.now()
    try {
      const vault = await taken.opening
      return { vault, release: () => { taken.users -= 1 } }
    } catch (error) {
      if (this.#entries.get(key) === taken) this.#entries.delete(key)
      throw error
    }
  }

  /** Closes what nobody has used for so long. */
  async closeIdle(idleMs: number): Promise<void> {
    const before = performance.now() - idleMs
    for (const [key, entry] of this.#entries) if (entry.users === 0 && entry.usedAt < before) await this.#close(key, entry)
  }

  async #makeRoom(): Promise<void> {
    const idle = [...this.#entries].filter(([, entry]) => entry.users === 0).toSorted(([, a], [, b]) => a.usedAt - b.usedAt)
    for (const [key, entry] of idle.slice(0, Math.max(0, this.#entries.size - OPEN_MAX + 1))) await this.#close(key, entry)
  }

  async #close(key: string, entry: Entry): Promise<void> {
    this.#entries.delete(key)
    const vault = await entry.opening.catch(() => undefined)
    await vault?.repository[Symbol.asyncDispose]()
  }
}

async function openVault(access: VaultAccess): Promise<OpenVault> {
  const repository = await openRepository(vaultPlace(access).storage, { password: access.password })
  try {
    await repository.loadIndex()
  } catch (error) {
    await repository[Symbol.asyncDispose]()
    throw error
  }
  let reloading: Promise<void> | undefined

  async function again<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'blob.missing') throw error
    }
    reloading ??= repository.loadIndex({ reload: true }).finally(() => {
      reloading = undefined
    })
    await reloading
    return work()
  }

  return {
    repository,
    locate: (type, id) => repository.locate(type, id),
    locateAll: (type, id) => repository.locateAll(type, id),
    loadBlob: (type, id) => again(() => repository.loadBlob(type, id)),
    readPack: (packId, offset, length) => repository.readPack(packId, offset, length),
    openBlob: (type, id, location, stored) => repository.openBlob(type, id, location, stored),
    findSnapshot: (id, signal) => repository.findSnapshot(id, signal),
    listSnapshots: (filter) => repository.listSnapshots(filter),
  }
}
