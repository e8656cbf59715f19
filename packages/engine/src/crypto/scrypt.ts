/**
 * scrypt for costs that people's passwords need, which take OpenSSL a quarter of a second on one core. Its lanes do not depend on
 * each other, so they are done by several threads, up to four at a time in each; see `scrypt-module.ts`.
 */
import { pbkdf2Sync, scrypt as opensslScrypt } from 'node:crypto'
import os from 'node:os'
import type { KdfParameters } from './kdf.ts'
import { inDiagonalOrder, prepareLanes } from './scrypt-lanes.ts'
import { takeScryptThreads } from './scrypt-threads.ts'

/** Below this, starting threads takes longer than the work. */
const COST_MIN = 2 ** 15
const STATES_MIN = 2 ** 10
/** A lane takes 128·N·r bytes. */
const STATES_MAX = 2 ** 16

/** @param length bytes wanted */
export async function scrypt(password: string, salt: Uint8Array, length: number, { N, r, p }: KdfParameters): Promise<Buffer> {
  if (r !== 8 || p < 2 || N < STATES_MIN || N > STATES_MAX || N * p < COST_MIN || os.availableParallelism() < 2) {
    return new Promise((resolve, reject) => {
      opensslScrypt(password, salt, length, { N, r, p, maxmem: 128 * r * (N + p + 2) + 2 ** 20 }, (error, derived) => {
        if (error === null) resolve(derived)
        else reject(error)
      })
    })
  }
  // They start before anything is waited for, and come up while the module is assembled.
  const threads = takeScryptThreads(Math.ceil(p / 2))
  const lanes = pbkdf2Sync(password, salt, 1, p * 128 * r, 'sha256')
  const bytesOfThread = Math.ceil(p / threads.length) * 128 * r
  const mixed = await Promise.all(threads.map((mix, i) => mix(prepareLanes(lanes.subarray(i * bytesOfThread, (i + 1) * bytesOfThread), { N, r }))))
  return pbkdf2Sync(password, Buffer.concat(mixed.map((states) => inDiagonalOrder(states, true))), 1, length, 'sha256')
}
