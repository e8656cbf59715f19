import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { ServerConfig } from './config.ts'
import { bootstrapPath } from './identity/index.ts'
import { openService } from './service.ts'

/** Beyond this many, pages come out of the one thread that sends them no faster. */
const LIST_THREADS_MAX = 4

const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/**
 * Serves until the process is asked to stop, then ends work in an orderly way and returns. Throws a
 * `StartRefusal`, whose message is meant for the operator, when the service cannot start.
 */
export async function serve(config: ServerConfig): Promise<void> {
  const stop = Promise.withResolvers<NodeJS.Signals>()
  // The handlers stay until the end: a terminal and a launcher in between may send one signal twice,
  // and the second must not cut the orderly end short.
  for (const signal of STOP_SIGNALS) process.on(signal, stop.resolve)
  try {
    await using service = await openService({ listThreads: Math.max(1, Math.min(LIST_THREADS_MAX, availableParallelism() - 1)), ...config })
    const { url } = await service.listen()
    // It may be a disk that is mounted later, or a slip of the pen; calls cannot say which, so the operator is told.
    for (const path of [...config.allowPaths, ...Object.values(config.projectPaths ?? {}).flat()].filter((each) => !existsSync(each))) {
      process.stderr.write(`The allowed path ${path} does not exist: until it does, nothing in it can be backed up or restored.\n`)
    }
    const howToLogIn = config.keystone === undefined ? `how to log in stands in ${bootstrapPath(config)}` : `its users log in at ${config.keystone.url}`
    process.stderr.write(`OpenCBR serves on ${url}; ${howToLogIn}\n`)
    const signal = await stop.promise
    process.stderr.write(`OpenCBR stops (${signal}) …\n`)
  } finally {
    for (const signal of STOP_SIGNALS) process.off(signal, stop.resolve)
  }
}
