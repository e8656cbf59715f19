/**
 * Threads that make pages of SQLite's catalogue, each with a connection of its own. A page of a thousand backups, or one for which many
 * rows have to be read, takes its time, and SQLite's calls are synchronous: made here, it stops neither other calls nor a running
 * backup, and several processors make several at once. What waits for a thread waits in order.
 *
 * Threads are started when the first page is asked for, and again after one has died. What it was making then is
 * made by another one, once.
 */
import { Worker } from 'node:worker_threads'
import { CatalogueOutage } from '../db/outage.ts'
import type { ProjectId } from '../ids.ts'
import { JsonPieces } from '../json-pieces.ts'
import type { MakeBackupPage } from './backup-pages.ts'
import type { BackupListing } from './list-backups.ts'

/** What a thread is asked for. */
export interface PageOrder {
  readonly projectId: ProjectId
  readonly listing: BackupListing
  readonly revision: number | undefined
}

/** What it answers; errors lose their class on the way, so what tells an outage goes along. */
export type PageAnswer =
  | { readonly pieces: readonly Uint8Array[] }
  | { readonly error: { readonly message: string, readonly code: unknown, readonly errcode: unknown } }

export interface PageThreads {
  readonly makePage: MakeBackupPage
  readonly close: () => Promise<void>
}

interface Waiting {
  readonly order: PageOrder
  readonly resolve: (page: JsonPieces) => void
  readonly reject: (error: Error) => void
  /** Threads that died while they made it. */
  deaths: number
}

const DEATHS_MAX = 2
/** A thread needs little besides the pages, which lie outside of its heap. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 4 }

/** `path`: of SQLite's file, which is open already. `tell` is for the operator's log. */
export function openPageThreads(path: string, threadsMax: number, tell: (text: string) => void): PageThreads {
  const queue: Waiting[] = []
  const making = new Map<Worker, Waiting | undefined>()
  let isClosed = false

  function start(): Worker {
    const thread = new Worker(new URL('page-thread.ts', import.meta.url), { workerData: path, resourceLimits: RESOURCE_LIMITS })
    making.set(thread, undefined)
    thread.on('message', (answer: PageAnswer) => {
      const done = making.get(thread)
      making.set(thread, undefined)
      assign()
      if (done === undefined) return
      if ('pieces' in answer) done.resolve(new JsonPieces(answer.pieces))
      else done.reject(Object.assign(new Error(answer.error.message), { code: answer.error.code, errcode: answer.error.errcode }))
    })
    thread.on('error', (error) => tell(`lists: a thread that reads the catalogue has failed: ${(error as Error).message}`))
    thread.on('exit', () => bury(thread))
    return thread
  }

  function bury(thread: Worker): void {
    const lost = making.get(thread)
    making.delete(thread)
    if (lost !== undefined) {
      lost.deaths += 1
      if (isClosed || lost.deaths >= DEATHS_MAX) lost.reject(new CatalogueOutage('the thread that reads the catalogue has ended'))
      else queue.unshift(lost)
    }
    assign()
  }

  function assign(): void {
    while (queue.length > 0) {
      const thread = findIdle() ?? (making.size < threadsMax ? start() : undefined)
      const next = thread === undefined ? undefined : queue.shift()
      if (thread === undefined || next === undefined) return
      making.set(thread, next)
      thread.postMessage(next.order, [])
    }
  }

  function findIdle(): Worker | undefined {
    for (const [thread, order] of making) {
      if (order === undefined) return thread
    }
    return undefined
  }

  return {
    makePage(projectId, listing, revision) {
      const { promise, resolve, reject } = Promise.withResolvers<JsonPieces>()
      queue.push({ order: { projectId, listing, revision }, resolve, reject, deaths: 0 })
      assign()
      return promise
    },
    async close() {
      isClosed = true
      for (const { reject } of queue.splice(0)) reject(new CatalogueOutage('the server is stopping'))
      await Promise.all([...making.keys()].map((thread) => thread.terminate()))
    },
  }
}
