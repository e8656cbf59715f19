import type { Sealer, SealingKey } from '../crypto/envelope.ts'
import { areKdfParameters, deriveKey } from '../crypto/kdf.ts'
import type { KdfParameters } from '../crypto/kdf.ts'
import { isObject, isWhole, parseJson } from './json.ts'

const SALT_BYTES = 64

export interface KeyFileOrigin {
  /** RFC 3339. */
  readonly created: string
  readonly hostname: string
  readonly username: string
}

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')

function fromBase64(text: unknown, length: number): Uint8Array | undefined {
  if (typeof text !== 'string') return undefined
  const bytes = Buffer.from(text, 'base64')
  return bytes.length === length ? bytes : undefined
}

/** Ciphers and what they need are loaded once other threads have begun to derive the key, not before. */
async function openSealer(password: string, salt: Uint8Array, kdf: KdfParameters): Promise<Sealer> {
  const [key, { createSealer }] = await Promise.all([deriveKey(password, salt, kdf), import('../crypto/envelope.ts')])
  return createSealer(key)
}

/** Wraps a master key under a password: the content of a new file in `keys/`. */
export async function encodeKeyFile(
  master: SealingKey, password: string, salt: Uint8Array, kdf: KdfParameters, origin: KeyFileOrigin,
): Promise<Uint8Array> {
  const sealer = await openSealer(password, salt, kdf)
  const plaintext = JSON.stringify({
    mac: { k: base64(master.macK), r: base64(master.macR) },
    encrypt: base64(master.encrypt),
  })
  return Buffer.from(
    JSON.stringify({
      created: origin.created,
      username: origin.username,
      hostname: origin.hostname,
      kdf: 'scrypt',
      N: kdf.N,
      r: kdf.r,
      p: kdf.p,
      salt: base64(salt),
      data: base64(sealer.seal(Buffer.from(plaintext))),
    }),
  )
}

/** Tells a password that does not fit from a file that no password opens. */
export type KeyFileAnswer = SealingKey | 'wrong-password' | 'unusable'

/** Tries a password on the content of a file in `keys/`. */
export async function openKeyFile(content: Uint8Array, password: string): Promise<KeyFileAnswer> {
  const json = parseJson(content)
  if (!isObject(json) || json.kdf !== 'scrypt') return 'unusable'
  const { N, r, p, salt: saltText, data } = json
  if (!isWhole(N, 2 ** 31) || !isWhole(r, 2 ** 16) || !isWhole(p, 2 ** 16) || typeof data !== 'string') return 'unusable'
  const salt = fromBase64(saltText, SALT_BYTES)
  if (salt === undefined || !areKdfParameters({ N, r, p })) return 'unusable'
  const plaintext = (await openSealer(password, salt, { N, r, p })).open(Buffer.from(data, 'base64'))
  if (plaintext === undefined) return 'wrong-password'
  const master = parseJson(plaintext)
  if (!isObject(master) || !isObject(master.mac)) return 'unusable'
  const encrypt = fromBase64(master.encrypt, 32)
  const macK = fromBase64(master.mac.k, 16)
  const macR = fromBase64(master.mac.r, 16)
  if (encrypt === undefined || macK === undefined || macR === undefined) return 'unusable'
  return { encrypt, macK, macR }
}
