/**
 * The listing against a naive filter: random queries over a catalogue of 100,000 backups, each answered over the API
 * and, independently, by walking through the rows of the database in memory. What keeps that quick enough: values of the keys
 * are compared once, and ranks from then on; and where a query names a vault or the like, only the rows with that one
 * are walked through. OPENCBR_TEST_QUERIES asks more.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ListBackupsResponse, type Backup } from '@opencbr/contract'
import { populateDirectory, type Populated } from '@opencbr/server'
import { makePostgresDatabase, runsOnPostgres, startTestService, type TestService } from '@opencbr/testkit'
import { sql } from 'kysely'
import { Compile } from 'typebox/compile'

const SEED = Number(process.env['OPENCBR_TEST_SEED'] ?? 20_260_115)
const BACKUPS = 100_000
const QUERIES = Number(process.env['OPENCBR_TEST_QUERIES'] ?? 600)
/** Rows of a page that are compared member by member; of the others, the ids are. */
const COMPARED_WHOLE = 30

type DatabaseRow = Record<string, string | number | null>
type Query = [string, string][]

/** A row as a project sees it: its own, or one that it sees through a share. */
interface Seen {
  readonly row: DatabaseRow
  readonly share: DatabaseRow | undefined
}

interface Ranked extends Seen {
  /** In the order of `SORT_KEYS`. */
  readonly ranks: readonly number[]
}

const SORT_KEYS = ['created_at', 'updated_at', 'name', 'status', 'protected_at', 'id']

let service: TestService
let populated: Populated
let tables: { backups: DatabaseRow[], members: DatabaseRow[], vaults: Map<string, DatabaseRow>, records: Map<string, DatabaseRow[]> }
let everything: Ranked[]
/** What the project sees, by the backup's id: once as its own, and once for each share. */
let byId: Map<string, Ranked[]>
/** Backups of which some project has a share in a state. */
let sharedBy: Map<string, Set<DatabaseRow[string]>>
const cleanup = new AsyncDisposableStack()

before(async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'opencbr-test-'))
  cleanup.defer(() => rm(dataDir, { recursive: true, force: true }))
  const database = runsOnPostgres() ? cleanup.use(await makePostgresDatabase()).url : undefined
  populated = await populateDirectory({
    dataDir, database, listen: { host: '127.0.0.1', port: 0 }, region: 'test-1', allowPaths: [], strictResources: false, logLevel: 'silent',
  }, { backups: BACKUPS, seed: SEED })
  service = cleanup.use(await startTestService({ dataDir, config: { database } }))
  const { db } = service.service.deps
  const all = async (table: string): Promise<DatabaseRow[]> => (await sql<DatabaseRow>`select * from ${sql.table(table)}`.execute(db)).rows
  // Without the documents, which are what is to be looked at.
  const backups = (await all('backups')).map(({ document: _document, ...row }) => row)
  tables = {
    backups,
    members: await all('backup_members'),
    vaults: new Map((await all('vaults')).map((vault) => [String(vault['id']), vault])),
    records: Map.groupBy(await all('replication_records'), (record) => String(record['backup_id'])),
  }
  everything = rank(seenBy(service.projectId))
  byId = Map.groupBy(everything, ({ row }) => String(row['id']))
  sharedBy = new Map([...Map.groupBy(tables.members, (member) => String(member['status']))]
    .map(([status, members]) => [status, new Set(members.map((member) => member['backup_id'] ?? null))]))
})

after(() => cleanup.disposeAsync())

// --- The naive filter -------------------------------------------------------------------------------

function seenBy(projectId: string): Seen[] {
  const own = tables.backups.filter((row) => row['project_id'] === projectId).map((row) => ({ row, share: undefined }))
  const shares = Map.groupBy(tables.members.filter((share) => share['dest_project_id'] === projectId), (share) => share['backup_id'])
  const received = tables.backups.flatMap((row) => (shares.get(row['parent_id'] ?? row['id']) ?? []).map((share) => ({ row, share })))
  return [...own, ...received]
}

function shownVault({ row, share }: Seen): DatabaseRow[string] {
  return share === undefined ? row['vault_id'] ?? null : share['vault_id'] ?? null
}

