/** A vault's repository: where it lies, how it comes to be, how it is opened and locked. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  Failure, initRepository, kdfForRandomPassword, openRepository, removeStrayKeys, setRemovalGuard, type Repository, type RepositoryLock, type TakeLock,
} from '@opencbr/engine'
import { localStorage, openStorage, parseStorageAddress, StorageFailure, withRoom, type Storage } from '@opencbr/storage'
import { isDeadPredecessor, lockHostname } from './lock-owner.ts'
import type { AgentSettings, TaskFailure, VaultAccess } from './protocol.ts'

const LOCK_RETRY_MS = 500
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const PROJECT_ID = /^[0-9a-f]{32}$/

export interface WorkContext {
  readonly settings: AgentSettings
  /** Aborts when the work should be parked. */
  readonly signal: AbortSignal
  /** What a user is told of an error that does not end the job. */
  readonly describe: (error: unknown) => TaskFailure
}

/** The one place where a vault's data lies, which nothing else does. */
export interface VaultPlace {
  readonly storage: Storage
  /** Undefined for a vault in a bucket. */
  readonly directory: string | undefined
}

/** The address is checked: it is that of something that may be removed. */
export function vaultPlace({ projectId, vaultId, address, storageKeys }: VaultAccess): VaultPlace {
  assert(PROJECT_ID.test(projectId) && UUID.test(vaultId), 'a vault has ids of the known forms')
  assert(address.endsWith(`/${projectId}/${vaultId}`), 'a vault has a place of its own')
  const place = parseStorageAddress(address)
  if (place.kind === 's3') return { storage: openStorage(address, storageKeys), directory: undefined }
  assert(place.path.startsWith('/'), 'vaults lie in an absolute directory')
  return { storage: localStorage(place.path, { keepsReserve: true }), directory: place.path }
}

/** Whether there is anything of a repository in the vault's place. */
export async function hasRepository(vault: VaultAccess): Promise<boolean> {
  try {
    await vaultPlace(vault).storage.stat('config')
    return true
  } catch (error) {
    if (error instanceof StorageFailure && error.code === 'storage.not_found') return false
    throw error
  }
}

/** Where a repository's packs lie: what a vault's capacity is about. */
export const PACKS = 'data/'

export interface OpenVaultOptions {
  /** Makes a new vault's repository. */
  readonly create: boolean
  /** For a repository that is made now; random by default. */
  readonly chunkerPolynomial?: bigint | undefined
  /** Bytes of packs that the work may add; undefined when there is no limit. Asked at each write. */
  readonly packBytesMax?: (() => number | undefined) | undefined
}

/**
 * Opens the vault's repository. The work takes restic's locks, so that other restic programs and other
 * services keep away from what they must not do meanwhile; whoever is in the way is waited for, for a
 * while. With `create`, the first backup of a vault makes the repository. A locked vault's is guarded from then on.
 */
export async function withVaultRepository<Result>(
  vault: VaultAccess, context: WorkContext, options: OpenVaultOptions,
  work: (repository: Repository, takeLock: TakeLock) => Promise<Result>,
): Promise<Result> {
  const place = vaultPlace(vault)
  if (options.create && !vault.repositoryExpected) await createRepository(vault, place, options.chunkerPolynomial)
  const { packBytesMax } = options
  const storage = packBytesMax === undefined ? place.storage : withRoom(place.storage, { prefix: PACKS, bytesMax: packBytesMax })
  await using repository = await openRepository(storage, { password: vault.password })
  if (vault.guard !== undefined) await setRemovalGuard(place.storage, vault.guard ?? undefined, context.signal)
  return await work(repository, (exclusive) => lockWithPatience(repository, context, exclusive))
}

/** Works under one lock. The work gets a signal that also aborts when the lock is lost. */
export async function underLock<Result>(
  takeLock: TakeLock, exclusive: boolean, context: WorkContext, work: (lock: RepositoryLock, signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  await using lock = await takeLock(exclusive)
  try {
    return await work(lock, AbortSignal.any([context.signal, lock.lost]))
  } catch (error) {
    if (lock.lost.aborted && !context.signal.aborted) throw lock.lost.reason
    throw error
  }
}

/** Opens the vault's repository and works on it under one lock. */
export async function withVault<Result>(
  vault: VaultAccess, context: WorkContext, { exclusive, ...options }: OpenVaultOptions & { readonly exclusive: boolean },
  work: (repository: Repository, lock: RepositoryLock, signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  return withVaultRepository(vault, context, options, (repository, takeLock) =>
    underLock(takeLock, exclusive, context, (lock, signal) => work(repository, lock, signal)))
}

/** Bytes of all packs that lie in the vault's place, needed or not. */
export async function measureVault(vault: VaultAccess): Promise<number> {
  let bytes = 0
  for await (const { size } of vaultPlace(vault).storage.list(PACKS)) bytes += size
  return bytes
}

const creations = new Map<string, Promise<void>>()

/** Two backups that start at once in a new vault make its repository once. */
async function createRepository(vault: VaultAccess, place: VaultPlace, chunkerPolynomial: bigint | undefined): Promise<void> {
  const { address } = vault
  const creation = creations.get(address)
    ?? (place.directory === undefined ? createInBucket(vault, place, chunkerPolynomial) : createInDirectory(vault, place.directory, chunkerPolynomial)).finally(() => creations.delete(address))
  creations.set(address, creation)
  await creation
}

/**
 * A repository is a key and a config that belong together: a process that died between the two would
 * leave a key that opens nothing. So both are made beside the place and put there by one renaming.
 */
async function createInDirectory(vault: VaultAccess, directory: string, chunkerPolynomial: bigint | undefined): Promise<void> {
  if (await isThere(join(directory, 'config'))) return
  const parent = dirname(directory)
  await fs.mkdir(parent, { recursive: true, mode: 0o700 })
  const leftover = `.${vault.vaultId}.new-`
  for (const name of await fs.readdir(parent)) {
    if (name.startsWith(leftover)) await fs.rm(join(parent, name), { recursive: true, force: true })
  }
  const beside = join(parent, leftover + randomBytes(6).toString('hex'))
  await initRepository(localStorage(beside, { keepsReserve: true }), { password: vault.password, kdf: kdfForRandomPassword, chunkerPolynomial })
  await fs.rename(beside, directory)
  const handle = await fs.open(parent, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * In a bucket nothing can be renamed. Of several who make it at once one stores the config; a key that
 * does not open this config is of one who died, or was late, and would mislead stock restic.
 */
async function createInBucket({ password }: VaultAccess, { storage }: VaultPlace, chunkerPolynomial: bigint | undefined): Promise<void> {
  try {
    await initRepository(storage, { password, kdf: kdfForRandomPassword, chunkerPolynomial })
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'repository.exists') throw error
  }
  await removeStrayKeys(storage, password)
}

async function lockWithPatience(repository: Repository, { settings, signal }: WorkContext, exclusive: boolean): Promise<RepositoryLock> {
  const { installation, hasFellows } = settings
  const impatientAt = performance.now() + settings.lockPatienceMs
  for (;;) {
    try {
      return await repository.lock({
        exclusive,
        hostname: lockHostname(installation),
        ownerIsDead: (lock) => isDeadPredecessor(installation, lock.hostname, { hasFellows }),
        signal,
      })
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'repository.locked' || performance.now() >= impatientAt) throw error
    }
    await sleep(LOCK_RETRY_MS, undefined, { signal })
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await fs.lstat(path)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return false
    throw error
  }
}
