import type { Storage } from '@opencbr/storage'
import { createSealer } from '../crypto/envelope.ts'
import { idOf } from '../crypto/ids.ts'
import { Failure } from '../failure.ts'
import { openKeyFile } from '../format/key-file.ts'
import { failureCode, guardStorage } from '../repository/guarded-storage.ts'
import { CONFIG_KEY, idOfKey } from '../repository/layout.ts'
import type { KeyId } from '../repository/types.ts'

/**
 * Removes key files that the password opens and that do not open the config: what is left of makers of the
 * repository who died, or were not the first. Who opens a repository takes the first key that the password
 * fits, and would call the config damaged. Removes nothing unless another key does open it.
 */
export async function removeStrayKeys(storage: Storage, password: string): Promise<void> {
  const guarded = guardStorage(storage)
  const config = await guarded.get(CONFIG_KEY)
  const strays: string[] = []
  let fits = false
  for await (const { key } of guarded.list('keys/')) {
    const id = idOfKey<KeyId>('keys', key)
    if (id === undefined) continue
    const content = await guarded.get(key).catch((error: unknown) => {
      // Its maker has taken it away.
      if (failureCode(error) !== 'storage.not_found') throw error
    })
    const opened = content !== undefined && idOf(content) === id ? await openKeyFile(content, password) : 'unusable'
    if (typeof opened === 'string') continue
    if (createSealer(opened).open(config) === undefined) strays.push(key)
    else fits = true
  }
  if (!fits) {
    if (strays.length > 0) throw new Failure('repository.damaged', { key: CONFIG_KEY, reason: 'no key of the password opens it' })
    return
  }
  for (const key of strays) await guarded.delete(key)
}