const COLUMN_OF_FILTER: Readonly<Record<string, string>> = {
  checkpoint_id: 'checkpoint_id', image_type: 'image_type', name: 'name', resource_az: 'resource_az',
  resource_id: 'resource_id', resource_name: 'resource_name', resource_type: 'resource_type',
}

/** The test that a query puts to every row. */
function openFilter(query: Query): (seen: Seen) => boolean {
  const given = Map.groupBy(query, ([name]) => name)
  const ownType = given.get('own_type')?.[0]?.[1] ?? 'private'
  const tests = [...given].map(([name, pairs]) => openTest(name, pairs.map(([, value]) => value)))
  return (seen) => {
    if (ownType === 'private' && seen.share !== undefined) return false
    if (ownType === 'shared' && seen.share === undefined) return false
    if (!given.has('parent_id') && seen.row['parent_id'] !== null) return false
    return tests.every((passes) => passes(seen))
  }
}

function openTest(name: string, values: readonly string[]): (seen: Seen) => boolean {
  const [value = ''] = values
  const column = COLUMN_OF_FILTER[name]
  if (column !== undefined) return ({ row }) => row[column] === value
  switch (name) {
    case 'status': return ({ row }) => values.includes(String(row['status']))
    case 'parent_id': return ({ row }) => row['parent_id'] === value
    case 'vault_id': return (seen) => shownVault(seen) === value
    case 'enterprise_project_id': return ({ row }) => value === 'all_granted_eps' || row['enterprise_project_id'] === value
    case 'incremental': return ({ row }) => row['incremental'] === (value === 'true' ? 1 : 0)
    case 'start_time': return ({ row }) => Number(row['created_at']) >= Date.parse(value) * 1000
    case 'end_time': return ({ row }) => Number(row['created_at']) <= Date.parse(value) * 1000
    case 'member_status': {
      const shared = sharedBy.get(value)
      return ({ row, share }) => share === undefined ? shared?.has(row['parent_id'] ?? row['id'] ?? null) === true : share['status'] === value
    }
    case 'used_percent': {
      const used = [...tables.vaults.values()].filter((vault) => (
        (BigInt(vault['used_bytes'] ?? 0) + BigInt(vault['shared_bytes'] ?? 0)) * 100n >= BigInt(value) * BigInt(vault['size_gb'] ?? 0) * 1024n ** 3n
      ))
      const ids = new Set(used.map((vault) => vault['id'] ?? null))
      return (seen) => ids.has(shownVault(seen))
    }
    default: return () => true
  }
}

function compareBy(sort: string): (one: Ranked, other: Ranked) => number {
  const named = sort.split(',').map((term) => ({ key: term.split(':')[0] ?? '', sign: term.endsWith(':asc') ? 1 : -1 }))
  const terms = [...named, { key: 'id', sign: named.at(-1)?.sign ?? -1 }].map(({ key, sign }) => ({ index: SORT_KEYS.indexOf(key), sign }))
  return ({ ranks: one }, { ranks: other }) => {
    for (const { index, sign } of terms) {
      const difference = Number(one[index]) - Number(other[index])
      if (difference !== 0) return difference * sign
    }
    return 0
  }
}

/** Says of each row where its values stand among all values of each sort key; equal values stand in one place, null before all. */
function rank(all: readonly Seen[]): Ranked[] {
  const placesOf = SORT_KEYS.map((key) => {
    const values = [...new Set(all.map(({ row }) => row[key] ?? Number.NEGATIVE_INFINITY))]
    return new Map(values.sort((one, other) => one < other ? -1 : one > other ? 1 : 0).map((value, place) => [value, place]))
  })
  return all.map((seen) => ({ ...seen, ranks: SORT_KEYS.map((key, index) => placesOf[index]?.get(seen.row[key] ?? Number.NEGATIVE_INFINITY) ?? Number.NaN) }))
}

