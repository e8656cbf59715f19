/**
 * `bench/list-cinder.ts [--backups N] [--seconds S] [--rounds N] [--only PATTERN]`: the listing of backups beside that of OpenStack's
 * Cinder, over as many rows in one project, on the same machine and with the same load, in turns. Both list details, with a
 * count, and each on SQLite, with up to two processors. Cinder does not authenticate here, we do; its rows have 17 members,
 * ours 41. Besides requests per second it says how much processor time an answer takes, which other work on the machine changes little.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { populateDirectory } from '@opencbr/server'
import { startCinderServer } from './support/cinder-server.ts'
import { runLoad, type LoadRequest, type LoadResult } from './support/load-generator.ts'
import { processorMs } from './support/processes.ts'
import { serveDirectory } from './support/served-directory.ts'

const CLIENTS = 8
/** More than answers are remembered of. */
const PAGES = 600

const { values: options } = parseArgs({
  options: { backups: { type: 'string', default: '100000' }, seconds: { type: 'string', default: '3' }, rounds: { type: 'string', default: '3' }, only: { type: 'string', default: '' } },
})
const backups = Number(options.backups)
const seconds = Number(options.seconds)
const only = new RegExp(options.only)

/** The same question to both; the places in the list differ from call to call. */
const questions: readonly { readonly name: string, readonly query: (index: number) => string }[] = [
  { name: '10, first pages', query: (index) => `limit=10&offset=${index}` },
  { name: '100, first pages', query: (index) => `limit=100&offset=${index}` },
  { name: '1000, first pages', query: (index) => `limit=1000&offset=${index}` },
  { name: '100 that failed', query: (index) => `limit=100&status=error&offset=${index}` },
  { name: '100 by name', query: (index) => `limit=100&sort=name:asc&offset=${index}` },
  { name: `100 behind ${Math.floor(backups * 0.9)}`, query: (index) => `limit=100&offset=${Math.floor(backups * 0.9) + index}` },
]

const folder = await mkdtemp(join(tmpdir(), 'opencbr-bench-'))
try {
  const cinderFolder = join(folder, 'cinder')
  await mkdir(cinderFolder)
  await using cinder = await startCinderServer(cinderFolder, backups)
  const dataDir = join(folder, 'ours')
  await populateDirectory({ dataDir, listen: { host: '127.0.0.1', port: 0 }, region: 'local-1', allowPaths: [], strictResources: false, logLevel: 'error' }, { backups })
  await using ours = await serveDirectory(dataDir)
  const [project] = ours.projects
  if (project === undefined) throw new RangeError('nobody can be listed')
  console.log(`${backups} backups each; Cinder ${cinder.version}; ${CLIENTS} clients, ${options.rounds} × ${seconds} s\n`)
  const table: Record<string, Record<string, string | number>> = {}
  for (const { name, query } of questions.filter((question) => only.test(question.name))) {
    const requestsOf = (path: string, more: string, headers: LoadRequest['headers']): LoadRequest[] =>
      Array.from({ length: PAGES }, (_, index) => ({ target: `${path}?${query(index)}${more}`, headers }))
    const our = requestsOf(`/v3/${project.id}/backups`, '', { 'x-auth-token': project.token })
    const their = requestsOf(`/v3/${cinder.projectId}/backups/detail`, '&with_count=true', cinder.headers)
    const results: [ours: Measured, theirs: Measured][] = []
    for (let round = 0; round < Number(options.rounds); round += 1) {
      results.push([await load(ours, our), await load(cinder, their)])
    }
    const [one, other] = [middle(results.map(([result]) => result)), middle(results.map(([, result]) => result))]
    table[name] = {
      'req/s': Math.round(one.requestsPerSecond), 'cpu ms': one.processorMsPerAnswer.toFixed(2), 'p50 ms': one.p50Ms.toFixed(1), 'p99 ms': one.p99Ms.toFixed(1), 'kB': Math.round(one.bytesPerAnswer / 1000),
      'Cinder req/s': other.requestsPerSecond.toFixed(1), 'Cinder cpu ms': other.processorMsPerAnswer.toFixed(0), 'Cinder p50 ms': other.p50Ms.toFixed(0), 'Cinder p99 ms': other.p99Ms.toFixed(0),
      'Cinder kB': Math.round(other.bytesPerAnswer / 1000), 'times': (one.requestsPerSecond / other.requestsPerSecond).toFixed(0), 'times cpu': (other.processorMsPerAnswer / one.processorMsPerAnswer).toFixed(0),
    }
  }
  console.table(table)
} finally {
  await rm(folder, { recursive: true, force: true })
}

interface Measured extends LoadResult {
  readonly processorMsPerAnswer: number
}

async function load({ port, pid }: { readonly port: number, readonly pid: number }, requests: readonly LoadRequest[]): Promise<Measured> {
  const before = await processorMs(pid)
  // Without a warm-up, whose answers would take processor time and not be counted.
  const result = await runLoad({ host: '127.0.0.1', ports: [port], clients: CLIENTS, seconds, warmupSeconds: 0, requests })
  return { ...result, processorMsPerAnswer: (await processorMs(pid) - before) / result.answers }
}

function middle(results: readonly Measured[]): Measured {
  const sorted = results.toSorted((one, other) => one.requestsPerSecond - other.requestsPerSecond)
  const result = sorted[Math.floor(sorted.length / 2)]
  if (result === undefined) throw new RangeError('nothing was measured')
  return result
}
