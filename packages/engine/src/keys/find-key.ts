import type { Storage } from '@opencbr/storage'
import type { SealingKey } from '../crypto/envelope.ts'
import { idOf } from '../crypto/ids.ts'
import { Failure } from '../failure.ts'
import { openKeyFile } from '../format/key-file.ts'
import { idOfKey } from '../repository/layout.ts'
import type { KeyId } from '../repository/types.ts'

export interface FoundKey {
  /** The file that the password opens. */
  readonly id: KeyId
  readonly masterKey: SealingKey
}

/**
 * Tries a password on every key file. Throws `repository.wrong_password` when it opens none, and
 * `repository.damaged` when no file can be opened by any password.
 * @param onDeriving called whenever other threads have begun to derive a key
 */
export async function findKey(storage: Storage, password: string, onDeriving?: () => void): Promise<FoundKey> {
  let tried = 0
  let unusable = 0
  for await (const { key } of storage.list('keys/')) {
    const id = idOfKey<KeyId>('keys', key)
    if (id === undefined) continue
    const content = await storage.get(key)
    tried += 1
    const opening = idOf(content) === id ? openKeyFile(content, password) : 'unusable'
    onDeriving?.()
    const answer = await opening
    if (typeof answer !== 'string') return { id, masterKey: answer }
    if (answer === 'unusable') unusable += 1
  }
  if (tried === unusable) throw new Failure('repository.damaged', { keyFiles: tried, reason: 'no usable key file' })
  throw new Failure('repository.wrong_password', { keyFiles: tried, unusable })
}