/** What narrows a query down to few rows. */
const NARROW: Readonly<Record<string, (seen: Seen) => DatabaseRow[string]>> = {
  parent_id: ({ row }) => row['parent_id'] ?? null, checkpoint_id: ({ row }) => row['checkpoint_id'] ?? null, vault_id: shownVault,
  resource_id: ({ row }) => row['resource_id'] ?? null, resource_name: ({ row }) => row['resource_name'] ?? null, name: ({ row }) => row['name'] ?? null,
}
const narrowed = new Map<string, Map<DatabaseRow[string], Ranked[]>>()
/** Everything in the order of one key, from the lowest to the highest. */
const inOrderOf = new Map<string, Ranked[]>()

function select(query: Query): Ranked[] {
  const sort = query.find(([name]) => name === 'sort')?.[1] ?? 'created_at:desc'
  const passes = openFilter(query)
  for (const [name, value] of query) {
    const valueOf = NARROW[name]
    if (valueOf === undefined) continue
    const byValue = narrowed.get(name) ?? Map.groupBy(everything, valueOf)
    narrowed.set(name, byValue)
    return (byValue.get(value) ?? []).filter(passes).sort(compareBy(sort))
  }
  if (sort.includes(',')) return everything.filter(passes).sort(compareBy(sort))
  const [key = ''] = sort.split(':')
  const rising = inOrderOf.get(key) ?? everything.toSorted(compareBy(`${key}:asc`))
  inOrderOf.set(key, rising)
  const matching = rising.filter(passes)
  return sort.endsWith(':asc') ? matching : matching.toReversed()
}

interface Page { count: number, limit: number, offset: number, backups: Backup[] }

function answerTo(query: Query): { count: number, limit: number, offset: number, page: Ranked[] } {
  const valueOf = (name: string): string | undefined => query.find(([each]) => each === name)?.[1]
  const matching = select(query)
  const limit = Math.min(Number(valueOf('limit') ?? 1000), 1000)
  const marker = valueOf('marker')
  const offset = marker === undefined ? Number(valueOf('offset') ?? 0) : 0
  const page = marker === undefined
    ? matching.slice(offset, offset + limit)
    : behindMarker(matching, marker, query).slice(0, limit)
  return { count: matching.length, limit, offset, page }
}

/** The rows that stand behind the marker's row, whether that one matches or not; none if it is not seen at all. */
function behindMarker(matching: readonly Ranked[], marker: string, query: Query): Ranked[] {
  const isOfOwnType = openFilter(query.filter(([name]) => name === 'own_type'))
  const place = (byId.get(marker) ?? []).find(({ row, share }) => isOfOwnType({ row: { ...row, parent_id: null }, share }))
  if (place === undefined) return []
  const compare = compareBy(query.find(([name]) => name === 'sort')?.[1] ?? 'created_at:desc')
  return matching.filter((seen) => compare(seen, place) > 0)
}

function timeToWire(micros: DatabaseRow[string] | undefined): string | null {
  if (micros === null || micros === undefined) return null
  const ms = Math.floor(Number(micros) / 1000)
  return `${new Date(ms).toISOString().slice(0, -1)}${String(Number(micros) % 1000).padStart(3, '0')}`
}

function toWire(seen: Seen, withRecords: boolean): Backup {
  const { row } = seen
  const flag = (name: string): boolean | null => row[name] === null ? null : row[name] === 1
  const images = row['os_images_data']
  return {
    id: row['id'], name: row['name'], description: row['description'], status: row['status'], image_type: row['image_type'],
    checkpoint_id: row['checkpoint_id'], parent_id: row['parent_id'], children: [], project_id: row['project_id'],
    enterprise_project_id: row['enterprise_project_id'], vault_id: shownVault(seen), provider_id: row['provider_id'],
    resource_id: row['resource_id'], resource_name: row['resource_name'], resource_type: row['resource_type'],
    resource_size: row['resource_size_gb'], resource_az: row['resource_az'], incremental: flag('incremental'), version: row['version'],
    created_at: timeToWire(row['created_at']), updated_at: timeToWire(row['updated_at']),
    protected_at: timeToWire(row['protected_at']), expired_at: timeToWire(row['expired_at']), scheduled_operation_id: null,
    extend_info: {
      auto_trigger: flag('auto_trigger'), bootable: flag('bootable'), snapshot_id: row['snapshot_id'], support_lld: flag('support_lld'),
      supported_restore_mode: row['supported_restore_mode'],
      os_images_data: typeof images === 'string' ? JSON.parse(images) as unknown : null,
      contain_system_disk: flag('contain_system_disk'), encrypted: flag('encrypted'), system_disk: flag('system_disk'),
      incremental: flag('incremental'), is_multi_az: flag('is_multi_az'), progress: null, architecture: null, app_consistency: null,
      encrypted_algorithm: null, is_dec: null,
    },
    replication_records: withRecords ? recordsOf(row) : [],
  } as Backup
}

