import { randomBytes } from 'node:crypto'
import os from 'node:os'
import type { Storage } from '@opencbr/storage'
import { randomPolynomial } from '../chunker/polynomial.ts'
import { createSealer } from '../crypto/envelope.ts'
import { idOf } from '../crypto/ids.ts'
import { kdfForChosenPassword } from '../crypto/kdf.ts'
import type { KdfParameters } from '../crypto/kdf.ts'
import { Failure } from '../failure.ts'
import { encodeConfig } from '../format/config.ts'
import { encodeKeyFile } from '../format/key-file.ts'
import { failureCode, guardStorage } from './guarded-storage.ts'
import { CONFIG_KEY, keyOf } from './layout.ts'

export interface InitOptions {
  readonly password: string
  readonly now?: (() => Date) | undefined
  /** How costly guessing the password is; by default right for passwords that people choose. */
  readonly kdf?: KdfParameters | undefined
  /** Repositories that should exchange chunks share their polynomial; random by default. */
  readonly chunkerPolynomial?: bigint | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Creates a repository of format version 2 in an empty place. The config is written last and only
 * where there is none: without it there is no repository, and an existing one is never replaced.
 * Throws `repository.exists`.
 */
export async function initRepository(storage: Storage, options: InitOptions): Promise<{ id: string }> {
  const guarded = guardStorage(storage, options.signal)
  const now = options.now ?? (() => new Date())
  try {
    await guarded.stat(CONFIG_KEY)
    throw new Failure('repository.exists', { location: storage.location })
  } catch (error) {
    if (failureCode(error) !== 'storage.not_found') throw error
  }
  const master = { encrypt: randomBytes(32), macK: randomBytes(16), macR: randomBytes(16) }
  const config = {
    version: 2 as const,
    id: randomBytes(32).toString('hex'),
    chunkerPolynomial: options.chunkerPolynomial ?? randomPolynomial(),
  }
  const keyFile = await encodeKeyFile(master, options.password, randomBytes(64), options.kdf ?? kdfForChosenPassword, {
    created: now().toISOString(),
    hostname: os.hostname(),
    username: '',
  })
  const keyKey = keyOf('keys', idOf(keyFile))
  await guarded.put(keyKey, [keyFile])
  try {
    await guarded.put(CONFIG_KEY, [createSealer(master).seal(encodeConfig(config))])
  } catch (error) {
    if (failureCode(error) !== 'storage.exists') throw error
    // Somebody else was faster; our key opens nothing there and would only confuse.
    await guarded.delete(keyKey)
    throw new Failure('repository.exists', { location: storage.location }, { cause: error })
  }
  return { id: config.id }
}
