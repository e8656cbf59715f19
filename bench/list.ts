/**
 * `bench/list.ts [--backups N] [--seconds S] [--rounds N] [--data DIR] [--quick]`: how fast the listing of backups is,
 * over a populated catalogue.
 *
 * The first table holds throughput against a bare `node:http` server that answers the same bytes. Each query
 * runs against both in turns, several rounds long, so that what else the machine does meets both alike; a
 * line shows the middle round. "The same" asks for one page over and over, as tools do that wait for
 * something; "different" for so many pages in turn that none is remembered from the last time.
 *
 * The second table holds how long single answers take, for every kind of filter, order and place in the list,
 * no page asked for twice. Server, peer and load are processes of their own. `--data` keeps a directory for the
 * next run, since a million rows take minutes to make.
 */
import { existsSync } from 'node:fs'
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
/** More than the server remembers answers of, at a hundred backups each. */
const VARIANTS = 600
/** The same for a thousand each. */
const LONG_VARIANTS = 60

const { values: options } = parseArgs({
  options: {
    backups: { type: 'string' }, seconds: { type: 'string' }, rounds: { type: 'string' }, data: { type: 'string' }, quick: { type: 'boolean', default: false },
  },
})
const backups = Number(options.backups ?? (options.quick ? 10_000 : 1_000_000))
const seconds = Number(options.seconds ?? (options.quick ? 1 : 3))
const rounds = Number(options.rounds ?? (options.quick ? 1 : 3))

const SORT_KEYS = ['created_at', 'updated_at', 'name', 'status', 'protected_at', 'id']

interface BenchQuery {
  readonly name: string
  /** What follows the `?`. */
  readonly variants: readonly string[]
}