function recordsOf(row: DatabaseRow): unknown[] {
  return (tables.records.get(String(row['id'])) ?? [])
    .filter((record) => record['project_id'] === service.projectId)
    .toSorted((one, other) => Number(one['created_at']) - Number(other['created_at']))
    .map((record) => ({
      id: record['id'], created_at: timeToWire(record['created_at']), status: record['status'],
      extra_info: {
        progress: record['progress'], fail_code: record['fail_code'], fail_reason: record['fail_reason'],
        auto_trigger: record['auto_trigger'] === 1, destination_vault_id: record['destination_vault_id'],
        destinatio_vault_id: record['destination_vault_id'],
      },
      source_backup_id: record['backup_id'], source_checkpoint_id: record['checkpoint_id'], source_project_id: record['project_id'],
      source_region: record['source_region'], destination_backup_id: record['destination_backup_id'],
      destination_checkpoint_id: record['destination_checkpoint_id'], destination_project_id: record['destination_project_id'],
      destination_region: record['destination_region'], destination_vault_id: record['destination_vault_id'], vault_id: record['vault_id'],
    }))
}

// --- Random queries ---------------------------------------------------------------------------------

type Draw = (bound: number) => number

/** A linear congruential generator with the constants of Numerical Recipes, of which the upper bits are used. */
function openDraw(seed: number): Draw {
  let state = seed >>> 0
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
}

const STATUSES = ['available', 'protecting', 'deleting', 'restoring', 'error', 'waiting_protect', 'waiting_delete', 'waiting_restore']

function drawQuery(draw: Draw): Query {
  const pick = <Item>(items: readonly Item[]): Item => items[draw(items.length)] as Item
  // Most values come from one row, so that combinations have matches.
  const { row, share } = pick(everything)
  const other = pick(everything).row
  const from = (name: string): string => String((draw(8) === 0 ? other : row)[name])
  const second = (column: string): string => `${new Date(Math.floor(Number((draw(2) === 0 ? other : row)[column]) / 1000)).toISOString().slice(0, 19)}Z`
  const candidates: (() => Query)[] = [
    () => [['checkpoint_id', from('checkpoint_id')]],
    () => [['dec', pick(['true', 'false'])]],
    () => [['start_time', second('created_at')]],
    () => [['end_time', second('created_at')]],
    () => [['enterprise_project_id', draw(3) === 0 ? 'all_granted_eps' : from('enterprise_project_id')]],
    () => [['image_type', draw(3) === 0 ? pick(['backup', 'replication']) : from('image_type')]],
    () => [['incremental', pick(['true', 'false'])]],
    () => [['limit', pick(['1', '2', '7', '20', '50', '100', '300', '5000'])]],
    () => [['marker', draw(10) === 0 ? 'b0000000-0000-4000-8000-000000000000' : String((draw(2) === 0 ? other : row)['id'])]],
    () => [['member_status', pick(['pending', 'accepted', 'rejected'])]],
    () => [['name', draw(10) === 0 ? 'nobody-has-this-name' : from('name')]],
    () => [['offset', pick(['0', '1', '3', '100', '1000', '2600', '8400', '52000', '88123', '99990', '200000'])]],
    () => [['own_type', pick(['all_granted', 'private', 'shared'])]],
    () => [['parent_id', from(row['parent_id'] === null ? 'id' : 'parent_id')]],
    () => [['resource_az', from('resource_az')]],
    () => [['resource_id', from('resource_id')]],
    () => [['resource_name', from('resource_name')]],
    () => [['resource_type', from('resource_type')]],
    () => [['sort', drawSort(draw)]],
    () => Array.from({ length: 1 + draw(4) }, () => ['status', draw(3) === 0 ? from('status') : pick(STATUSES)]),
    () => [['used_percent', pick(['1', '12', '13', '50', '79', '80', '95', '100'])]],
    () => [['vault_id', String(draw(8) === 0 ? other['vault_id'] : shownVault({ row, share }))]],
    () => [['show_replication', pick(['true', 'false'])]],
  ]
  const chosen = Array.from({ length: draw(5) }, () => draw(candidates.length))
  // Sorting and paging are part of most queries, whatever else is.
  if (draw(2) === 0) chosen.push(18)
  if (draw(6) !== 0) chosen.push(7)
  if (draw(4) === 0) chosen.push(11)
  if (share !== undefined && draw(2) === 0) chosen.push(12)
  if (row['parent_id'] !== null && draw(2) === 0) chosen.push(13)
  return [...new Set(chosen)].flatMap((index) => candidates[index]?.() ?? [])
}

