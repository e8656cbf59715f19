/**
 * `bench/list.ts [--backups N] [--seconds S] [--quick]`: how fast the listing of backups is, over a
 * populated catalogue, beside a bare `node:http` server that answers the same bytes.
 *
 * Server, peer and load are processes of their own. Each query runs against both in turns, several
 * rounds long, so that what else the machine does meets both alike; a line shows the middle round.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { ListBackupsResponse } from '@opencbr/contract'
import { populateDirectory } from '@opencbr/server'
import { startBareServer } from './support/bare-server.ts'
import { runLoad, type LoadResult } from './support/load-generator.ts'
import { serveDirectory, type ServedDirectory } from './support/served-directory.ts'

const CLIENTS = 8
/** Queries that differ in their values are asked in so many variants in turn. */
const VARIANTS = 50

const { values: options } = parseArgs({
  options: { backups: { type: 'string' }, seconds: { type: 'string' }, quick: { type: 'boolean', default: false } },
})
const backups = Number(options.backups ?? (options.quick ? 10_000 : 100_000))
const seconds = Number(options.seconds ?? (options.quick ? 1 : 4))
const rounds = options.quick ? 1 : 3

interface BenchQuery {
  readonly name: string
  /** What follows the `?`. */
  readonly variants: readonly string[]
}

const dataDir = await mkdtemp(join(tmpdir(), 'opencbr-bench-'))
try {
  const startedAt = performance.now()
  const { rows } = await populateDirectory({
    dataDir, listen: { host: '127.0.0.1', port: 0 }, region: 'local-1', allowPaths: [], strictResources: false, logLevel: 'error',
  }, { backups })
  console.log(`${backups} backups (${rows.backups} rows with children and a partner's), populated in ${((performance.now() - startedAt) / 1000).toFixed(1)} s; `
    + `${CLIENTS} clients, ${rounds} × ${seconds} s each; Node ${process.version}, ${availableParallelism()} processors\n`)
  await using server = await serveDirectory(dataDir)
  const rssBefore = await residentMb(server.pid)
  const lines = []
  for (const query of await chooseQueries(server)) lines.push(await measure(server, query))
  console.table(Object.fromEntries(lines))
  console.log(`memory of the server: ${rssBefore} MB before, ${await residentMb(server.pid)} MB after, ${await residentMb(server.pid, 'VmHWM')} MB at most`)
} finally {
  await rm(dataDir, { recursive: true, force: true })
}

async function chooseQueries(server: ServedDirectory): Promise<BenchQuery[]> {
  const sample = await list(server, `limit=1000&offset=${Math.floor(backups / 2)}`)
  // Names that the service makes up: hardly any backup shares one. Names that people choose are on thousands here.
  const full = sample.backups.filter((backup) => /bk_[0-9a-f]{4}$/.test(backup.name)).slice(0, VARIANTS)
    .map((backup) => ({ name: backup.name, vault: backup.vault_id }))
  const deepest = Math.floor(backups * 0.9)
  return [
    { name: 'first page of 10', variants: ['limit=10'] },
    {
      name: '100 of a vault, available, by name',
      variants: full.map(({ vault }) => `limit=100&vault_id=${vault}&status=available&sort=name:asc`),
    },
    { name: 'by name', variants: full.map(({ name }) => `name=${encodeURIComponent(name)}`) },
    { name: `10 behind ${deepest}`, variants: full.map((_, index) => `limit=10&offset=${deepest + index}`) },
    { name: 'a page of 1000', variants: ['limit=1000'] },
  ]
}

async function list(server: ServedDirectory, query: string): Promise<ListBackupsResponse> {
  return JSON.parse(await server.get(`/v3/${server.projectId}/backups?${query}`)) as ListBackupsResponse
}

async function measure(server: ServedDirectory, { name, variants }: BenchQuery): Promise<[string, Record<string, string | number>]> {
  const targets = variants.map((variant) => `/v3/${server.projectId}/backups?${variant}`)
  const answers = Object.fromEntries(await Promise.all(targets.map(async (target) => [target, await server.get(target)] as const)))
  await using peer = await startBareServer(answers)
  const plan = { host: server.host, clients: CLIENTS, seconds, warmupSeconds: seconds / 4, targets }
  const ours: LoadResult[] = []
  const theirs: LoadResult[] = []
  for (let round = 0; round < rounds; round += 1) {
    ours.push(await runLoad({ ...plan, port: server.port, headers: { 'x-auth-token': server.token } }))
    theirs.push(await runLoad({ ...plan, port: peer.port, headers: {} }))
  }
  const [our, their] = [middle(ours), middle(theirs)]
  return [name, {
    'req/s': Math.round(our.requestsPerSecond),
    'p50 ms': our.p50Ms.toFixed(2),
    'p99 ms': our.p99Ms.toFixed(2),
    'kB': Math.round(our.bytesPerAnswer / 1000),
    'bare req/s': Math.round(their.requestsPerSecond),
    'bare p50 ms': their.p50Ms.toFixed(2),
    'bare p99 ms': their.p99Ms.toFixed(2),
    'ratio req/s': (our.requestsPerSecond / their.requestsPerSecond).toFixed(3),
  }]
}

function middle(results: readonly LoadResult[]): LoadResult {
  const sorted = results.toSorted((one, other) => one.requestsPerSecond - other.requestsPerSecond)
  const result = sorted[Math.floor(sorted.length / 2)]
  if (result === undefined) throw new RangeError('nothing was measured')
  return result
}

/** Resident memory of a process in MB; VmHWM is its highest so far. */
async function residentMb(pid: number, field: 'VmRSS' | 'VmHWM' = 'VmRSS'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1000)
}
