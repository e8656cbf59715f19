/**
 * The beginning of all work on a repository. Deriving the key of a password takes other threads a tenth of a second, so what
 * is needed afterwards is only loaded once they are at it.
 */
import type { Storage } from '@opencbr/storage'
import type { ZstdLevel } from '../crypto/zstd.ts'
import { Failure } from '../failure.ts'
import { findKey } from '../keys/find-key.ts'
import { failureCode, guardStorage } from './guarded-storage.ts'
import { CONFIG_KEY } from './layout.ts'
import type { Repository } from './repository.ts'

export interface OpenOptions {
  readonly password: string
  readonly now?: (() => Date) | undefined
  /** How hard to compress new blobs; by default 2, which takes as much space as restic does by its default. */
  readonly compressionLevel?: ZstdLevel | undefined
  /** Ends everything that is done through the opened repository. */
  readonly signal?: AbortSignal | undefined
  /** Called when other threads have begun to derive the key: a good moment to load what will be needed. */
  readonly onDeriving?: (() => void) | undefined
}

const load = () => import('./open-repository.ts')

/**
 * Opens a repository of version 1 or 2. Throws `repository.not_found`, `repository.wrong_password`,
 * `repository.unsupported` or `repository.damaged`.
 */
export async function openRepository(storage: Storage, options: OpenOptions): Promise<Repository> {
  const guarded = guardStorage(storage, options.signal)
  const sealedConfig = await guarded.get(CONFIG_KEY).catch((error: unknown) => {
    if (failureCode(error) !== 'storage.not_found') throw error
    throw new Failure('repository.not_found', { location: storage.location }, { cause: error })
  })
  const { masterKey } = await findKey(guarded, options.password, () => {
    // Awaited below, where a failure of it shows.
    load().catch(() => undefined)
    options.onDeriving?.()
  })
  const { openWithKey } = await load()
  return openWithKey({ storage: guarded, sealedConfig, masterKey }, options)
}