function drawSort(draw: Draw): string {
  const keys = SORT_KEYS.map((key) => ({ key, at: draw(1000) })).toSorted((one, other) => one.at - other.at).slice(0, 1 + draw(3))
  return keys.map(({ key }) => `${key}${['', ':asc', ':desc'][draw(3)]}`).join(',')
}

// --- Tests ------------------------------------------------------------------------------------------

async function list(query: Query, projectId = service.projectId): Promise<{ status: number, body: Page & { error_code?: string, error_msg?: string } }> {
  const answer = await service.service.app.inject({
    method: 'GET', url: `/v3/${projectId}/backups?${new URLSearchParams(query)}`, headers: { 'x-auth-token': service.token },
  })
  return { status: answer.statusCode, body: answer.json() }
}

test('the populated catalogue has what the queries are about', () => {
  const own = everything.filter(({ share, row }) => share === undefined && row['parent_id'] === null).map(({ row }) => row)
  assert.equal(own.length, BACKUPS)
  assert.deepEqual(new Set(own.map((row) => row['status'])), new Set(STATUSES))
  assert.deepEqual(new Set(own.map((row) => row['image_type'])), new Set(['backup', 'replication']))
  assert.ok(new Set(own.map((row) => row['resource_type'])).size >= 3)
  assert.ok(own.some((row) => row['protected_at'] === null) && own.some((row) => row['expired_at'] === null))
  assert.ok(new Set(own.map((row) => row['created_at'])).size < BACKUPS * 0.8, 'many backups share their time')
  assert.ok(new Set(own.map((row) => row['name'])).size < BACKUPS * 0.9, 'many backups share their name')
  assert.ok(own.some((row) => Number(row['created_at']) % 1_000_000 === 0), 'some times are whole seconds, as the limits of a window are')
  assert.ok(own.some((row) => /\p{Script=Han}/u.test(String(row['name']))))
  for (const status of ['pending', 'accepted', 'rejected']) {
    assert.ok(everything.some(({ share }) => share?.['status'] === status), `a received share is ${status}`)
  }
  assert.ok(everything.some(({ share, row }) => share !== undefined && row['parent_id'] !== null), 'children come with shares')
})

test('random queries are answered as a naive filter answers them', async () => {
  const draw = openDraw(SEED)
  const fits = Compile(ListBackupsResponse)
  const seenParameters = new Set<string>()
  let withRows = 0
  for (let number = 0; number < QUERIES; number += 1) {
    const query = drawQuery(draw)
    const label = `query ${number} of seed ${SEED}: ${new URLSearchParams(query)}`
    const { status, body } = await list(query)
    const { page, ...expected } = answerTo(query)
    assert.equal(status, 200, label)
    assert.deepEqual(body.backups.map(({ id }) => id), page.map(({ row }) => row['id']), label)
    assert.deepEqual({ count: body.count, limit: body.limit, offset: body.offset }, expected, label)
    const withRecords = query.some(([name, value]) => name === 'show_replication' && value === 'true')
    const wires = page.slice(0, COMPARED_WHOLE).map((seen) => toWire(seen, withRecords))
    assert.deepEqual(body.backups.slice(0, COMPARED_WHOLE), wires, label)
    if (number % 20 === 0) assert.ok(fits.Check(body), label)
    if (body.backups.length > 0) withRows += 1
    for (const [name] of query) seenParameters.add(name)
  }
  assert.equal(seenParameters.size, 23, 'every parameter was used')
  assert.ok(withRows > QUERIES / 3, `only ${withRows} queries had rows: the draw is badly chosen`)
})

