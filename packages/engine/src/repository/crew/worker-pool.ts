/**
 * The worker threads of the process, one for each core up to eight, shared by all opened repositories.
 * They start one by one when there is more to do than the running ones have taken up, keep the
 * process alive only while they work, and end with the last repository.
 */
import os from 'node:os'
import { Worker } from 'node:worker_threads'
import type { SealingKey } from '../../crypto/envelope.ts'
import { Failure } from '../../failure.ts'
import type { SealingRules } from './blob-work.ts'
import type { Answers, Order, Reply, Work } from './protocol.ts'

/** Reading the source and storing packs cannot feed more, and each takes memory. */
const WORKERS_MAX = 8
/** A worker leaves nothing but small garbage, which is as cheap to collect early; by default it would let tens of megabytes come together. */
const YOUNG_MEGABYTES_MAX = 6

interface Waiting {
  readonly weight: number
  readonly resolve: (answer: Answers[keyof Answers]) => void
  readonly reject: (error: unknown) => void
}

interface RunningWorker {
  readonly worker: Worker
  readonly waiting: Map<number, Waiting>
  /** Bytes given to it that it has not answered for. */
  weight: number
}

interface Key {
  readonly key: SealingKey
  readonly rules: SealingRules
}

function tell(worker: Worker, order: Order): void {
  worker.postMessage(order, [])
}

class WorkerPool {
  readonly #workersMax = Math.min(WORKERS_MAX, os.availableParallelism())
  readonly #workers = new Set<RunningWorker>()
  readonly #keys = new Map<number, Key>()
  #nextKeyId = 1
  #nextOrderId = 1

  get isStarted(): boolean {
    return this.#workers.size > 0
  }

  addKey(key: Key): number {
    const keyId = this.#nextKeyId
    this.#nextKeyId += 1
    this.#keys.set(keyId, key)
    for (const { worker } of this.#workers) tell(worker, { kind: 'learn-key', keyId, ...key })
    return keyId
  }

  /** The last key takes the workers with it. */
  async removeKey(keyId: number): Promise<void> {
    this.#keys.delete(keyId)
    if (this.#keys.size > 0) {
      for (const { worker } of this.#workers) tell(worker, { kind: 'forget-key', keyId })
      return
    }
    const workers = [...this.#workers]
    this.#workers.clear()
    await Promise.all(workers.map(({ worker }) => worker.terminate()))
  }

  /** Starts all workers now, for much that is to come: by the time that it does, they are up. */
  start(): void {
    while (this.#workers.size < this.#workersMax) this.#startWorker()
  }

  /** @param weight how much there is to do, in bytes */
  submit<Kind extends Work['kind']>(keyId: number, work: Work & { kind: Kind }, weight: number): Promise<Answers[Kind]> {
    const running = this.#chooseWorker()
    const orderId = this.#nextOrderId
    this.#nextOrderId += 1
    return new Promise((resolve, reject) => {
      // The worker answers each kind of work with its kind of answer.
      running.waiting.set(orderId, { weight, resolve: (answer) => resolve(answer as Answers[Kind]), reject })
      running.weight += weight
      if (running.waiting.size === 1) running.worker.ref()
      tell(running.worker, { kind: 'work', orderId, keyId, work })
    })
  }

  #chooseWorker(): RunningWorker {
    let best: RunningWorker | undefined
    for (const running of this.#workers) {
      if (best === undefined || running.weight < best.weight) best = running
    }
    if (best !== undefined && (best.weight === 0 || this.#workers.size >= this.#workersMax)) return best
    return this.#startWorker()
  }

  #startWorker(): RunningWorker {
    // Flags meant for the main program, such as that it comes as text, are not for workers.
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { execArgv: [], resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MEGABYTES_MAX } })
    const running: RunningWorker = { worker, waiting: new Map(), weight: 0 }
    this.#workers.add(running)
    worker.unref()
    for (const [keyId, key] of this.#keys) tell(worker, { kind: 'learn-key', keyId, ...key })
    worker.on('message', (reply: Reply) => this.#receive(running, reply))
    worker.on('error', (error) => this.#lose(running, error))
    worker.on('exit', () => this.#lose(running, new Error('A worker thread ended.')))
    return running
  }

  #receive(running: RunningWorker, reply: Reply): void {
    const waiting = running.waiting.get(reply.orderId)
    if (waiting === undefined) return
    running.waiting.delete(reply.orderId)
    running.weight -= waiting.weight
    if (running.waiting.size === 0) running.worker.unref()
    if ('answer' in reply) waiting.resolve(reply.answer)
    else if ('failure' in reply) waiting.reject(new Failure(reply.failure.code, reply.failure.facts))
    else waiting.reject(new Error(reply.mistake))
  }

  #lose(running: RunningWorker, error: unknown): void {
    this.#workers.delete(running)
    for (const { reject } of running.waiting.values()) reject(error)
    running.waiting.clear()
  }
}

export type { WorkerPool }

/** Workers are the process's, as its cores are. */
export const workerPool = new WorkerPool()
