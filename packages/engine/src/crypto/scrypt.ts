/**
 * scrypt for costs that people's passwords need, which take OpenSSL a quarter of a second on one core. Its lanes do not depend on
 * each other, so they are done by several threads, up to four at a time in each; see `scrypt-module.ts`.
 */
import { pbkdf2Sync, scrypt as opensslScrypt } from 'node:crypto'
import os from 'node:os'
import { Worker } from 'node:worker_threads'
import type { KdfParameters } from './kdf.ts'
import { inDiagonalOrder, prepareLanes, type ScryptLanes } from './scrypt-lanes.ts'

/** Below this, starting threads takes longer than the work. */
const COST_MIN = 2 ** 15
const STATES_MIN = 2 ** 10
/** A lane takes 128·N·r bytes. */
const STATES_MAX = 2 ** 16
const THREADS_MAX = 2

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
  const threads = Array.from({ length: Math.min(THREADS_MAX, Math.ceil(p / 2)) }, startThread)
  const lanes = pbkdf2Sync(password, salt, 1, p * 128 * r, 'sha256')
  const bytesOfThread = Math.ceil(p / threads.length) * 128 * r
  const mixed = await Promise.all(threads.map((mix, i) => mix(prepareLanes(lanes.subarray(i * bytesOfThread, (i + 1) * bytesOfThread), { N, r }))))
  return pbkdf2Sync(password, Buffer.concat(mixed.map((states) => inDiagonalOrder(states, true))), 1, length, 'sha256')
}

/** Starts a thread that does one piece of work and ends by itself. */
function startThread(): (work: ScryptLanes) => Promise<Uint8Array> {
  const worker = new Worker(new URL('./scrypt-worker.ts', import.meta.url), { execArgv: [] })
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  worker.once('message', resolve)
  worker.once('error', reject)
  worker.once('exit', () => reject(new Error('A thread that derives a key ended.')))
  return (work) => {
    worker.postMessage(work, [])
    return promise
  }
}
