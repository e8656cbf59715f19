/**
 * What keeps every listing of backups short at a million backups in a project and more:
 *
 * - `shared_backups`: what a project sees through shares, and which of its own backups it has given away, as rows
 *   of their own with all that lists filter and sort by. A list of shares is then read like one of own backups.
 * - `backup_cells`: how many backups there are for each combination of the columns that have few values each.
 * - More facets in `backup_counts`: names, and parts of every order by which far pages are found.
 * - Indexes that carry what is filtered together with their order.
 *
 * Triggers keep all of it, whoever writes.
 */
import { sql, type Kysely, type SqlBool } from 'kysely'
import { createRowTrigger, dialectOf, dropRowTrigger } from '../dialect.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await replaceCounts(db)
  await createSharedBackups(db)
  await replaceIndexes(db)
  if (dialectOf(db) === 'sqlite') await describeIndexesToSqlite(db)
  await countAllBackups(db)
  for (const statement of fillShared('true')) await sql.raw(statement).execute(db)
}

/**
 * By what top-level backups are counted, each together with the status. Days are those since 1970, plus
 * 100,000: numbers of six digits, which as texts have the order of time. What was never protected stands before all
 * days, by the beginning of its id as within any place of that order.
 */
export type CountedFacet = readonly [facet: string, value: string]

export const facets: readonly CountedFacet[] = [
  ['all', `''`],
  ['day', dayOf('created_at')],
  ['updated_day', dayOf('updated_at')],
  ['protected_day', `case when ROW.protected_at is null then '0000' || substr(ROW.id, 1, 2) else ${dayOf('protected_at')} end`],
  ['id', 'substr(ROW.id, 1, 2)'],
  ['vault', 'ROW.vault_id'],
  ['name', 'ROW.name'],
  ['resource_name', 'ROW.resource_name'],
  ['image_type', 'ROW.image_type'],
  ['resource_type', 'ROW.resource_type'],
  ['incremental', 'cast(ROW.incremental as text)'],
  ['resource_az', 'ROW.resource_az'],
  ['enterprise_project', 'ROW.enterprise_project_id'],
]

/** Facets without a bound on their number of values: rows of theirs that count nothing go. */
const OPEN_FACETS = `('name', 'resource_name')`

/** Within all of a project's backups and within each vault. */
const CELL_COLUMNS = ['status', 'image_type', 'resource_type', 'incremental', 'resource_az', 'enterprise_project_id'] as const

const COUNTED_COLUMNS = [
  'id', 'project_id', 'parent_id', 'status', 'created_at', 'updated_at', 'protected_at', 'vault_id', 'name', 'resource_name', 'image_type',
  'resource_type', 'incremental', 'resource_az', 'enterprise_project_id',
]

export function dayOf(column: string): string {
  return `cast(ROW.${column} / 86400000000 + 100000 as text)`
}

function facetsOf(row: string, counted: readonly CountedFacet[]): string {
  return counted.map(([facet, value]) => `select '${facet}' as facet, ${value.replaceAll('ROW', row)} as value`).join(' union all ')
}

const CELL_KEY = `project_id, scope, ${CELL_COLUMNS.join(', ')}`
const ADD_COUNT = 'on conflict (project_id, facet, value, status) do update set rows = backup_counts.rows + excluded.rows;'
const ADD_CELL = `on conflict (${CELL_KEY}) do update set rows = backup_cells.rows + excluded.rows;`

/** The scopes of cells: all of the project's own, one vault, or one kind of share. */
const SHARE_SCOPE = `role || ':' || member_status`