/** Of a part of the rows every order, and all rows once. */
const WALKS: Query[] = [
  ...['private', 'all_granted'].flatMap((ownType) => [
    'created_at:desc', 'created_at:asc', 'status:asc', 'name', 'protected_at', 'protected_at:asc', 'updated_at:asc', 'id:asc',
    'status:asc,created_at', 'protected_at,name:asc', 'name:asc,status:desc,updated_at:asc',
  ].map((sort): Query => [['own_type', ownType], ['status', 'error'], ['status', 'waiting_delete'], ['sort', sort]])),
  [],
]

for (const kind of ['offset', 'marker']) {
  test(`walking by ${kind} meets every row once, in order, though many have equal keys`, async () => {
    for (const query of WALKS) {
      const met: string[] = []
      for (;;) {
        const last = met.at(-1)
        const place: Query = last === undefined ? [] : [kind === 'offset' ? ['offset', String(met.length)] : ['marker', last]]
        const { body } = await list([...query, ['limit', '997'], ...place])
        if (body.backups.length === 0) break
        met.push(...body.backups.map((backup) => backup.id))
      }
      assert.deepEqual(met, select(query).map(({ row }) => String(row['id'])), String(new URLSearchParams(query)))
    }
  })
}

test('a marker takes precedence over an offset', async () => {
  const first = await list([['limit', '5']])
  const marker = first.body.backups[4]?.id ?? ''
  const { body } = await list([['limit', '5'], ['marker', marker], ['offset', '4000']])
  assert.equal(body.offset, 0)
  assert.deepEqual(body.backups.map(({ id }) => id), select([]).slice(5, 10).map(({ row }) => row['id']))
})

test('a marker whose row does not match any more still marks its place', async () => {
  const { body } = await list([['status', 'error'], ['marker', String(select([['status', 'available']])[700]?.row['id'])]])
  assert.ok(body.backups.length > 0)
  assert.equal(body.count, select([['status', 'error']]).length)
})

test('a marker that the project does not see gives an empty page and the exact count', async () => {
  const foreign = tables.backups.find((row) => row['project_id'] === populated.partnerProjectId
    && !everything.some((seen) => seen.row === row))
  for (const marker of [String(foreign?.['id']), 'b0000000-0000-4000-8000-000000000000', 'no id at all', '']) {
    const { status, body } = await list([['marker', marker]])
    assert.deepEqual([status, body.backups, body.count], [200, [], BACKUPS], marker)
  }
})

test('the children of a received backup are listed with it, under the vault that accepted it', async () => {
  const parents = new Set(everything.filter(({ share, row }) => share !== undefined && row['parent_id'] !== null).map(({ row }) => String(row['parent_id'])))
  assert.ok(parents.size > 100)
  for (const parent of [...parents].slice(0, 100)) {
    for (const ownType of ['shared', 'all_granted', 'private']) {
      const query: Query = [['parent_id', parent], ['own_type', ownType]]
      const { body } = await list(query)
      assert.deepEqual(body.backups, answerTo(query).page.map((seen) => toWire(seen, false)), `${ownType} ${parent}`)
      assert.equal(body.backups.length === 0, ownType === 'private')
    }
  }
})

test('the count follows every change', async () => {
  const draw = openDraw(SEED)
  const { db } = service.service.deps
  const query: Query = [['status', 'error'], ['limit', '1']]
  const ids = select([['status', 'available']]).map(({ row }) => String(row['id']))
  const chosen = Array.from({ length: 5 }, () => ids[draw(ids.length)] ?? '')
  const changed = new Set(chosen).size
  const set = (status: string, id: string) => sql`update backups set status = ${status} where id = ${id}`.execute(db)
  const earlier = await list(query)
  for (const id of chosen) await set('error', id)
  const meanwhile = await list(query)
  for (const id of chosen) await set('available', id)
  const later = await list(query)
  assert.deepEqual([meanwhile.body.count, later.body.count], [earlier.body.count + changed, earlier.body.count])
})

