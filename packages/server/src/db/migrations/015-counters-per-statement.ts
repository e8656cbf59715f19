/**
 * On PostgreSQL: what triggers count of backups, and mark of vaults, they do once per statement. It keeps every version of a
 * row until the transaction ends, so a counter that changes with each of many rows gets slower with each of them.
 * SQLite changes a row where it is, and stays as it was.
 */
import { sql, type Kysely } from 'kysely'
import { dialectOf, dropRowTrigger } from '../dialect.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  if (dialectOf(db) === 'sqlite') return
  await countUsagePerStatement(db)
  await markManifestsPerStatement(db)
}

type Event = 'insert' | 'update' | 'delete'

const transitions: Readonly<Record<Event, string>> = {
  insert: 'new table as after', update: 'old table as before new table as after', delete: 'old table as before',
}

/** In the place of a row trigger of the same name. `statements` know the rows as tables: `before` and `after`. */
async function replaceTrigger(db: Kysely<unknown>, { name, table, event, statements }: { name: string, table: string, event: Event, statements: string }): Promise<void> {
  await dropRowTrigger(db, { name, table })
  await sql`create function ${sql.ref(name)}() returns trigger language plpgsql as ${sql.lit(`begin ${statements} return null; end`)}`.execute(db)
  await sql`create trigger ${sql.ref(name)} after ${sql.raw(event)} on ${sql.table(table)}
    referencing ${sql.raw(transitions[event])} for each statement execute function ${sql.ref(name)}()`.execute(db)
}

function add(rows: string): string {
  return `
  insert into vault_usage (vault_id, resource_id, project_id, resource_type, resource_name, backup_count, stored_bytes)
    select r.vault_id, r.resource_id, min(r.project_id), min(r.resource_type), (array_agg(r.resource_name order by r.created_at desc, r.id desc))[1],
      count(*) filter (where r.parent_id is null), sum(r.stored_bytes)
    from ${rows} group by r.vault_id, r.resource_id order by r.vault_id, r.resource_id
    on conflict (vault_id, resource_id) do update set
      resource_name = excluded.resource_name,
      backup_count = vault_usage.backup_count + excluded.backup_count,
      stored_bytes = vault_usage.stored_bytes + excluded.stored_bytes;`
}

function take(rows: string): string {
  return `
  update vault_usage u set backup_count = u.backup_count - d.backup_count, stored_bytes = u.stored_bytes - d.stored_bytes
    from (select r.vault_id, r.resource_id, count(*) filter (where r.parent_id is null) as backup_count, sum(r.stored_bytes) as stored_bytes
      from ${rows} group by r.vault_id, r.resource_id) d
    where u.vault_id = d.vault_id and u.resource_id = d.resource_id;`
}

function clear(rows: string): string {
  return `
  delete from vault_usage u using (select distinct r.vault_id, r.resource_id from ${rows}) d
    where u.vault_id = d.vault_id and u.resource_id = d.resource_id and u.backup_count = 0 and u.stored_bytes = 0;`
}

function changed(table: 'before' | 'after', other: 'before' | 'after'): string {
  return `${table} r join ${other} o on o.id = r.id
  and (o.vault_id <> r.vault_id or o.resource_id <> r.resource_id or o.stored_bytes <> r.stored_bytes or o.parent_id is distinct from r.parent_id)`
}

async function countUsagePerStatement(db: Kysely<unknown>): Promise<void> {
  await replaceTrigger(db, { name: 'backup_usage_inserted', table: 'backups', event: 'insert', statements: add('after r') })
  await replaceTrigger(db, { name: 'backup_usage_deleted', table: 'backups', event: 'delete', statements: take('before r') + clear('before r') })
  const [from, to] = [changed('before', 'after'), changed('after', 'before')]
  await replaceTrigger(db, {
    name: 'backup_usage_updated', table: 'backups', event: 'update',
    // Taken first: the row may be the same one.
    statements: `if exists (select from ${from}) then ${take(from)} ${add(to)} ${clear(from)} end if;`,
  })
}

const VAULT_ROWS: readonly (readonly [table: string, vaultId: string])[] = [
  ['vault_resources', 'r.vault_id'], ['vault_tags', 'r.vault_id'], ['vault_policies', 'r.vault_id'], ['vault_scrubs', 'r.vault_id'],
  ['checkpoints', 'r.vault_id'], ['backups', 'r.vault_id'], ['replication_records', 'r.vault_id'], ['vaults', 'r.id'],
  ['backup_members', '(select b.vault_id from backups b where b.id = r.backup_id)'],
]

async function markManifestsPerStatement(db: Kysely<unknown>): Promise<void> {
  // A row that moves to another vault marks both below.
  await dropRowTrigger(db, { name: 'manifest_backups_moved', table: 'backups' })
  for (const [table, vaultId] of VAULT_ROWS) {
    const places = (rows: string): string => `select ${vaultId} as place from ${rows} r`
    for (const [event, touched] of [
      ['insert', places('after')], ['update', `${places('before')} union ${places('after')}`], ['delete', places('before')],
    ] as const) {
      await replaceTrigger(db, {
        name: `manifest_${table}_${event}`, table, event,
        statements: `insert into manifest_marks (place, revision, written)
          select distinct c.place, 1, 0 from (${touched}) c where c.place is not null order by 1
          on conflict (place) do update set revision = manifest_marks.revision + 1;`,
      })
    }
  }
}