async function replaceCounts(db: Kysely<unknown>): Promise<void> {
  const inSqlite = dialectOf(db) === 'sqlite'
  await dropCounters(db)
  await db.schema.dropTable('backup_counts').execute()
  const counts = db.schema.createTable('backup_counts')
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('facet', 'text', (c) => c.notNull())
    .addColumn('value', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('rows', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('backup_counts_key', ['project_id', 'facet', 'value', 'status'])
  const cells = db.schema.createTable('backup_cells')
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('scope', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('image_type', 'text', (c) => c.notNull())
    .addColumn('resource_type', 'text', (c) => c.notNull())
    .addColumn('incremental', 'integer', (c) => c.notNull())
    .addColumn('resource_az', 'text', (c) => c.notNull())
    .addColumn('enterprise_project_id', 'text', (c) => c.notNull())
    .addColumn('rows', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('backup_cells_key', ['project_id', 'scope', ...CELL_COLUMNS])
  for (const table of [counts, cells]) await (inSqlite ? table.modifyEnd(sql`without rowid`) : table).execute()
  await createCounters(db, facets)
}

export async function dropCounters(db: Kysely<unknown>): Promise<void> {
  for (const event of ['insert', 'update', 'delete']) await dropRowTrigger(db, { name: `backups_${event}_counted`, table: 'backups' })
}

export async function createCounters(db: Kysely<unknown>, counted: readonly CountedFacet[]): Promise<void> {
  await (dialectOf(db) === 'sqlite' ? createCountersInSqlite(db, counted) : createCountersInPostgres(db, counted))
}

function addRow(row: string, step: string, counted: readonly CountedFacet[]): string {
  const columns = CELL_COLUMNS.map((column) => `${row}.${column}`).join(', ')
  return `
    insert into backup_counts (project_id, facet, value, status, rows)
      select ${row}.project_id, facet, value, ${row}.status, ${step} from (${facetsOf(row, counted)}) where ${row}.parent_id is null
      ${ADD_COUNT}
    insert into backup_cells (${CELL_KEY}, rows)
      select ${row}.project_id, scope, ${columns}, ${step} from (select '' as scope union all select ${row}.vault_id) where ${row}.parent_id is null
      ${ADD_CELL}`
}

const CLEAR_OLD = `
    delete from backup_counts where project_id = old.project_id and facet in ${OPEN_FACETS} and value in (old.name, old.resource_name) and rows = 0;`

async function createCountersInSqlite(db: Kysely<unknown>, counted: readonly CountedFacet[]): Promise<void> {
  await createRowTrigger(db, { name: 'backups_insert_counted', table: 'backups', event: 'insert', statements: addRow('new', '1', counted) })
  await createRowTrigger(db, { name: 'backups_delete_counted', table: 'backups', event: 'delete', statements: addRow('old', '-1', counted) + CLEAR_OLD })
  await createRowTrigger(db, {
    name: 'backups_update_counted', table: 'backups', event: 'update', columns: COUNTED_COLUMNS,
    statements: addRow('old', '-1', counted) + addRow('new', '1', counted) + CLEAR_OLD,
  })
}

function addRows(rows: string, step: string, counted: readonly CountedFacet[]): string {
  const columns = CELL_COLUMNS.map((column) => `r.${column}`).join(', ')
  return `
    insert into backup_counts (project_id, facet, value, status, rows)
      select r.project_id, f.facet, f.value, r.status, ${step} * count(*) from ${rows} cross join lateral (${facetsOf('r', counted)}) f
        where r.parent_id is null group by 1, 2, 3, 4 order by 1, 2, 3, 4
      ${ADD_COUNT}
    insert into backup_cells (${CELL_KEY}, rows)
      select r.project_id, s.scope, ${columns}, ${step} * count(*) from ${rows} cross join lateral (select '' as scope union all select r.vault_id) s
        where r.parent_id is null group by 1, 2, 3, 4, 5, 6, 7, 8 order by 1, 2, 3, 4, 5, 6, 7, 8
      ${ADD_CELL}`
}

const CLEAR_BEFORE = `
    delete from backup_counts c using (
      select distinct project_id, 'name' as facet, name as value from before union select distinct project_id, 'resource_name', resource_name from before) r
      where c.project_id = r.project_id and c.facet = r.facet and c.value = r.value and c.rows = 0;`

/** Counts once per statement: PostgreSQL keeps a version of a number for every time that it changes. */
async function createCountersInPostgres(db: Kysely<unknown>, counted: readonly CountedFacet[]): Promise<void> {
  const differs = COUNTED_COLUMNS.map((column) => `o.${column} is distinct from r.${column}`).join(' or ')
  const changed = (table: string, other: string): string => `${table} r join ${other} o on o.id = r.id and (${differs})`
  for (const [event, statements, tables] of [
    ['insert', addRows('after r', '1', counted), 'new table as after'],
    ['delete', addRows('before r', '-1', counted) + CLEAR_BEFORE, 'old table as before'],
    [
      'update', addRows(changed('before', 'after'), '-1', counted) + addRows(changed('after', 'before'), '1', counted) + CLEAR_BEFORE,
      'old table as before new table as after',
    ],
  ] as const) await createStatementTrigger(db, { name: `backups_${event}_counted`, table: 'backups', event, statements, tables })
}

async function createStatementTrigger(db: Kysely<unknown>, { name, table, event, statements, tables }: {
  name: string, table: string, event: string, statements: string, tables: string
}): Promise<void> {
  await sql`create function ${sql.ref(name)}() returns trigger language plpgsql as ${sql.lit(`begin ${statements} return null; end`)}`.execute(db)
  await sql`create trigger ${sql.ref(name)} after ${sql.raw(event)} on ${sql.table(table)} referencing ${sql.raw(tables)}
    for each statement execute function ${sql.ref(name)}()`.execute(db)
}

/** Counts the rows that are there, into tables that are empty but for shares. */
export async function countAllBackups<Tables>(db: Kysely<Tables>): Promise<void> {
  await countFacets(db, facets)
  for (const scope of [`''`, 'vault_id']) {
    await sql`insert into backup_cells (${sql.raw(CELL_KEY)}, rows)
      select project_id, ${sql.raw(scope)}, ${sql.raw(CELL_COLUMNS.join(', '))}, count(*) from backups where parent_id is null
      group by 1, 2, 3, 4, 5, 6, 7, 8`.execute(db)
  }
}

export async function countFacets<Tables>(db: Kysely<Tables>, counted: readonly CountedFacet[]): Promise<void> {
  for (const [facet, value] of counted) {
    await sql`insert into backup_counts (project_id, facet, value, status, rows)
      select project_id, ${sql.lit(facet)}, ${sql.raw(value.replaceAll('ROW.', ''))}, status, count(*) from backups where parent_id is null
      group by 1, 3, 4`.execute(db)
  }
}

export const LISTED_COLUMNS = [
  'id', 'parent_id', 'checkpoint_id', 'name', 'status', 'image_type', 'resource_id', 'resource_name', 'resource_type', 'resource_az',
  'enterprise_project_id', 'incremental', 'created_at', 'updated_at', 'protected_at',
]
const SHARED_COLUMNS = `project_id, role, member_status, ${LISTED_COLUMNS.join(', ')}, vault_id, document`

export const RECEIVED_DOCUMENT = receivedDocument('b.document', 'b.vault_id', 'm.vault_id')

/** A receiver sees a backup in its own vault, or in none. Only the member itself matches: within JSON's texts quotes are escaped. */
export function receivedDocument(document: string, vaultId: string, receiverVaultId: string): string {
  return `replace(${document}, '"vault_id":"' || ${vaultId} || '"', '"vault_id":' || coalesce('"' || ${receiverVaultId} || '"', 'null'))`
}

/** A share shows a backup and, with it, its children. */
const SHARED_WITH = ['b.id = m.backup_id and b.parent_id is null', 'b.parent_id = m.backup_id']

/** `which` is a condition on the backups `b` or their shares `m`. */
export function fillShared(which: string, isReady = 'b.document is not null', [asReceived, asGiven] = [RECEIVED_DOCUMENT, 'b.document']): string[] {
  const listed = LISTED_COLUMNS.map((column) => `b.${column}`).join(', ')
  return SHARED_WITH.flatMap((join) => [
    `m.dest_project_id, 'received', m.status, ${listed}, m.vault_id, ${asReceived}`,
    `b.project_id, 'given', m.status, ${listed}, b.vault_id, ${asGiven}`,
  ].map((values) => `
    insert into shared_backups (${SHARED_COLUMNS}) select ${values}
      from backup_members m join backups b on b.project_id = m.project_id and ${join} where ${isReady} and ${which}
      on conflict do nothing;`))
}

/**
 * One row for each share in the receiver's project, and one in the owner's for each state that some share of the backup has.
 * Children come along with their parents.
 */
async function createSharedBackups(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('shared_backups')
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('role', 'text', (c) => c.notNull())
    .addColumn('member_status', 'text', (c) => c.notNull())
    .addColumn('id', 'text', (c) => c.notNull())
    .addColumn('parent_id', 'text')
    .addColumn('checkpoint_id', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('image_type', 'text', (c) => c.notNull())
    .addColumn('resource_id', 'text', (c) => c.notNull())
    .addColumn('resource_name', 'text', (c) => c.notNull())
    .addColumn('resource_type', 'text', (c) => c.notNull())
    .addColumn('resource_az', 'text', (c) => c.notNull())
    .addColumn('enterprise_project_id', 'text', (c) => c.notNull())
    .addColumn('incremental', 'integer', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addColumn('protected_at', 'bigint')
    .addColumn('vault_id', 'text')
    .addColumn('document', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('shared_backups_key', ['project_id', 'role', 'id', 'member_status'])
    .execute()
  await countShared(db)

  await createShareTriggers(db, (which) => fillShared(which))
}

const MEMBER_EVENTS = [['insert', 'new'], ['update', 'new'], ['delete', 'old']] as const

/** `fill`: makes the rows that shares show, of some shares or backups. */
export async function createShareTriggers(db: Kysely<unknown>, fill: (which: string) => string[]): Promise<void> {
  // On SQLite the document is written after the change that it follows; on PostgreSQL before.
  const columns = dialectOf(db) === 'sqlite' ? ['document'] : []
  const refresh = refreshShared('new', fill)
  await createRowTrigger(db, { name: 'backups_insert_shared', table: 'backups', event: 'insert', statements: refresh })
  await createRowTrigger(db, { name: 'backups_update_shared', table: 'backups', event: 'update', columns, statements: refresh })
  await createRowTrigger(db, { name: 'backups_delete_shared', table: 'backups', event: 'delete', statements: 'delete from shared_backups where id = old.id;' })
  for (const [event, row] of MEMBER_EVENTS) {
    const family = `(select f.id from backups f where f.id = ${row}.backup_id
      union all select f.id from backups f where f.project_id = ${row}.project_id and f.parent_id = ${row}.backup_id)`
    await createRowTrigger(db, {
      name: `backup_members_${event}_shared`, table: 'backup_members', event,
      statements: `delete from shared_backups where id in ${family}; ${fill(`m.backup_id = ${row}.backup_id`).join('')}`,
    })
  }
}

export async function dropShareTriggers(db: Kysely<unknown>): Promise<void> {
  for (const event of ['insert', 'update', 'delete']) await dropRowTrigger(db, { name: `backups_${event}_shared`, table: 'backups' })
  for (const [event] of MEMBER_EVENTS) await dropRowTrigger(db, { name: `backup_members_${event}_shared`, table: 'backup_members' })
}

export function refreshShared(row: string, fill: (which: string) => string[]): string {
  return `delete from shared_backups where id = ${row}.id; ${fill(`b.id = ${row}.id`).join('')}`
}

async function countShared(db: Kysely<unknown>): Promise<void> {
  if (dialectOf(db) === 'sqlite') {
    for (const [event, row, step] of [['insert', 'new', '1'], ['delete', 'old', '-1']] as const) {
      const scope = SHARE_SCOPE.replaceAll(/role|member_status/g, (column) => `${row}.${column}`)
      await createRowTrigger(db, {
        name: `shared_backups_${event}_counted`, table: 'shared_backups', event, when: `${row}.parent_id is null`,
        statements: `insert into backup_cells (${CELL_KEY}, rows)
          values (${row}.project_id, ${scope}, ${CELL_COLUMNS.map((column) => `${row}.${column}`).join(', ')}, ${step}) ${ADD_CELL}`,
      })
    }
    return
  }
  for (const [event, rows, step, tables] of [['insert', 'after', '1', 'new table as after'], ['delete', 'before', '-1', 'old table as before']] as const) {
    await createStatementTrigger(db, {
      name: `shared_backups_${event}_counted`, table: 'shared_backups', event, tables,
      statements: `insert into backup_cells (${CELL_KEY}, rows)
        select project_id, ${SHARE_SCOPE}, ${CELL_COLUMNS.join(', ')}, ${step} * count(*) from ${rows} where parent_id is null
        group by 1, 2, 3, 4, 5, 6, 7, 8 order by 1, 2, 3, 4, 5, 6, 7, 8 ${ADD_CELL}`,
    })
  }
}

/**
 * As migration 001 explains, with these changes: every order carries the time and the columns that have few values, so that filters are
 * decided without reading rows; a name and a checkpoint have the default order within them, and a vault the keys of the other ones. What each
 * resource takes up in a vault is counted elsewhere.
 */
async function replaceIndexes(db: Kysely<unknown>): Promise<void> {
  const isTopLevel = sql<SqlBool>`parent_id is null`
  const few = ['image_type', 'resource_type', 'incremental', 'parent_id']
  for (const name of ['by_created_at', 'by_updated_at', 'by_protected_at', 'by_name', 'by_id', 'of_status', 'of_vault', 'of_checkpoint']) {
    await db.schema.dropIndex(`backups_${name}`).execute()
  }
  const own = (name: string) => db.schema.createIndex(`backups_${name}`).on('backups')
  await own('by_created_at').columns(['project_id', 'created_at', 'id', 'status', 'image_type', 'resource_type', 'incremental', 'resource_az', 'enterprise_project_id', 'vault_id', 'parent_id'])
    .where(isTopLevel).execute()
  await own('by_updated_at').columns(['project_id', 'updated_at', 'id', 'status', 'created_at', ...few]).where(isTopLevel).execute()
  await own('by_protected_at').column('project_id').expression(sql`coalesce(protected_at, -1)`).columns(['id', 'status', 'created_at', ...few])
    .where(isTopLevel).execute()
  await own('by_name').columns(['project_id', 'name', 'id', 'status', 'created_at', ...few]).where(isTopLevel).execute()
  await own('by_id').columns(['project_id', 'id', 'status', 'created_at', ...few]).where(isTopLevel).execute()
  await own('of_status').columns(['project_id', 'status', 'created_at', 'id', ...few]).where(isTopLevel).execute()
  await own('of_name').columns(['project_id', 'name', 'created_at', 'id', 'status', 'parent_id']).where(isTopLevel).execute()
  await own('of_vault').columns([
    'project_id', 'vault_id', 'created_at', 'id', 'status', 'parent_id', 'name', 'updated_at', 'protected_at', 'image_type', 'incremental',
  ]).execute()
  await own('of_checkpoint').columns(['project_id', 'checkpoint_id', 'created_at', 'id', 'parent_id']).execute()

  // Which vaults are used how far, without reading them.
  await db.schema.createIndex('vaults_use').on('vaults').columns(['project_id', 'used_bytes', 'shared_bytes', 'size_gb', 'id']).execute()

  const shared = (name: string) => db.schema.createIndex(`shared_backups_${name}`).on('shared_backups')
  const decided = ['member_status', 'status', 'created_at', 'vault_id', ...few]
  await shared('by_created_at').columns(['project_id', 'role', 'created_at', 'id', 'member_status', 'status', 'vault_id', ...few]).where(isTopLevel).execute()
  await shared('by_updated_at').columns(['project_id', 'role', 'updated_at', 'id', ...decided]).where(isTopLevel).execute()
  await shared('by_protected_at').columns(['project_id', 'role']).expression(sql`coalesce(protected_at, -1)`).columns(['id', ...decided]).where(isTopLevel).execute()
  await shared('by_name').columns(['project_id', 'role', 'name', 'id', ...decided]).where(isTopLevel).execute()
  await shared('by_status').columns(['project_id', 'role', 'status', 'id', 'member_status', 'created_at', 'parent_id']).where(isTopLevel).execute()
  await shared('by_id').columns(['project_id', 'role', 'id', ...decided]).where(isTopLevel).execute()
  await shared('of_vault').columns(['project_id', 'role', 'vault_id', 'created_at', 'id', 'parent_id']).execute()
  await shared('of_resource').columns(['project_id', 'role', 'resource_id', 'created_at', 'id', 'parent_id']).execute()
  await shared('of_resource_name').columns(['project_id', 'role', 'resource_name', 'created_at', 'id', 'parent_id']).execute()
  await shared('of_checkpoint').columns(['project_id', 'role', 'checkpoint_id', 'created_at', 'id', 'parent_id']).execute()
  await shared('of_parent').columns(['project_id', 'role', 'parent_id', 'created_at', 'id']).where(sql<SqlBool>`parent_id is not null`).execute()
  // A backup's changes are brought to what its shares show.
  await shared('of_backup').columns(['id']).execute()
}

/** What to expect per value of each index; migration 001 says why. */
async function describeIndexesToSqlite(db: Kysely<unknown>): Promise<void> {
  const rows: Readonly<Record<string, string>> = {
    backups_by_created_at: '1000000 100000 5 1 1 1 1 1 1 1 1',
    backups_by_updated_at: '1000000 100000 5 1 1 1 1 1 1 1',
    backups_by_protected_at: '1000000 100000 5 1 1 1 1 1 1 1',
    backups_by_name: '1000000 100000 20 1 1 1 1 1 1 1',
    backups_by_status: '1000000 100000 12500 1 1',
    backups_by_id: '1000000 100000 1 1 1 1 1 1 1',
    backups_of_status: '1000000 100000 12500 3 1 1 1 1 1',
    backups_of_name: '1000000 100000 20 1 1 1 1',
    backups_of_vault: '1500000 150000 1500 5 1 1 1 1 1 1 1 1',
    backups_of_checkpoint: '1500000 150000 8 2 1 1',
    backups_of_resource: '1500000 150000 100 2 1 1 1',
    backups_of_resource_name: '1000000 100000 300 2 1 1 1',
    backups_of_parent: '500000 50000 2 2 1',
    sqlite_autoindex_backups_1: '1500000 1',
  }
  const shared: Readonly<Record<string, string>> = {
    shared_backups_by_created_at: '100000 20000 10000 2 1 1 1 1 1 1 1 1',
    shared_backups_by_updated_at: '100000 20000 10000 2 1 1 1 1 1 1 1 1 1',
    shared_backups_by_protected_at: '100000 20000 10000 2 1 1 1 1 1 1 1 1 1',
    shared_backups_by_name: '100000 20000 10000 10 1 1 1 1 1 1 1 1 1',
    shared_backups_by_status: '100000 20000 10000 1250 1 1 1 1',
    shared_backups_by_id: '100000 20000 10000 1 1 1 1 1 1 1 1 1',
    shared_backups_of_vault: '150000 30000 15000 500 2 1 1',
    shared_backups_of_resource: '150000 30000 15000 50 2 1 1',
    shared_backups_of_resource_name: '150000 30000 15000 100 2 1 1',
    shared_backups_of_checkpoint: '150000 30000 15000 8 2 1 1',
    shared_backups_of_parent: '50000 10000 5000 2 2 1',
    shared_backups_of_backup: '150000 2',
    sqlite_autoindex_shared_backups_1: '150000 30000 15000 1 1',
  }
  // A backup has few shares, a project many.
  const members: Readonly<Record<string, string>> = {
    backup_members_backup: '100000 2 1',
    backup_members_owner: '100000 10000 3000 1',
    backup_members_dest: '100000 10000 3000 1',
    backup_members_vault: '100000 500 300',
    sqlite_autoindex_backup_members_1: '100000 1',
  }
  await sql`delete from sqlite_stat1 where tbl in ('backups', 'shared_backups', 'backup_members')`.execute(db)
  for (const [table, indexes] of [['backups', rows], ['shared_backups', shared], ['backup_members', members]] as const) {
    for (const [index, numbers] of Object.entries(indexes)) {
      await sql`insert into sqlite_stat1 (tbl, idx, stat) values (${table}, ${index}, ${numbers})`.execute(db)
    }
  }
  await sql`analyze sqlite_schema`.execute(db)
}