test('bad values are refused, and the refusal names the parameter', async () => {
  const bad: Query = [
    ['limit', '0'], ['limit', '-1'], ['limit', '1.5'], ['limit', 'ten'], ['limit', ''], ['limit', '1e3'], ['limit', '0x10'], ['limit', ' 1'],
    ['offset', '-1'], ['offset', 'x'], ['offset', ''], ['offset', '1.0'],
    ['sort', ''], ['sort', 'size'], ['sort', 'created_at:up'], ['sort', 'created_at:'], ['sort', 'created_at,'], ['sort', ',name'],
    ['sort', 'created_at asc'], ['sort', 'name:asc:desc'], ['sort', 'name,name'], ['sort', 'name:asc,id,name:desc'], ['sort', 'NAME'],
    ['sort', `${'created_at:desc,'.repeat(16)}id`],
    ['start_time', ''], ['start_time', '2020-02-30T00:00:00Z'], ['start_time', '2021-02-29T12:00:00Z'], ['start_time', '2020-01-01'],
    ['start_time', '2020-01-01T00:00:00'], ['start_time', '2020-01-01T00:00:00.5Z'], ['start_time', '2020-01-01T24:00:00Z'],
    ['start_time', '1577836800'], ['end_time', '2020-13-01T00:00:00Z'], ['end_time', '2020-01-01T00:60:00Z'], ['end_time', 'yesterday'],
    ['used_percent', '0'], ['used_percent', '101'], ['used_percent', '-5'], ['used_percent', '50%'], ['used_percent', ''], ['used_percent', '007'],
    ['status', ''], ['status', 'done'], ['status', 'AVAILABLE'], ['status', 'available,error'],
    ['resource_type', ''], ['resource_type', 'server'], ['image_type', ''], ['image_type', 'copy'],
    ['own_type', ''], ['own_type', 'mine'], ['member_status', ''], ['member_status', 'open'],
    ['incremental', ''], ['incremental', '1'], ['incremental', 'yes'], ['dec', 'x'], ['show_replication', ''],
  ]
  for (const [name, value] of bad) {
    const { status, body } = await list([[name, value]])
    assert.equal(status, 400, `${name}=${value}`)
    assert.equal(body.error_code, 'BackupService.9900', `${name}=${value}`)
    assert.match(body.error_msg ?? '', new RegExp(String.raw`\b${name}\b`), `${name}=${value}`)
  }
})

test('one bad status among good ones is refused, and so is a parameter given twice', async () => {
  for (const query of [[['status', 'available'], ['status', 'lost']], [['name', 'a'], ['name', 'b']], [['limit', '1'], ['limit', '2']]] as Query[]) {
    const { status, body } = await list(query)
    assert.deepEqual([status, body.error_code], [400, 'BackupService.9900'], String(new URLSearchParams(query)))
  }
})

test('odd texts are looked for as they are, and what is unknown is ignored', async () => {
  for (const value of ['', '%', '_', "' or 1=1 --", '备份'.repeat(400), '😀', '../..', '*']) {
    for (const name of ['name', 'resource_name', 'resource_az', 'vault_id', 'checkpoint_id', 'parent_id', 'resource_id', 'enterprise_project_id']) {
      // Some clients always send this one; without a value it restricts nothing.
      if (name === 'enterprise_project_id' && value === '') continue
      const { status, body } = await list([[name, value]])
      assert.deepEqual([status, body.backups.length, body.count], [200, 0, 0], `${name}=${value}`)
    }
  }
  assert.equal((await list([['enterprise_project_id', ''], ['limit', '1']])).body.count, BACKUPS)
  assert.equal((await list([['name', '\u0000']])).status, 400)
  const { status, body } = await list([['colour', 'blue'], ['limit', '1']])
  assert.deepEqual([status, body.count], [200, BACKUPS])
})

test('the list of another project is refused', async () => {
  const { status, body } = await list([], populated.partnerProjectId)
  assert.equal(status, 403)
  assert.equal(body.error_code, 'APIGW.0302')
})
