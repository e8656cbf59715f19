/**
 * `bench/list.ts [--backups N] [--projects N] [--database postgres|URL] [--servers N] [--seconds S] [--rounds N] [--only PATTERN] [--bare N]
 * [--share PART] [--list-threads N] [--soak MINUTES] [--data DIR] [--quick]`: how fast the listing of backups is, over a populated catalogue.
 *
 * The first table holds throughput against bare `node:http` servers that answer the same bytes: one process, and as many as
 * `--bare` says, which is how many cores ours may use. Each query runs against all of them in turns, several rounds long, so that
 * what else the machine does meets all alike; a line shows the middle round. "The same" asks for one page over and over, as tools
 * do that wait for something; "different" for so many pages in turn that none is remembered from the last time.
 *
 * The second table holds how long single answers take, for every kind of filter, order and place in the list,
 * no page asked for twice. The third is about writing: the server records finished backups and takes backups out, with its own
 * functions, while clients read from it; `--data` keeps what that changes. With two servers on one PostgreSQL another table shows what
 * both do together; `--share 0.2` gives each of them a fifth of a processor, so that the servers are what there is too little of, and not the
 * machine that they share with the database and the load (needs root).
 *
 * Servers, peers and load are processes of their own. `--only` chooses lines by their names. `--data` keeps a directory for the
 * next run, since a million rows take a minute or two to make; so does `--database URL`.
 */
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { ListBackupsResponse } from '@opencbr/contract'
import { populateDirectory, type ServerConfig } from '@opencbr/server'
import { startPostgresServer } from '@opencbr/testkit'
import { startBareServers } from './support/bare-server.ts'
import { runLoad, startLoad, type LoadRequest, type LoadResult } from './support/load-generator.ts'
import { childrenOf, residentMb } from './support/processes.ts'
import { limitProcessor } from './support/processor-share.ts'
import { serveDirectory, type ServedDirectory, type ServedProject } from './support/served-directory.ts'
import { serveWriting, type WritingServer } from './support/writing-server.ts'

const CLIENTS = 8
const SOAK_CLIENTS = 200
/** More than the server remembers answers of, at a hundred backups each. */
const VARIANTS = 600
/** The same for a thousand each. */
const LONG_VARIANTS = 60
/** How long an answer may take, of a hundred backups or less. */
const P99_MS_MAX = 10
const WRITES = 2000
const REMOVALS = 10_000

/** For a machine that has some memory to give; what is not about writing is left as it is. */
const POSTGRES_SETTINGS = [
  'shared_buffers=2GB', 'work_mem=64MB', 'maintenance_work_mem=1GB', 'max_wal_size=8GB', 'wal_level=minimal', 'max_wal_senders=0', 'random_page_cost=1.1',
]

const { values: options } = parseArgs({
  options: {
    backups: { type: 'string' }, projects: { type: 'string', default: '1' }, database: { type: 'string' }, servers: { type: 'string', default: '1' },
    seconds: { type: 'string' }, rounds: { type: 'string' }, only: { type: 'string', default: '' }, bare: { type: 'string' },
    'list-threads': { type: 'string' }, soak: { type: 'string', default: '0' }, share: { type: 'string' }, data: { type: 'string' }, quick: { type: 'boolean', default: false },
  },
})
const backups = Number(options.backups ?? (options.quick ? 10_000 : 1_000_000))
const projects = Number(options.projects)
const seconds = Number(options.seconds ?? (options.quick ? 1 : 3))
const rounds = Number(options.rounds ?? (options.quick ? 1 : 3))
const cores = Number(options.bare ?? Math.min(2, availableParallelism()))
const serverCount = Number(options.servers)
const only = new RegExp(options.only)
const backupsPerProject = Math.floor(backups / projects)

const SORT_KEYS = ['created_at', 'updated_at', 'name', 'status', 'protected_at', 'id']

/** One page of one project. */
interface Page {
  readonly project: ServedProject
  /** What follows the `?`. */
  readonly query: string
}

interface BenchQuery {
  readonly name: string
  readonly pages: readonly Page[]
}

type Line = [name: string, cells: Record<string, string | number>]

