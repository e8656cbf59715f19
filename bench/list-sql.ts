/**
 * `bench/list-sql.ts --data DIR [--only PATTERN]`: what lists cost the catalogue alone, in this process and on one connection, without HTTP
 * and without remembered answers. The directory is one that `bench/list.ts --data` has made.
 *
 * A line shows a page of 100 with its count: processor time, which other work on the machine disturbs little, as the mean of
 * many calls, and the median of the wait. *Fresh* is with nothing remembered, as after each change in the project; *warm* with the counts
 * and places that the calls before have left.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { ListBackupsQuery } from '@opencbr/contract'
import { openSqliteReader } from '../packages/server/src/db/database.ts'
import { listBackups, openListMemory, parseListing, type ListMemory } from '../packages/server/src/backups/list-backups.ts'
import { backupPageToWire } from '../packages/server/src/backups/backup-wire.ts'

const SECONDS = 0.4
const SAMPLES = 60

const { values: options } = parseArgs({ options: { data: { type: 'string' }, only: { type: 'string', default: '' } } })
if (options.data === undefined) throw new Error('--data DIR names what bench/list.ts --data has made')
const db = await openSqliteReader(join(options.data, 'catalogue.db'))
const { project_id: projectId } = await db.selectFrom('backup_counts').select('project_id').where('facet', '=', 'all').orderBy('rows', 'desc').limit(1).executeTakeFirstOrThrow()

type Query = ListBackupsQuery
const all = (await read({ limit: 1 })).count
const sampled = (await Promise.all([0.1, 0.35, 0.6, 0.85].map((part) => read({ limit: 1000, offset: Math.floor(all * part) })))).flatMap(({ backups }) => backups)
const rows = sampled.filter((_, index) => index % Math.ceil(sampled.length / SAMPLES) === 0)
const { name } = await db.selectFrom('backup_counts').select('value as name').where('facet', '=', 'name').where('project_id', '=', projectId).orderBy('rows', 'desc').limit(1).executeTakeFirstOrThrow()
type Sampled = typeof rows[number]

function days(row: Sampled, number: number): Query {
  const end = Date.parse(`${row.created_at}Z`)
  return { start_time: timeText(end - number * 86_400_000), end_time: timeText(end) }
}

function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

const deep = Math.floor(all * 0.9)
const server = 'OS::Nova::Server'
const scenarios: Readonly<Record<string, (row: Sampled, index: number) => Query>> = {
  'first pages': () => ({}),
  'first pages of 1,000': () => ({ limit: 1000 }),
  'a status': () => ({ status: ['available'] }),
  'two rare statuses': () => ({ status: ['deleting', 'waiting_delete'] }),
  'a resource type': () => ({ resource_type: server }),
  'image type and resource type': () => ({ image_type: 'backup', resource_type: server }),
  'a vault': (row) => ({ vault_id: row.vault_id ?? '' }),
  'a vault, by name': (row) => ({ vault_id: row.vault_id ?? '', sort: 'name:asc' }),
  'a vault, available, in 90 days, by name': (row) => ({ vault_id: row.vault_id ?? '', status: ['available'], ...days(row, 90), sort: 'name:asc' }),
  'a resource in 90 days': (row) => ({ resource_id: row.resource_id, ...days(row, 90) }),
  'the name of a resource': (row) => ({ resource_name: row.resource_name }),
  'the name of a resource, by name': (row) => ({ resource_name: row.resource_name, sort: 'name:asc' }),
  'the most frequent name': () => ({ name }),
  'a checkpoint': (row) => ({ checkpoint_id: row.checkpoint_id }),
  'a parent': (row) => ({ parent_id: row.id }),
  '90 days, available': (row) => ({ ...days(row, 90), status: ['available'] }),
  '90 days, by name': (row) => ({ ...days(row, 90), sort: 'name:asc' }),
  '90 days, a resource type': (row) => ({ ...days(row, 90), resource_type: server }),
  'used to 99 %': () => ({ used_percent: '99' }),
  'received': () => ({ own_type: 'shared' }),
  'received and accepted, by name': () => ({ own_type: 'shared', member_status: 'accepted', sort: 'name:asc' }),
  'own and received': () => ({ own_type: 'all_granted' }),
  'given, pending': () => ({ member_status: 'pending' }),
  'with replication records': () => ({ show_replication: true }),
  'by status, then time': () => ({ sort: 'status:asc,created_at:desc' }),
  'by status, then name': () => ({ sort: 'status:asc,name:asc' }),
  ...Object.fromEntries(['created_at', 'updated_at', 'name', 'status', 'protected_at', 'id'].flatMap((key) => [
    [`by ${key}`, () => ({ sort: key })],
    [`by ${key}, behind a marker`, (row: Sampled) => ({ sort: key, marker: row.id })],
    [`by ${key}, behind ${deep}`, (_: Sampled, index: number) => ({ sort: key, offset: deep + index * 100 % Math.max(1, all - deep) })],
  ])),
}

const table: Record<string, Record<string, string>> = {}
for (const [scenario, queryOf] of Object.entries(scenarios)) {
  if (!new RegExp(options.only).test(scenario)) continue
  const queries = rows.map((row, index) => ({ limit: 100, ...queryOf(row, index) }))
  const kept = openListMemory()
  await measure(queries, () => kept)
  const warm = await measure(queries, () => kept)
  const fresh = await measure(queries, openListMemory)
  table[scenario] = { 'fresh, cpu ms': fresh.cpu, 'fresh, p50 ms': fresh.p50, 'warm, cpu ms': warm.cpu, 'warm, p50 ms': warm.p50 }
}
console.table(table)
await db.destroy()

async function read(query: Query, memory: ListMemory = openListMemory()): Promise<{ count: number, backups: { [key: string]: string }[] }> {
  const page = backupPageToWire(await listBackups({ db }, memory, projectId, parseListing(query)))
  return JSON.parse(page.toString()) as { count: number, backups: { [key: string]: string }[] }
}

async function measure(queries: readonly Query[], memoryOf: () => ListMemory): Promise<{ cpu: string, p50: string }> {
  const waits: number[] = []
  const startedAt = performance.now()
  const before = process.cpuUsage()
  while (performance.now() - startedAt < SECONDS * 1000 || waits.length < 3) {
    const query = queries[waits.length % queries.length]
    const at = performance.now()
    backupPageToWire(await listBackups({ db }, memoryOf(), projectId, parseListing(query ?? {})))
    waits.push(performance.now() - at)
  }
  const { user, system } = process.cpuUsage(before)
  return { cpu: ((user + system) / 1000 / waits.length).toFixed(2), p50: (waits.toSorted((a, b) => a - b)[waits.length >> 1] ?? 0).toFixed(2) }
}
