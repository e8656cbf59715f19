/** The program of the threads that `page-threads.ts` starts: it makes one page at a time, in the order in which they are asked for. */
import { parentPort, workerData } from 'node:worker_threads'
import { openSqliteReader } from '../db/database.ts'
import { openBackupPages } from './backup-pages.ts'
import type { PageAnswer, PageOrder } from './page-threads.ts'

const makePage = openBackupPages(await openSqliteReader(workerData as string))

parentPort?.on('message', ({ projectId, listing, revision }: PageOrder) => {
  makePage(projectId, listing, revision).then((page) => {
    // Bytes that are part of a larger piece of memory cannot be handed over without it: such are few, and copied.
    const pieces = page.pieces.map((each) => (each.byteLength === each.buffer.byteLength ? each : new Uint8Array(each)))
    parentPort?.postMessage({ pieces } satisfies PageAnswer, pieces.map((each) => each.buffer as ArrayBuffer))
  }, (error: Error & { code?: unknown, errcode?: unknown }) => {
    parentPort?.postMessage({ error: { message: error.message, code: error.code, errcode: error.errcode } } satisfies PageAnswer, [])
  })
})
