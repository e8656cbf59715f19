/**
 * What the listing of backups reads instead of working it out at every call: each backup's JSON document, how
 * many backups there are by what is asked for most, and revisions that follow everything a listing
 * shows. Triggers keep all three, whoever writes.
 */
import { sql, type Kysely, type RawBuilder } from 'kysely'
import { createRowTrigger, dialectOf, dropRowTrigger, type DialectName } from '../dialect.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('backups').addColumn('document', 'text').execute()
  await db.schema.createTable('backup_counts')
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('facet', 'text', (c) => c.notNull())
    .addColumn('value', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('rows', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('backup_counts_key', ['project_id', 'facet', 'value', 'status'])
    .execute()
  if (dialectOf(db) === 'sqlite') await createTriggersInSqlite(db)
  else await createTriggersInPostgres(db)
  await createRevisionTriggers(db)
  await sql`update backups set document = ${sql.raw(documentOf(dialectOf(db)))}`.execute(db)
  await countAllBackups(db)
}

/** Counts the rows that are there, into a table that is empty. Rows that were loaded without the triggers need it too. */
export async function countAllBackups<Tables>(db: Kysely<Tables>): Promise<void> {
  for (const [facet, value] of facets) {
    await sql`insert into backup_counts (project_id, facet, value, status, rows)
      select project_id, ${sql.lit(facet)}, ${valueOf(value, '')}, status, count(*) from backups where parent_id is null
      group by 1, 3, 4`.execute(db)
  }
}

/**
 * By what top-level backups are counted, each together with the status. Days are those since 1970, plus
 * 100,000: numbers of six digits, which as texts have the order of time.
 */
const facets: readonly (readonly [facet: string, value: string])[] = [
  ['all', `''`],
  ['day', `cast(ROW.created_at / 86400000000 + 100000 as text)`],
  ['vault', 'ROW.vault_id'],
  ['image_type', 'ROW.image_type'],
  ['resource_type', 'ROW.resource_type'],
  ['incremental', 'cast(ROW.incremental as text)'],
  ['resource_az', 'ROW.resource_az'],
  ['enterprise_project', 'ROW.enterprise_project_id'],
]

/** `row`: with its dot, or nothing. */
function valueOf(value: string, row: string): RawBuilder<string> {
  return sql.raw(value.replace('ROW.', row))
}

function facetsOf(row: string): string {
  return facets.map(([facet, value]) => `select '${facet}' as facet, ${value.replace('ROW', row)} as value`).join(' union all ')
}

const COUNTED_COLUMNS = [
  'project_id', 'parent_id', 'status', 'created_at', 'vault_id', 'image_type', 'resource_type', 'incremental', 'resource_az', 'enterprise_project_id',
]

function addRow(row: string, step: string): string {
  return `
    insert into backup_counts (project_id, facet, value, status, rows)
      select ${row}.project_id, facet, value, ${row}.status, ${step} from (${facetsOf(row)}) where ${row}.parent_id is null
      on conflict (project_id, facet, value, status) do update set rows = backup_counts.rows + excluded.rows;`
}

async function createTriggersInSqlite(db: Kysely<unknown>): Promise<void> {
  const describe = `update backups set document = ${documentOf('sqlite')} where id = new.id;`
  await createRowTrigger(db, { name: 'backups_insert_counted', table: 'backups', event: 'insert', statements: addRow('new', '1') })
  await createRowTrigger(db, { name: 'backups_delete_counted', table: 'backups', event: 'delete', statements: addRow('old', '-1') })
  await createRowTrigger(db, {
    name: 'backups_update_counted', table: 'backups', event: 'update', columns: COUNTED_COLUMNS, statements: addRow('old', '-1') + addRow('new', '1'),
  })
  // A row that brings its document is believed: the loader of many rows makes them faster.
  await createRowTrigger(db, { name: 'backups_insert_described', table: 'backups', event: 'insert', when: 'new.document is null', statements: describe })
  await createRowTrigger(db, { name: 'backups_update_described', table: 'backups', event: 'update', columns: documentColumns, statements: describe })
}

function addRows(rows: string, step: string): string {
  return `
    insert into backup_counts (project_id, facet, value, status, rows)
      select r.project_id, f.facet, f.value, r.status, ${step} * count(*) from ${rows} r cross join lateral (${facetsOf('r')}) f
        where r.parent_id is null group by 1, 2, 3, 4 order by 1, 2, 3, 4
      on conflict (project_id, facet, value, status) do update set rows = backup_counts.rows + excluded.rows;`
}

/** Counts once per statement: PostgreSQL keeps a version of a number for every time that it changes. */
async function createTriggersInPostgres(db: Kysely<unknown>): Promise<void> {
  for (const [event, statements, tables] of [
    ['insert', addRows('after', '1'), 'new table as after'],
    ['delete', addRows('before', '-1'), 'old table as before'],
    ['update', addRows('before', '-1') + addRows('after', '1'), 'old table as before new table as after'],
  ] as const) {
    const name = sql.ref(`backups_${event}_counted`)
    await sql`create function ${name}() returns trigger language plpgsql as ${sql.lit(`begin ${statements} return null; end`)}`.execute(db)
    await sql`create trigger ${name} after ${sql.raw(event)} on backups referencing ${sql.raw(tables)}
      for each statement execute function ${name}()`.execute(db)
  }
  await sql`create function backups_described() returns trigger language plpgsql as ${sql.lit(`begin
    new.document := ${documentOf('postgres', 'new.')};
    return new;
  end`)}`.execute(db)
  await sql`create trigger backups_described before insert or update on backups for each row execute function backups_described()`.execute(db)
}

function grow(projects: string): string {
  return `
    insert into backup_revisions (project_id, revision) select project_id, 1 from (${projects}) grown where true
      on conflict (project_id) do update set revision = backup_revisions.revision + 1;`
}

function growBoth(row: string): string {
  return grow(`select ${row}.project_id as project_id union select ${row}.dest_project_id`)
}

/**
 * A project's revision grows with whatever may change one of its listings: with its backups, as it did
 * before, with the backups that others share with it, with the shares themselves, and with the use of its vaults.
 */
async function createRevisionTriggers(db: Kysely<unknown>): Promise<void> {
  for (const [event, row] of [['update', 'new'], ['delete', 'old']] as const) {
    const receivers = grow(`select distinct dest_project_id as project_id from backup_members where backup_id in (${row}.id, ${row}.parent_id)`)
    await createRowTrigger(db, { name: `backups_${event}_received`, table: 'backups', event, statements: receivers })
  }
  for (const [event, rows] of [['insert', ['new']], ['update', ['new', 'old']], ['delete', ['old']]] as const) {
    await createRowTrigger(db, { name: `backup_members_after_${event}`, table: 'backup_members', event, statements: rows.map(growBoth).join('') })
  }
  await createRowTrigger(db, {
    name: 'vaults_after_use', table: 'vaults', event: 'update', columns: ['used_bytes', 'shared_bytes', 'size_gb'], statements: grow('select new.project_id as project_id'),
  })
  if (dialectOf(db) === 'postgres') return
  // The document is written by a trigger, after the change that it follows.
  await dropRowTrigger(db, { name: 'backups_after_update', table: 'backups' })
  await createRowTrigger(db, {
    name: 'backups_after_update', table: 'backups', event: 'update', columns: [...new Set([...documentColumns, ...COUNTED_COLUMNS])],
    statements: grow('select new.project_id as project_id'),
  })
}

type Kind = 'text' | 'integer' | 'flag' | 'time' | 'json'
type Member = readonly [name: string, kind: Kind, column: string] | readonly [name: string, json: string]

/** As `backup-wire.ts` has it; a test holds one against the other. */
const extendInfo: readonly Member[] = [
  ['auto_trigger', 'flag', 'auto_trigger'], ['bootable', 'flag', 'bootable'], ['snapshot_id', 'text', 'snapshot_id'],
  ['support_lld', 'flag', 'support_lld'], ['supported_restore_mode', 'text', 'supported_restore_mode'],
  ['os_images_data', 'json', 'os_images_data'], ['contain_system_disk', 'flag', 'contain_system_disk'], ['encrypted', 'flag', 'encrypted'],
  ['system_disk', 'flag', 'system_disk'], ['incremental', 'flag', 'incremental'], ['is_multi_az', 'flag', 'is_multi_az'],
  ['progress', 'null'], ['architecture', 'null'], ['app_consistency', 'null'], ['encrypted_algorithm', 'null'], ['is_dec', 'null'],
]
const members: readonly Member[] = [
  ['id', 'text', 'id'], ['name', 'text', 'name'], ['description', 'text', 'description'], ['status', 'text', 'status'],
  ['image_type', 'text', 'image_type'], ['checkpoint_id', 'text', 'checkpoint_id'], ['parent_id', 'text', 'parent_id'], ['children', '[]'],
  ['project_id', 'text', 'project_id'], ['enterprise_project_id', 'text', 'enterprise_project_id'], ['vault_id', 'text', 'vault_id'],
  ['provider_id', 'text', 'provider_id'], ['resource_id', 'text', 'resource_id'], ['resource_name', 'text', 'resource_name'],
  ['resource_type', 'text', 'resource_type'], ['resource_size', 'integer', 'resource_size_gb'], ['resource_az', 'text', 'resource_az'],
  ['incremental', 'flag', 'incremental'], ['version', 'integer', 'version'], ['created_at', 'time', 'created_at'],
  ['updated_at', 'time', 'updated_at'], ['protected_at', 'time', 'protected_at'], ['expired_at', 'time', 'expired_at'],
  ['scheduled_operation_id', 'null'],
]

export const documentColumns = [...new Set([...members, ...extendInfo].flatMap(([, , column]) => column ?? []))]

/** Says in SQL what a backup's document is; `row` stands before its columns, with a dot. */
export function documentOf(dialect: DialectName, row = ''): string {
  const write = ([name, kind, column]: Member): string => {
    const value = column === undefined ? `'${kind}'` : valueIn[dialect](kind as Kind, row + column)
    return `'"${name}":' || ${value}`
  }
  const list = (some: readonly Member[]): string => some.map(write).join(` || ',' || `)
  return `'{' || ${list(members)} || ',"extend_info":{' || ${list(extendInfo)} || '},"replication_records":[]}'`
}

const valueIn: Readonly<Record<DialectName, (kind: Kind, column: string) => string>> = {
  sqlite: (kind, column) => {
    if (kind === 'text') return `json_quote(${column})`
    if (kind === 'flag') return `case ${column} when 1 then 'true' when 0 then 'false' else 'null' end`
    if (kind === 'time') return `coalesce('"' || strftime('%Y-%m-%dT%H:%M:%S', ${column} / 1000000, 'unixepoch') || '.' || substr(1000000 + ${column} % 1000000, 2) || '"', 'null')`
    return `coalesce(${column}, 'null')`
  },
  postgres: (kind, column) => {
    if (kind === 'text') return `coalesce(to_json(${column})::text, 'null')`
    if (kind === 'flag') return `case ${column} when 1 then 'true' when 0 then 'false' else 'null' end`
    if (kind === 'time') return `coalesce('"' || to_char(timestamp '1970-01-01' + (${column} / 1000000) * interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS') || '.' || lpad((${column} % 1000000)::text, 6, '0') || '"', 'null')`
    return `coalesce(${column}::text, 'null')`
  },
}
