/**
 * Secrets at rest: AES-256-GCM under the server's master key. The purpose (`vault-password:<id>`) is
 * authenticated with the text, so that a sealed secret copied to another row does not open there.
 *
 * Form: base64url of nonce (12 bytes), ciphertext, tag (16 bytes), after `v1.`. Nonces are random: by
 * the birthday bound a key may seal some four thousand million secrets.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

export const MASTER_KEY_BYTES = 32

const VERSION = 'v1.'
const NONCE_BYTES = 12
const TAG_BYTES = 16

export interface Secrets {
  /** `purpose` names the place where the result is kept; it is not secret. */
  readonly seal: (purpose: string, secret: string) => string
  /** Throws when the text was sealed under another key or for another purpose, or was altered. */
  readonly unseal: (purpose: string, sealed: string) => string
}

export function openSecrets(masterKey: Uint8Array): Secrets {
  if (masterKey.length !== MASTER_KEY_BYTES) throw new TypeError(`a master key has ${MASTER_KEY_BYTES} bytes, not ${masterKey.length}`)
  return {
    seal(purpose, secret) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', masterKey, nonce, { authTagLength: TAG_BYTES })
      cipher.setAAD(Buffer.from(purpose))
      const sealed = Buffer.concat([nonce, cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return VERSION + sealed.toString('base64url')
    },
    unseal(purpose, sealed) {
      const bytes = Buffer.from(sealed.slice(VERSION.length), 'base64url')
      if (!sealed.startsWith(VERSION) || bytes.length < NONCE_BYTES + TAG_BYTES) {
        throw new Error(`The sealed secret for ${purpose} has no known form.`)
      }
      const decipher = createDecipheriv('aes-256-gcm', masterKey, bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(purpose))
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
      try {
        return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]).toString('utf8')
      } catch (error) {
        throw new Error(`The sealed secret for ${purpose} does not open: another master key, or altered.`, { cause: error })
      }
    },
  }
}
