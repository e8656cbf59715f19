/**
 * The keys of a repository: files that each hold the one master key under a password of their own. A
 * key is written, read back and opened before it counts, and before another one goes; so at no time
 * the repository is without a key that opens it.
 *
 * Removing a key does not shut out who has held it: they may know the master key.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import os from 'node:os'
import type { Storage } from '@opencbr/storage'
import { kdfForChosenPassword } from '../crypto/kdf.ts'
import type { KdfParameters } from '../crypto/kdf.ts'
import { idOf } from '../crypto/ids.ts'
import { Failure } from '../failure.ts'
import { encodeKeyFile, openKeyFile } from '../format/key-file.ts'
import { isObject, parseJson } from '../format/json.ts'
import { failureCode, guardStorage, putNamedByContent } from '../repository/guarded-storage.ts'
import { idOfKey, keyOf } from '../repository/layout.ts'
import type { RepositoryLock } from '../repository/lock.ts'
import type { KeyId } from '../repository/types.ts'
import { findKey } from './find-key.ts'

/** What a key file says of itself; nothing vouches for it, as it is not encrypted. */
export interface ListedKey {
  readonly id: KeyId
  /** Whether it is the one that the keyring was opened with. */
  readonly current: boolean
  /** RFC 3339; empty when the file does not say. */
  readonly created: string
  readonly hostname: string
  readonly username: string
  /** False for a file that is damaged, or of a kind that nobody knows. */
  readonly readable: boolean
}

export interface NewKey {
  readonly password: string
  /** How costly guessing the password is; by default right for passwords that people choose. */
  readonly kdf?: KdfParameters | undefined
  /** For people who list the keys; by default this machine, and no name. */
  readonly hostname?: string | undefined
  readonly username?: string | undefined
  readonly now?: (() => Date) | undefined
}

export interface Keyring {
  /** The key that the password opened. */
  readonly currentId: KeyId
  /** By the time of their creation. */
  list(): Promise<ListedKey[]>
  /** A shared lock suffices. */
  add(key: NewKey, lock: RepositoryLock): Promise<KeyId>
  /**
   * Removes a key; a lock that is exclusive is needed. Throws `key.not_found`, and `key.needed` for the
   * key in use and for the last one.
   */
  remove(id: KeyId, lock: RepositoryLock): Promise<void>
  /** Puts a new key in the place of the one in use, which becomes the current one. */
  changePassword(key: NewKey, lock: RepositoryLock): Promise<KeyId>
}

/** Opens the keys of a repository. Throws what `openRepository` throws about passwords and keys. */
export async function openKeyring(storage: Storage, password: string, signal?: AbortSignal): Promise<Keyring> {
  const guarded = guardStorage(storage, signal)
  const { id: openedId, masterKey } = await findKey(guarded, password)
  let currentId = openedId

  async function list(): Promise<ListedKey[]> {
    const keys: ListedKey[] = []
    for await (const { key } of guarded.list('keys/')) {
      const id = idOfKey<KeyId>('keys', key)
      if (id === undefined) continue
      const content = await readKeyFile(guarded, key)
      if (content !== undefined) keys.push({ id, current: id === currentId, ...describeKeyFile(id, content) })
    }
    return keys.toSorted((a, b) => compareTexts(a.created, b.created) || compareTexts(a.id, b.id))
  }

  async function save(key: NewKey, lock: RepositoryLock): Promise<KeyId> {
    const now = key.now ?? (() => new Date())
    const content = await encodeKeyFile(masterKey, key.password, randomBytes(64), key.kdf ?? kdfForChosenPassword, {
      created: now().toISOString(),
      hostname: key.hostname ?? os.hostname(),
      username: key.username ?? '',
    })
    const id = idOf<KeyId>(content)
    await lock.assertHeld()
    await putNamedByContent(guarded, keyOf('keys', id), [content], signal)
    const opened = await openKeyFile(await guarded.get(keyOf('keys', id)), key.password)
    const isSame = typeof opened !== 'string' &&
      Buffer.compare(opened.encrypt, masterKey.encrypt) === 0 &&
      Buffer.compare(opened.macK, masterKey.macK) === 0 &&
      Buffer.compare(opened.macR, masterKey.macR) === 0
    if (isSame) return id
    await guarded.delete(keyOf('keys', id))
    throw new Failure('host.unsound', { kind: 'key file' })
  }

  async function remove(id: KeyId, lock: RepositoryLock): Promise<void> {
    assert(lock.exclusive, 'removing a key needs an exclusive lock')
    const keys = await list()
    if (!keys.some((key) => key.id === id)) throw new Failure('key.not_found', { keyId: id })
    if (id === currentId) throw new Failure('key.needed', { keyId: id, reason: 'it is the one in use' })
    // The key in use counts only while its file is there: somebody may have removed it since.
    if (!keys.some((key) => key.current && key.readable)) throw new Failure('key.needed', { keyId: id, reason: 'the one in use is gone' })
    await lock.assertHeld()
    await guarded.delete(keyOf('keys', id))
  }

  return {
    get currentId() {
      return currentId
    },
    list,
    add: save,
    remove,

    async changePassword(key, lock) {
      assert(lock.exclusive, 'removing a key needs an exclusive lock')
      const oldId = currentId
      currentId = await save(key, lock)
      await remove(oldId, lock)
      return currentId
    },
  }
}

/** Undefined for a file that is gone since it was listed. */
async function readKeyFile(storage: Storage, key: string): Promise<Uint8Array | undefined> {
  try {
    return await storage.get(key)
  } catch (error) {
    if (failureCode(error) === 'storage.not_found') return undefined
    throw error
  }
}

function describeKeyFile(id: KeyId, content: Uint8Array): Omit<ListedKey, 'id' | 'current'> {
  const json = parseJson(content)
  const fields: Record<string, unknown> = isObject(json) ? { ...json } : {}
  const text = (name: string): string => {
    const value = fields[name]
    return typeof value === 'string' ? value : ''
  }
  return {
    created: text('created'),
    hostname: text('hostname'),
    username: text('username'),
    readable: idOf(content) === id && text('kdf') === 'scrypt' && text('data') !== '',
  }
}

function compareTexts(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
