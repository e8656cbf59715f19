/**
 * What vaults need beyond their first form: counters of what is in them, so that listing vaults costs
 * the same however many backups there are; events; tags of declared resources; and what jobs that
 * touch two vaults say of the second one.
 */
import { sql, type Kysely } from 'kysely'
import { createRowTrigger } from '../dialect.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await createUsage(db)
  await createSharedBytes(db)
  await db.schema.alterTable('vaults').addColumn('threshold_reached', 'integer', (c) => c.notNull().defaultTo(0)).execute()
  await db.schema.alterTable('jobs').addColumn('target_vault_id', 'text').execute()
  await db.schema.createTable('events')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('vault_id', 'text')
    .addColumn('vault_name', 'text')
    .addColumn('resource_id', 'text')
    .addColumn('message', 'text', (c) => c.notNull())
    .addColumn('facts', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createIndex('events_project').on('events').columns(['project_id', 'created_at', 'id']).execute()
  await db.schema.createIndex('events_created').on('events').column('created_at').execute()
  await db.schema.createTable('resource_tags')
    .addColumn('resource_id', 'text', (c) => c.notNull())
    .addColumn('key', 'text', (c) => c.notNull())
    .addColumn('value', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('resource_tags_key', ['resource_id', 'key'])
    .execute()
}

/**
 * What the backups of each resource amount to in each vault. Triggers keep it, so it is as exact as the
 * backups themselves, whoever writes them. Children add to the space, but are no backups of their own.
 * A resource without backups has no row, or one with zeros.
 */
async function createUsage(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('vault_usage')
    .addColumn('vault_id', 'text', (c) => c.notNull())
    .addColumn('resource_id', 'text', (c) => c.notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('resource_type', 'text', (c) => c.notNull())
    .addColumn('resource_name', 'text', (c) => c.notNull())
    .addColumn('backup_count', 'integer', (c) => c.notNull())
    .addColumn('stored_bytes', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('vault_usage_key', ['vault_id', 'resource_id'])
    .execute()
  await db.schema.createIndex('vault_usage_project').on('vault_usage').columns(['project_id', 'resource_id']).execute()
  await countUsage(db)
  const add = `insert into vault_usage (vault_id, resource_id, project_id, resource_type, resource_name, backup_count, stored_bytes)
    values (new.vault_id, new.resource_id, new.project_id, new.resource_type, new.resource_name,
      case when new.parent_id is null then 1 else 0 end, new.stored_bytes)
    on conflict (vault_id, resource_id) do update set
      resource_name = excluded.resource_name,
      backup_count = vault_usage.backup_count + excluded.backup_count,
      stored_bytes = vault_usage.stored_bytes + excluded.stored_bytes;`
  const take = `update vault_usage set
      backup_count = backup_count - case when old.parent_id is null then 1 else 0 end,
      stored_bytes = stored_bytes - old.stored_bytes
    where vault_id = old.vault_id and resource_id = old.resource_id;`
  const clear = `delete from vault_usage
    where vault_id = old.vault_id and resource_id = old.resource_id and backup_count = 0 and stored_bytes = 0;`
  await createRowTrigger(db, { name: 'backup_usage_inserted', table: 'backups', event: 'insert', statements: add })
  await createRowTrigger(db, { name: 'backup_usage_deleted', table: 'backups', event: 'delete', statements: `${take} ${clear}` })
  await createRowTrigger(db, {
    name: 'backup_usage_updated',
    table: 'backups',
    event: 'update',
    columns: ['vault_id', 'resource_id', 'parent_id', 'stored_bytes'],
    when: `new.vault_id <> old.vault_id or new.resource_id <> old.resource_id or new.stored_bytes <> old.stored_bytes
      or coalesce(new.parent_id, '') <> coalesce(old.parent_id, '')`,
    // Taken first: the row may be the same one. It is cleared by a deletion only, so nothing is lost in between.
    statements: `${take} ${add} ${clear}`,
  })
}

/** Counts the backups that there are, into a table that is empty: for rows that were loaded without the triggers. */
export async function countUsage<Tables>(db: Kysely<Tables>): Promise<void> {
  await sql`insert into vault_usage (vault_id, resource_id, project_id, resource_type, resource_name, backup_count, stored_bytes)
    select vault_id, resource_id, min(project_id), min(resource_type), max(resource_name),
      sum(case when parent_id is null then 1 else 0 end), sum(stored_bytes)
    from backups group by vault_id, resource_id`.execute(db)
}

/** What accepted shares add to the use of the vault that they were accepted into. */
async function createSharedBytes(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('vaults').addColumn('shared_bytes', 'bigint', (c) => c.notNull().defaultTo(0)).execute()
  await db.schema.createIndex('backup_members_vault').on('backup_members').columns(['vault_id', 'status']).execute()
  await countSharedBytes(db)
  await createRowTrigger(db, {
    name: 'shared_bytes_inserted', table: 'backup_members', event: 'insert', when: 'new.vault_id is not null', statements: recount('new.vault_id'),
  })
  await createRowTrigger(db, {
    name: 'shared_bytes_deleted', table: 'backup_members', event: 'delete', when: 'old.vault_id is not null', statements: recount('old.vault_id'),
  })
  await createRowTrigger(db, {
    name: 'shared_bytes_updated',
    table: 'backup_members',
    event: 'update',
    columns: ['vault_id', 'status'],
    when: 'new.vault_id is not null or old.vault_id is not null',
    statements: `${recount('old.vault_id')} ${recount('new.vault_id')}`,
  })
}

/** Adds up anew what the triggers keep: for rows that were loaded without them. */
export async function countSharedBytes<Tables>(db: Kysely<Tables>): Promise<void> {
  await sql.raw(`update vaults set shared_bytes = (${sharedWith('vaults.id')})`).execute(db)
}

function recount(vaultId: string): string {
  return `update vaults set shared_bytes = (${sharedWith(vaultId)}) where id = ${vaultId};`
}

function sharedWith(vaultId: string): string {
  return `select coalesce(sum(
      coalesce((select sum(b.stored_bytes) from backups b where b.id = m.backup_id), 0)
      + coalesce((select sum(b.stored_bytes) from backups b where b.project_id = m.project_id and b.parent_id = m.backup_id), 0)
    ), 0) from backup_members m where m.vault_id = ${vaultId} and m.status = 'accepted'`
}
