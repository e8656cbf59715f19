/** The threads that derive keys. Starting them takes longer than what needs to be known before they can begin. */
import os from 'node:os'
import { Worker } from 'node:worker_threads'
import type { ScryptLanes } from './scrypt-lanes.ts'

const THREADS_MAX = 2

/** Does one piece of work, and ends. */
export type MixLanes = (work: ScryptLanes) => Promise<Uint8Array>

const prepared: MixLanes[] = []

/** Starts threads for a key that will be derived soon. Those that are not used do not keep the process from ending. */
export function prepareScryptThreads(): void {
  if (os.availableParallelism() < 2) return
  while (prepared.length < THREADS_MAX) prepared.push(startThread())
}

/** At most so many threads as are worth it. */
export function takeScryptThreads(count: number): MixLanes[] {
  return Array.from({ length: Math.min(THREADS_MAX, count) }, () => prepared.pop() ?? startThread())
}

function startThread(): MixLanes {
  const worker = new Worker(new URL('./scrypt-worker.ts', import.meta.url), { execArgv: [] })
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  // Whoever gives it work hears of it.
  promise.catch(() => undefined)
  worker.once('message', resolve)
  worker.once('error', reject)
  worker.once('exit', () => reject(new Error('A thread that derives a key ended.')))
  // Last: to listen for messages keeps the process, too.
  worker.unref()
  return (work) => {
    worker.ref()
    worker.postMessage(work, [])
    return promise
  }
}