const dataDir = options.data ?? await mkdtemp(join(tmpdir(), 'opencbr-bench-'))
try {
  if (!existsSync(join(dataDir, 'catalogue.db'))) {
    const startedAt = performance.now()
    const { rows } = await populateDirectory({
      dataDir, listen: { host: '127.0.0.1', port: 0 }, region: 'local-1', allowPaths: [], strictResources: false, logLevel: 'error',
    }, { backups })
    console.log(`${backups} backups (${rows.backups} rows with children and a partner's), populated in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  }
  console.log(`${CLIENTS} clients, ${rounds} × ${seconds} s each; Node ${process.version}, ${availableParallelism()} processors\n`)
  await using server = await serveDirectory(dataDir)
  const memory = [await residentMb(server.pid)]
  const throughput = []
  for (const query of throughputQueries()) throughput.push(await compare(server, query))
  console.table(Object.fromEntries(throughput))
  memory.push(await residentMb(server.pid))
  const latency = []
  for (const query of await latencyQueries(server)) latency.push(await time(server, query))
  console.table(Object.fromEntries(latency))
  const worst = latency.toSorted(([, one], [, other]) => Number(other['p99 ms']) - Number(one['p99 ms']))[0]
  console.log(`slowest: ${worst?.[0]}, p99 ${worst?.[1]['p99 ms']} ms`)
  console.log(`memory of the server: ${memory[0]} MB before, ${memory[1]} MB between the tables, ${await residentMb(server.pid)} MB after, ${await residentMb(server.pid, 'VmHWM')} MB at most`)
} finally {
  if (options.data === undefined) await rm(dataDir, { recursive: true, force: true })
}

function throughputQueries(): BenchQuery[] {
  return [
    { name: '10, the same', variants: ['limit=10'] },
    { name: '10, different', variants: Array.from({ length: 5000 }, (_, index) => `limit=10&offset=${index * 7 % Math.floor(backups / 2)}`) },
    { name: '1000, the same', variants: ['limit=1000'] },
    { name: '1000, different', variants: Array.from({ length: LONG_VARIANTS }, (_, index) => `limit=1000&offset=${index * 211 % Math.floor(backups / 2)}`) },
  ]
}

async function latencyQueries(server: ServedDirectory): Promise<BenchQuery[]> {
  const sample = []
  for (let page = 0; page < 3; page += 1) sample.push(...(await list(server, `limit=1000&offset=${Math.floor(backups / 4 * (page + 0.5))}`)).backups)
  const rows = sample.filter((_, index) => index % Math.max(1, Math.floor(sample.length / VARIANTS)) === 0).slice(0, VARIANTS)
  type Sampled = typeof rows[number]
  const each = (name: string, query: (row: Sampled, index: number) => string): BenchQuery =>
    ({ name, variants: rows.map((row, index) => `limit=100&${query(row, index)}`) })
  // Where there are few values, pages differ by where they begin.
  const from = (name: string, query: string): BenchQuery => each(name, (_, index) => `${query}&offset=${index}`)
  const window = (row: Sampled, days: number): string => {
    const end = Date.parse(`${row.created_at}Z`)
    return `start_time=${timeText(end - days * 86_400_000)}&end_time=${timeText(end)}`
  }
  const deep = Math.floor(backups * 0.9)
  const [row] = rows
  return [
    from('first pages', ''),
    from('a status', 'status=available'), from('two statuses', 'status=error&status=deleting'),
    from('image type', 'image_type=replication'), from('resource type', 'resource_type=OS::Sfs::Turbo'), from('full ones', 'incremental=false'),
    from('availability zone', `resource_az=${row?.resource_az}`), from('enterprise project', 'enterprise_project_id=0'),
    from('image and resource type', 'image_type=backup&resource_type=OS::Cinder::Volume'),
    each('a vault', ({ vault_id: vault }) => `vault_id=${vault}`),
    each('a vault, available, in a window, by name', (one) => `vault_id=${one.vault_id}&status=available&${window(one, 90)}&sort=name:asc`),
    each('a resource in a window', (one) => `resource_id=${one.resource_id}&${window(one, 90)}`),
    each('name of a resource', (one) => `resource_name=${encodeURIComponent(one.resource_name)}`),
    each('a name', (one) => `name=${encodeURIComponent(one.name)}`),
    each('a checkpoint', (one) => `checkpoint_id=${one.checkpoint_id}`), each('a parent', (one) => `parent_id=${one.id}`),
    each('since', (one) => window(one, 30).split('&')[0] ?? ''), each('until', (one) => window(one, 30).split('&')[1] ?? ''),
    each('a window of 90 days, available', (one) => `${window(one, 90)}&status=available`),
    each('failed in 90 days', (one) => `${window(one, 90)}&status=error`),
    from('used to 50 %', 'used_percent=50'), from('used to 99 %', 'used_percent=99'),
    from('received shares', 'own_type=shared'), from('accepted shares', 'own_type=shared&member_status=accepted'),
    from('own and received', 'own_type=all_granted'), from('given shares, pending', 'member_status=pending'),
    from('with replication records', 'show_replication=true'),
    from('by status, then time', 'sort=status:asc,created_at:desc'),
    each('automatic ones of a resource, oldest first', (one) => `resource_id=${one.resource_id}&status=available&sort=created_at:asc`),
    ...SORT_KEYS.flatMap((key) => ['asc', 'desc'].flatMap((direction) => [
      from(`by ${key} ${direction}`, `sort=${key}:${direction}`),
      each(`by ${key} ${direction}, behind ${deep}`, (_, index) => `sort=${key}:${direction}&offset=${deep + index * 100 % Math.max(1, backups - deep)}`),
      each(`by ${key} ${direction}, behind a marker`, (one) => `sort=${key}:${direction}&marker=${one.id}`),
    ])),
  ]
}

function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

async function list(server: ServedDirectory, query: string): Promise<ListBackupsResponse> {
  return JSON.parse(await server.get(`/v3/${server.projectId}/backups?${query}`)) as ListBackupsResponse
}

async function compare(server: ServedDirectory, { name, variants }: BenchQuery): Promise<[string, Record<string, string | number>]> {
  const targets = variants.map((variant) => `/v3/${server.projectId}/backups?${variant}`)
  const answers: Record<string, string> = {}
  for (const target of targets) answers[target] = await server.get(target)
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

async function time(server: ServedDirectory, { name, variants }: BenchQuery): Promise<[string, Record<string, string | number>]> {
  const targets = variants.map((variant) => `/v3/${server.projectId}/backups?${variant}`)
  const result = await runLoad({
    host: server.host, port: server.port, clients: CLIENTS, seconds: Math.min(2, seconds), warmupSeconds: seconds / 4, targets,
    headers: { 'x-auth-token': server.token },
  })
  return [name, {
    'req/s': Math.round(result.requestsPerSecond), 'p50 ms': result.p50Ms.toFixed(2), 'p99 ms': result.p99Ms.toFixed(2), 'kB': Math.round(result.bytesPerAnswer / 1000),
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