const folder = await mkdtemp(join(tmpdir(), 'opencbr-bench-'))
const dataDir = options.data ?? join(folder, 'data')
let busiestLoad = 0
try {
  await using postgres = options.database === 'postgres' ? await startPostgresServer(POSTGRES_SETTINGS) : undefined
  const database = postgres?.url ?? options.database
  const serveOptions = [
    ...(database === undefined ? [] : ['--database', database]),
    ...(options['list-threads'] === undefined ? [] : ['--list-threads', options['list-threads']]),
  ]
  const config: ServerConfig = {
    dataDir, database, listen: { host: '127.0.0.1', port: 0 }, region: 'local-1', allowPaths: [], strictResources: false, logLevel: 'error',
  }
  if (!existsSync(join(dataDir, 'bootstrap.json'))) {
    const startedAt = performance.now()
    const { rows } = await populateDirectory(config, { backups, projects })
    console.log(`${backups} backups in ${projects} projects (${rows.backups} rows with children and partners'), populated in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  }
  console.log(`${database === undefined ? 'SQLite' : 'PostgreSQL'}; ${CLIENTS} clients, ${rounds} × ${seconds} s each; Node ${process.version}, ${availableParallelism()} processors\n`)
  await measureReads(serveOptions)
  if (serverCount > 1) await measureTogether(serveOptions)
  await measureWrites(config)
  console.log(`the load generator took ${(busiestLoad * 100).toFixed(0)} % of a processor at most`)
} finally {
  await rm(folder, { recursive: true, force: true })
}

// --- Reading ----------------------------------------------------------------------------------------

async function measureReads(serveOptions: readonly string[]): Promise<void> {
  await using server = await serveDirectory(dataDir, serveOptions)
  console.log(`memory at the start: ${await tellMemory(server.pid)}`)
  const throughput: Line[] = []
  for (const query of throughputQueries(server).filter(isChosen)) throughput.push(await compare(server, query))
  if (throughput.length > 0) {
    console.table(Object.fromEntries(throughput))
    console.log(`memory: ${await tellMemory(server.pid)}`)
  }
  const queries = (await latencyQueries(server)).filter(isChosen)
  const latency: Line[] = []
  for (const query of queries) latency.push(await time(server, query))
  if (latency.length > 0) {
    console.table(Object.fromEntries(latency))
    const byP99 = latency.toSorted(([, one], [, other]) => Number(other['p99 ms']) - Number(one['p99 ms']))
    const slow = byP99.filter(([, cells]) => Number(cells['p99 ms']) > P99_MS_MAX)
    console.log(`slowest: ${byP99[0]?.[0]}, p99 ${byP99[0]?.[1]['p99 ms']} ms; ${slow.length} of ${byP99.length} over ${P99_MS_MAX} ms: ${slow.map(([name]) => name).join('; ') || 'none'}`)
    console.log(`memory: ${await tellMemory(server.pid)}`)
  }
  const minutes = Number(options.soak)
  for (let minute = 1; minute <= minutes; minute += 1) {
    const result = await load([server], queries.flatMap(({ pages }) => pages), { clients: SOAK_CLIENTS, seconds: 60 })
    console.log(`${SOAK_CLIENTS} clients, minute ${minute}: ${Math.round(result.requestsPerSecond)} requests/s, p99 ${result.p99Ms.toFixed(0)} ms; ${await tellMemory(server.pid)}`)
  }
}

function isChosen({ name }: { readonly name: string }): boolean {
  return only.test(name)
}

function throughputQueries({ projects: served }: ServedDirectory): BenchQuery[] {
  const pages = (count: number, query: (index: number) => string): Page[] => (
    Array.from({ length: count }, (_, index) => ({ project: served[index % served.length] as ServedProject, query: query(index) })))
  const within = Math.max(1, Math.floor(backupsPerProject / 2))
  return [
    { name: '10, the same', pages: pages(1, () => 'limit=10') },
    { name: '10, different', pages: pages(5000, (index) => `limit=10&offset=${index * 7 % within}`) },
    { name: '1000, the same', pages: pages(1, () => 'limit=1000') },
    { name: '1000, different', pages: pages(LONG_VARIANTS, (index) => `limit=1000&offset=${index * 211 % within}`) },
  ]
}

async function latencyQueries({ projects: served }: ServedDirectory): Promise<BenchQuery[]> {
  const sample: { readonly project: ServedProject, readonly row: ListBackupsResponse['backups'][number] }[] = []
  for (let page = 0; page < 3; page += 1) {
    const project = served[page % served.length] as ServedProject
    const { backups: listed } = await list(project, `limit=1000&offset=${Math.floor(backupsPerProject / 4 * (page + 0.5))}`)
    sample.push(...listed.map((row) => ({ project, row })))
  }
  const rows = sample.filter((_, index) => index % Math.max(1, Math.floor(sample.length / VARIANTS)) === 0).slice(0, VARIANTS)
  type Sampled = typeof rows[number]['row']
  const each = (name: string, query: (row: Sampled, index: number) => string): BenchQuery =>
    ({ name, pages: rows.map(({ project, row }, index) => ({ project, query: `limit=100&${query(row, index)}` })) })
  // Where there are few values, pages differ by where they begin.
  const from = (name: string, query: string): BenchQuery => each(name, (_, index) => `${query}&offset=${index}`)
  const window = (row: Sampled, days: number): string => {
    const end = Date.parse(`${row.created_at}Z`)
    return `start_time=${timeText(end - days * 86_400_000)}&end_time=${timeText(end)}`
  }
  const deep = Math.floor(backupsPerProject * 0.9)
  const zone = rows[0]?.row.resource_az
  return [
    from('first pages', ''),
    from('a status', 'status=available'), from('two statuses', 'status=error&status=deleting'),
    from('image type', 'image_type=replication'), from('resource type', 'resource_type=OS::Sfs::Turbo'), from('full ones', 'incremental=false'),
    from('availability zone', `resource_az=${zone}`), from('enterprise project', 'enterprise_project_id=0'),
    from('image and resource type', 'image_type=backup&resource_type=OS::Cinder::Volume'),
    each('a vault', ({ vault_id: vault }) => `vault_id=${vault}`),
    each('a vault, available, in a window, by name', (one) => `vault_id=${one.vault_id}&status=available&${window(one, 90)}&sort=name:asc`),
    each('a vault, two statuses, in a window, by status', (one) => `vault_id=${one.vault_id}&status=available&status=error&${window(one, 90)}&sort=status:asc,created_at:desc`),
    each('a resource', (one) => `resource_id=${one.resource_id}`),
    each('a resource in a window', (one) => `resource_id=${one.resource_id}&${window(one, 90)}`),
    each('name of a resource', (one) => `resource_name=${encodeURIComponent(one.resource_name)}`),
    each('a name', (one) => `name=${encodeURIComponent(one.name)}`),
    each('a name, by status', (one) => `name=${encodeURIComponent(one.name)}&sort=status:asc`),
    each('a checkpoint', (one) => `checkpoint_id=${one.checkpoint_id}`), each('a parent', (one) => `parent_id=${one.id}`),
    each('since', (one) => window(one, 30).split('&')[0] ?? ''), each('until', (one) => window(one, 30).split('&')[1] ?? ''),
    each('a window of 90 days, available', (one) => `${window(one, 90)}&status=available`),
    each('failed in 90 days', (one) => `${window(one, 90)}&status=error`),
    each('a resource type in 90 days', (one) => `${window(one, 90)}&resource_type=${one.resource_type}`),
    each('full ones that are available, in 90 days', (one) => `${window(one, 90)}&incremental=false&status=available`),
    each('an enterprise project in 90 days', (one) => `${window(one, 90)}&enterprise_project_id=${one.enterprise_project_id}`),
    from('used to 50 %', 'used_percent=50'), from('used to 99 %', 'used_percent=99'),
    from('received shares', 'own_type=shared'), from('accepted shares', 'own_type=shared&member_status=accepted'),
    from('own and received', 'own_type=all_granted'), from('given shares, pending', 'member_status=pending'),
    from('with replication records', 'show_replication=true'),
    from('by status, then time', 'sort=status:asc,created_at:desc'),
    each('automatic ones of a resource, oldest first', (one) => `resource_id=${one.resource_id}&status=available&sort=created_at:asc`),
    ...SORT_KEYS.flatMap((key) => ['asc', 'desc'].flatMap((direction) => [
      from(`by ${key} ${direction}`, `sort=${key}:${direction}`),
      each(`by ${key} ${direction}, behind ${deep}`, (_, index) => `sort=${key}:${direction}&offset=${deep + index * 100 % Math.max(1, backupsPerProject - deep)}`),
      each(`by ${key} ${direction}, behind a marker`, (one) => `sort=${key}:${direction}&marker=${one.id}`),
    ])),
  ]
}

function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

function targetOf({ project, query }: Page): string {
  return `/v3/${project.id}/backups?${query}`
}

async function list(project: ServedProject, query: string): Promise<ListBackupsResponse> {
  return JSON.parse(await project.get(targetOf({ project, query }))) as ListBackupsResponse
}

async function compare(server: ServedDirectory, { name, pages }: BenchQuery): Promise<Line> {
  const answers: Record<string, string> = {}
  for (const page of pages) answers[targetOf(page)] = await page.project.get(targetOf(page))
  await using peers = await startBareServers(cores, answers)
  const bare: LoadRequest[] = pages.map((page) => ({ target: targetOf(page), headers: {} }))
  const ours: LoadResult[] = []
  const alone: LoadResult[] = []
  const all: LoadResult[] = []
  for (let round = 0; round < rounds; round += 1) {
    ours.push(await load([server], pages))
    alone.push(await keepLoad({ ports: peers.ports.slice(0, 1), requests: bare }))
    if (cores > 1) all.push(await keepLoad({ ports: peers.ports, requests: bare }))
  }
  const our = middle(ours)
  const ratios = [alone, all].filter((results) => results.length > 0).map((results, index) => {
    const their = middle(results)
    const label = `bare × ${index === 0 ? 1 : cores}`
    return { [`${label}, req/s`]: Math.round(their.requestsPerSecond), [`${label}, ratio`]: (our.requestsPerSecond / their.requestsPerSecond).toFixed(3) }
  })
  return [name, Object.assign({ ...cellsOf(our) }, ...ratios) as Line[1]]
}

async function time(server: ServedDirectory, { name, pages }: BenchQuery): Promise<Line> {
  const result = await load([server], pages, { seconds: Math.min(2, seconds) })
  return [name, { ...cellsOf(result), over: result.p99Ms > P99_MS_MAX ? '!' : '' }]
}

function cellsOf(result: LoadResult): Record<string, string | number> {
  return {
    'req/s': Math.round(result.requestsPerSecond), 'p50 ms': result.p50Ms.toFixed(2), 'p99 ms': result.p99Ms.toFixed(2), 'kB': Math.round(result.bytesPerAnswer / 1000),
  }
}

function planOf(servers: readonly ServedDirectory[], pages: readonly Page[]): { ports: number[], requests: LoadRequest[] } {
  return { ports: servers.map(({ port }) => port), requests: pages.map((page) => ({ target: targetOf(page), headers: { 'x-auth-token': page.project.token } })) }
}

function load(servers: readonly ServedDirectory[], pages: readonly Page[], plan: { clients?: number, seconds?: number } = {}): Promise<LoadResult> {
  return keepLoad({ ...planOf(servers, pages), ...plan })
}

async function keepLoad(plan: { ports: readonly number[], requests: readonly LoadRequest[], clients?: number, seconds?: number }): Promise<LoadResult> {
  const result = await runLoad({ host: '127.0.0.1', clients: CLIENTS, seconds, warmupSeconds: seconds / 4, ...plan })
  busiestLoad = Math.max(busiestLoad, result.processorShare)
  return result
}

function middle(results: readonly LoadResult[]): LoadResult {
  const sorted = results.toSorted((one, other) => one.requestsPerSecond - other.requestsPerSecond)
  const result = sorted[Math.floor(sorted.length / 2)]
  if (result === undefined) throw new RangeError('nothing was measured')
  return result
}

// --- Several servers --------------------------------------------------------------------------------

async function measureTogether(serveOptions: readonly string[]): Promise<void> {
  if (options.database === undefined) throw new RangeError('several servers need --database postgres')
  await using stack = new AsyncDisposableStack()
  const servers: ServedDirectory[] = []
  for (let index = 0; index < serverCount; index += 1) {
    const own = join(folder, `server-${index}`)
    if (index > 0) {
      await mkdir(own, { mode: 0o700 })
      // A server on a shared catalogue needs the catalogue's key; the user to log in with is the first one's.
      for (const name of ['master.key', 'bootstrap.json']) await copyFile(join(dataDir, name), join(own, name))
    }
    const server = await serveDirectory(index === 0 ? dataDir : own, serveOptions)
    // Things are given back in the opposite order: the server ends before its group.
    if (options.share !== undefined) stack.use(await limitProcessor(server.pid, Number(options.share)))
    servers.push(stack.use(server))
  }
  const [first] = servers
  if (first === undefined) return
  const lines: Line[] = []
  const clients = CLIENTS * serverCount
  for (const { name, pages } of [...throughputQueries(first), ...(await latencyQueries(first)).slice(0, 2)].filter(isChosen)) {
    const one: LoadResult[] = []
    const together: LoadResult[] = []
    for (let round = 0; round < rounds; round += 1) {
      one.push(await load([first], pages, { clients }))
      together.push(await load(servers, pages, { clients }))
    }
    const growth = middle(together).requestsPerSecond / middle(one).requestsPerSecond
    lines.push([name, {
      '1 server, req/s': Math.round(middle(one).requestsPerSecond), [`${serverCount} servers, req/s`]: Math.round(middle(together).requestsPerSecond),
      'growth': growth.toFixed(2), 'p99 ms': middle(one).p99Ms.toFixed(1), 'p99 ms together': middle(together).p99Ms.toFixed(1),
    }])
  }
  console.table(Object.fromEntries(lines))
}

// --- Writing ----------------------------------------------------------------------------------------

async function measureWrites(config: ServerConfig): Promise<void> {
  const removals = Math.min(REMOVALS, Math.floor(backupsPerProject / 10))
  const steps: { readonly name: string, readonly run: (server: WritingServer) => Promise<number[]> }[] = [
    { name: 'recording a finished backup', run: (server) => server.record(Math.min(WRITES, removals)) },
    { name: `deleting ${removals} backups one by one`, run: (server) => server.remove(removals) },
    { name: `deleting vaults, ${removals} backups`, run: (server) => server.removeVaults(removals) },
  ]
  if (!steps.some(isChosen)) return
  await using server = await serveWriting({ ...config, listThreads: Number(options['list-threads'] ?? Math.max(1, cores - 1)) })
  const [project] = server.projects
  if (project === undefined) return
  const pages: Page[] = Array.from({ length: VARIANTS }, (_, index) => ({ project, query: `limit=100&status=available&offset=${index * 3}` }))
  const quiet = await load([server], pages)
  const lines: Line[] = [['nobody writes', { readers: Math.round(quiet.requestsPerSecond), 'readers p50 ms': quiet.p50Ms.toFixed(2), 'readers p99 ms': quiet.p99Ms.toFixed(2) }]]
  for (const { name, run } of steps.filter(isChosen)) {
    // Once alone, once while clients read. What one run takes out the other one has not.
    const alone = name.startsWith('recording') ? await run(server) : undefined
    const readers = startLoad({ host: '127.0.0.1', clients: CLIENTS, warmupSeconds: 0, seconds: 3600, ...planOf([server], pages) })
    const startedAt = performance.now()
    const durationsMs = await run(server)
    const elapsedMs = performance.now() - startedAt
    readers.stop()
    const read = await readers.result
    lines.push([name, {
      'writes': durationsMs.length, 'in s': (elapsedMs / 1000).toFixed(1), 'alone p50 ms': percentile(alone, 0.5), 'alone p99 ms': percentile(alone, 0.99),
      'p50 ms': percentile(durationsMs, 0.5), 'p99 ms': percentile(durationsMs, 0.99),
      'readers': Math.round(read.requestsPerSecond), 'readers p50 ms': read.p50Ms.toFixed(2), 'readers p99 ms': read.p99Ms.toFixed(2),
    }])
  }
  console.table(Object.fromEntries(lines))
  console.log(`memory: ${await tellMemory(server.pid)}`)
}

function percentile(values: readonly number[] | undefined, share: number): string {
  const sorted = (values ?? []).toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]?.toFixed(2) ?? ''
}

// --- Memory -----------------------------------------------------------------------------------------

/** Resident memory of a server and of the processes that it started, now and at most, in MB. */
async function tellMemory(pid: number): Promise<string> {
  const told = [`server ${await residentMb(pid, 'VmRSS')} MB (at most ${await residentMb(pid, 'VmHWM')})`]
  for (const child of await childrenOf(pid)) {
    const command = (await readFile(`/proc/${child}/cmdline`, 'utf8')).split('\0').find((part) => part.endsWith('.ts')) ?? 'another'
    told.push(`${command.split('/').slice(-1)[0]?.replace(/\.ts$/, '')} ${await residentMb(child, 'VmRSS')} MB (at most ${await residentMb(child, 'VmHWM')})`)
  }
  return told.join(', ')
}
