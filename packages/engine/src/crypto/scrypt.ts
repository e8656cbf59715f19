/**
 * scrypt for costs that people's passwords need, which take OpenSSL a quarter of a second on one core. Its lanes do not depend on
 * each other, so they are done by several threads, two at a time in each; see `scrypt-module.ts`.
 */
import { pbkdf2Sync, scrypt as opensslScrypt } from 'node:crypto'
import os from 'node:os'
import { Worker } from 'node:worker_threads'
import type { KdfParameters } from './kdf.ts'
import { inDiagonalOrder, prepareLanes, type ScryptLanes } from './scrypt-lanes.ts'

/** Below this, starting threads takes longer than the work. */
const COST_MIN = 2 ** 15
const STATES_MIN = 2 ** 10
/** A lane takes 128·N·r bytes, and each thread two of them. */
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
  // One round takes no time, and so the threads start before anything is waited for.
  const lanes = pbkdf2Sync(password, salt, 1, p * 128 * r, 'sha256')
  const threads = Math.min(THREADS_MAX, Math.ceil(p / 2))
  const lanesOfThread = Math.ceil(p / threads)
  const mixed = await Promise.all(Array.from({ length: threads }, (_, thread) =>
    mixElsewhere(prepareLanes(lanes.subarray(thread * lanesOfThread * 128 * r, (thread + 1) * lanesOfThread * 128 * r), { N, r }))))
  return pbkdf2Sync(password, Buffer.concat(mixed.map((states) => inDiagonalOrder(states, true))), 1, length, 'sha256')
}

function mixElsewhere(workerData: ScryptLanes): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    // It ends by itself.
    const worker = new Worker(new URL('./scrypt-worker.ts', import.meta.url), { execArgv: [], workerData })
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', () => reject(new Error('A thread that derives a key ended.')))
  })
}
