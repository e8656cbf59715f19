/** The catalogue's first form. A migration that has run anywhere is never edited. */
import { sql, type Kysely, type SqlBool } from 'kysely'
import { createRowTrigger, dialectOf } from '../dialect.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('domains')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .execute()
  await db.schema.createTable('projects')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('domain_id', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .execute()
  await db.schema.createTable('users')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('domain_id', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('password_hash', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createTable('grants')
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('role', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('grants_key', ['user_id', 'project_id'])
    .execute()
  await db.schema.createTable('access_keys')
    .addColumn('access_key', 'text', (c) => c.primaryKey().notNull())
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('secret_sealed', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createTable('tokens')
    .addColumn('token_hash', 'text', (c) => c.primaryKey().notNull())
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('project_id', 'text')
    .addColumn('domain_id', 'text')
    .addColumn('methods', 'text', (c) => c.notNull())
    .addColumn('issued_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createTable('resources')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('type', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('path', 'text', (c) => c.notNull())
    .addColumn('size_bytes', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createTable('vaults')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('description', 'text')
    .addColumn('enterprise_project_id', 'text', (c) => c.notNull())
    .addColumn('provider_id', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('protect_type', 'text', (c) => c.notNull())
    .addColumn('object_type', 'text', (c) => c.notNull())
    .addColumn('cloud_type', 'text', (c) => c.notNull())
    .addColumn('consistent_level', 'text', (c) => c.notNull())
    .addColumn('charging_mode', 'text', (c) => c.notNull())
    .addColumn('is_multi_az', 'integer', (c) => c.notNull())
    .addColumn('size_gb', 'integer', (c) => c.notNull())
    .addColumn('used_bytes', 'bigint', (c) => c.notNull())
    .addColumn('auto_bind', 'integer', (c) => c.notNull())
    .addColumn('bind_rules', 'text', (c) => c.notNull())
    .addColumn('auto_expand', 'integer', (c) => c.notNull())
    .addColumn('smn_notify', 'integer', (c) => c.notNull())
    .addColumn('threshold_percent', 'integer', (c) => c.notNull())
    .addColumn('locked', 'integer', (c) => c.notNull())
    .addColumn('demand_billing', 'integer', (c) => c.notNull())
    .addColumn('availability_zone', 'text', (c) => c.notNull())
    .addColumn('sys_lock_source_service', 'text', (c) => c.notNull())
    .addColumn('backup_name_prefix', 'text')
    .addColumn('repository_url', 'text')
    .addColumn('repository_id', 'text')
    .addColumn('password_sealed', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createTable('vault_resources')
    .addColumn('vault_id', 'text', (c) => c.notNull())
    .addColumn('resource_id', 'text', (c) => c.notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('resource_type', 'text', (c) => c.notNull())
    .addColumn('name', 'text')
    .addColumn('size_gb', 'integer', (c) => c.notNull())
    .addColumn('protect_status', 'text', (c) => c.notNull())
    .addColumn('auto_protect', 'integer', (c) => c.notNull())
    .addColumn('extra_info', 'text', (c) => c.notNull())
    .addColumn('added_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('vault_resources_key', ['vault_id', 'resource_id'])
    .execute()
  await db.schema.createTable('vault_tags')
    .addColumn('vault_id', 'text', (c) => c.notNull())
    .addColumn('key', 'text', (c) => c.notNull())
    .addColumn('value', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('vault_tags_key', ['vault_id', 'key'])
    .execute()
  await db.schema.createTable('checkpoints')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('vault_id', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('description', 'text', (c) => c.notNull())
    .addColumn('auto_trigger', 'integer', (c) => c.notNull())
    .addColumn('incremental', 'integer', (c) => c.notNull())
    .addColumn('skipped_resources', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createTable('backups')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('vault_id', 'text', (c) => c.notNull())
    .addColumn('checkpoint_id', 'text', (c) => c.notNull())
    .addColumn('parent_id', 'text')
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('description', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('image_type', 'text', (c) => c.notNull())
    .addColumn('resource_id', 'text', (c) => c.notNull())
    .addColumn('resource_name', 'text', (c) => c.notNull())
    .addColumn('resource_type', 'text', (c) => c.notNull())
    .addColumn('resource_size_gb', 'integer', (c) => c.notNull())
    .addColumn('resource_az', 'text', (c) => c.notNull())
    .addColumn('enterprise_project_id', 'text', (c) => c.notNull())
    .addColumn('provider_id', 'text', (c) => c.notNull())
    .addColumn('incremental', 'integer', (c) => c.notNull())
    .addColumn('auto_trigger', 'integer', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addColumn('protected_at', 'bigint')
    .addColumn('expired_at', 'bigint')
    .addColumn('bootable', 'integer')
    .addColumn('snapshot_id', 'text')
    .addColumn('support_lld', 'integer', (c) => c.notNull())
    .addColumn('supported_restore_mode', 'text', (c) => c.notNull())
    .addColumn('contain_system_disk', 'integer', (c) => c.notNull())
    .addColumn('encrypted', 'integer', (c) => c.notNull())
    .addColumn('system_disk', 'integer', (c) => c.notNull())
    .addColumn('is_multi_az', 'integer', (c) => c.notNull())
    .addColumn('os_images_data', 'text')
    .addColumn('source_path', 'text')
    .addColumn('content_bytes', 'bigint', (c) => c.notNull())
    .addColumn('stored_bytes', 'bigint', (c) => c.notNull())
    .addColumn('version', 'integer', (c) => c.notNull())
    .execute()
  await db.schema.createTable('backup_members')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('backup_id', 'text', (c) => c.notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('dest_project_id', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('vault_id', 'text')
    .addColumn('image_id', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createTable('replication_records')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('backup_id', 'text', (c) => c.notNull())
    .addColumn('checkpoint_id', 'text', (c) => c.notNull())
    .addColumn('vault_id', 'text', (c) => c.notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('source_region', 'text', (c) => c.notNull())
    .addColumn('destination_region', 'text', (c) => c.notNull())
    .addColumn('destination_project_id', 'text', (c) => c.notNull())
    .addColumn('destination_vault_id', 'text', (c) => c.notNull())
    .addColumn('destination_backup_id', 'text', (c) => c.notNull())
    .addColumn('destination_checkpoint_id', 'text', (c) => c.notNull())
    .addColumn('progress', 'integer', (c) => c.notNull())
    .addColumn('fail_code', 'text', (c) => c.notNull())
    .addColumn('fail_reason', 'text', (c) => c.notNull())
    .addColumn('auto_trigger', 'integer', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createTable('operation_logs')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('enterprise_project_id', 'text', (c) => c.notNull())
    .addColumn('provider_id', 'text', (c) => c.notNull())
    .addColumn('operation_type', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('vault_id', 'text', (c) => c.notNull())
    .addColumn('vault_name', 'text', (c) => c.notNull())
    .addColumn('checkpoint_id', 'text')
    .addColumn('backup_id', 'text')
    .addColumn('resource_id', 'text')
    .addColumn('resource_name', 'text')
    .addColumn('resource_type', 'text')
    .addColumn('policy_id', 'text')
    .addColumn('progress', 'integer', (c) => c.notNull())
    .addColumn('request_id', 'text', (c) => c.notNull())
    .addColumn('error_code', 'text', (c) => c.notNull())
    .addColumn('error_message', 'text', (c) => c.notNull())
    .addColumn('extra_info', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addColumn('started_at', 'bigint')
    .addColumn('ended_at', 'bigint')
    .execute()
  await db.schema.createTable('jobs')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('vault_id', 'text', (c) => c.notNull())
    .addColumn('backup_id', 'text')
    .addColumn('operation_log_id', 'text', (c) => c.notNull())
    .addColumn('payload', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('attempts', 'integer', (c) => c.notNull())
    .addColumn('lease_holder', 'text')
    .addColumn('leased_at', 'bigint')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()

  await db.schema.createIndex('projects_name').on('projects').columns(['domain_id', 'name']).unique().execute()
  await db.schema.createIndex('users_name').on('users').columns(['domain_id', 'name']).unique().execute()
  await db.schema.createIndex('tokens_expires').on('tokens').column('expires_at').execute()
  await db.schema.createIndex('resources_path').on('resources').columns(['project_id', 'type', 'path']).unique().execute()
  await db.schema.createIndex('vaults_project').on('vaults').columns(['project_id', 'created_at', 'id']).execute()
  await db.schema.createIndex('vault_resources_resource').on('vault_resources').columns(['project_id', 'resource_id']).execute()
  await db.schema.createIndex('checkpoints_vault').on('checkpoints').columns(['vault_id', 'created_at']).execute()
  await createBackupIndexes(db)
  if (dialectOf(db) === 'sqlite') await describeBackupIndexesToSqlite(db)
  await createBackupRevisions(db)
  await db.schema.createIndex('backup_members_backup').on('backup_members').columns(['backup_id', 'dest_project_id']).unique().execute()
  await db.schema.createIndex('backup_members_owner').on('backup_members').columns(['project_id', 'status', 'backup_id']).execute()
  await db.schema.createIndex('backup_members_dest').on('backup_members').columns(['dest_project_id', 'status', 'backup_id']).execute()
  await db.schema.createIndex('replication_records_backup').on('replication_records').column('backup_id').execute()
  await db.schema.createIndex('operation_logs_project').on('operation_logs').columns(['project_id', 'created_at', 'id']).execute()
  await db.schema.createIndex('operation_logs_vault').on('operation_logs').columns(['vault_id', 'created_at']).execute()
  await db.schema.createIndex('jobs_status').on('jobs').columns(['status', 'created_at']).execute()
  await db.schema.createIndex('jobs_vault').on('jobs').columns(['vault_id', 'status']).execute()
}

/**
 * The listing of backups filters by anything, sorts by six keys in both directions, pages and counts.
 *
 * - Every index begins with the project: no query reads a row of another one.
 * - Lists show top-level backups unless children are asked for, so the indexes that serve an order hold
 *   only those. They carry the parent all the same, always null: SQLite takes an index for sufficient
 *   only when every column of the condition is in it.
 * - Every order ends in the id, which breaks ties: a page is read in its order, and reading stops at
 *   its end. Backwards the same index serves the opposite direction.
 * - `backups_by_created_at`, the default order, also carries the columns that have few values each. No
 *   index of their own would find their rows faster than reading through, and with them here a count
 *   or a page reads through a narrow index instead of the table. The other orders carry the status, by
 *   far the most frequent filter.
 * - A resource, a name or a checkpoint has few backups: finding them is all that their indexes do.
 */
async function createBackupIndexes(db: Kysely<unknown>): Promise<void> {
  const isTopLevel = sql<SqlBool>`parent_id is null`
  const create = (name: string) => db.schema.createIndex(name).on('backups')
  await create('backups_by_created_at').columns([
    'project_id', 'created_at', 'id', 'status', 'image_type', 'resource_type', 'incremental', 'resource_az',
    'enterprise_project_id', 'parent_id',
  ]).where(isTopLevel).execute()
  await create('backups_by_updated_at').columns(['project_id', 'updated_at', 'id', 'status', 'parent_id']).where(isTopLevel).execute()
  // The expression is the one by which the listing sorts: a backup without this time stands first.
  await create('backups_by_protected_at').column('project_id').expression(sql`coalesce(protected_at, -1)`)
    .columns(['id', 'status', 'parent_id']).where(isTopLevel).execute()
  await create('backups_by_name').columns(['project_id', 'name', 'id', 'status', 'parent_id']).where(isTopLevel).execute()
  await create('backups_by_status').columns(['project_id', 'status', 'id', 'parent_id']).where(isTopLevel).execute()
  // Backups that are found through their shares are put in the default order from here.
  await create('backups_by_id').columns(['project_id', 'id', 'status', 'created_at', 'parent_id']).where(isTopLevel).execute()
  await create('backups_of_status').columns(['project_id', 'status', 'created_at', 'id', 'parent_id']).where(isTopLevel).execute()
  // These also serve the verbs on a whole vault, checkpoint or resource, children included; what each
  // resource takes up in its vault is summed up from the index.
  await create('backups_of_vault').columns([
    'project_id', 'vault_id', 'created_at', 'id', 'status', 'parent_id', 'resource_id', 'stored_bytes',
  ]).execute()
  await create('backups_of_checkpoint').columns(['project_id', 'checkpoint_id']).execute()
  await create('backups_of_resource').columns(['project_id', 'resource_id', 'created_at', 'id', 'status', 'parent_id']).execute()
  await create('backups_of_resource_name').columns(['project_id', 'resource_name', 'created_at', 'id', 'status', 'parent_id'])
    .where(isTopLevel).execute()
  await create('backups_of_parent').columns(['project_id', 'parent_id', 'created_at', 'id'])
    .where(sql<SqlBool>`parent_id is not null`).execute()
}

/**
 * Tells SQLite's planner how many rows to expect per value, as `analyze` would find them in a catalogue of
 * a million backups in ten projects. Without it the planner thinks a status as selective as a name, and reads a whole
 * project to find one backup. What is measured in a catalogue that is still small, or happens to be
 * uniform, would mislead it as much; and plans that follow from the schema alone can be tested. Numbers
 * are the rows of the index, then the rows that agree in its first column, its first two, and so on.
 */
async function describeBackupIndexesToSqlite(db: Kysely<unknown>): Promise<void> {
  const rows: Readonly<Record<string, string>> = {
    backups_by_created_at: '1000000 100000 5 1 1 1 1 1 1 1',
    backups_by_updated_at: '1000000 100000 5 1 1 1',
    backups_by_protected_at: '1000000 100000 5 1 1 1',
    backups_by_name: '1000000 100000 20 1 1 1',
    backups_by_status: '1000000 100000 12500 1 1',
    backups_by_id: '1000000 100000 1 1 1 1',
    backups_of_status: '1000000 100000 12500 3 1 1',
    backups_of_vault: '1500000 150000 1500 5 1 1 1 1 1',
    backups_of_checkpoint: '1500000 150000 8',
    backups_of_resource: '1500000 150000 100 2 1 1 1',
    backups_of_resource_name: '1000000 100000 300 2 1 1 1',
    backups_of_parent: '500000 50000 2 2 1',
    sqlite_autoindex_backups_1: '1500000 1',
  }
  // Makes the table for the numbers, which is then read by every connection when it opens the file.
  await sql`analyze`.execute(db)
  await sql`delete from sqlite_stat1`.execute(db)
  for (const [index, numbers] of Object.entries(rows)) {
    await sql`insert into sqlite_stat1 (tbl, idx, stat) values ('backups', ${index}, ${numbers})`.execute(db)
  }
  await sql`analyze sqlite_schema`.execute(db)
}

/**
 * A number for each project that grows whenever one of its backups is added, changed or removed, by
 * whomever. What was counted at one number still holds at the same number.
 */
async function createBackupRevisions(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('backup_revisions')
    .addColumn('project_id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('revision', 'bigint', (c) => c.notNull())
    .execute()
  await (dialectOf(db) === 'sqlite' ? createRevisionTriggersInSqlite(db) : createRevisionTriggersInPostgres(db))
}

async function createRevisionTriggersInSqlite(db: Kysely<unknown>): Promise<void> {
  for (const [event, row] of [['insert', 'new'], ['update', 'new'], ['delete', 'old']] as const) {
    await createRowTrigger(db, {
      name: `backups_after_${event}`,
      table: 'backups',
      event,
      statements: `insert into backup_revisions (project_id, revision) values (${row}.project_id, 1)
        on conflict (project_id) do update set revision = revision + 1;`,
    })
  }
}

/** Once per statement and project: PostgreSQL keeps a version of the number for every time that it changes. */
async function createRevisionTriggersInPostgres(db: Kysely<unknown>): Promise<void> {
  await sql`create function backups_changed() returns trigger language plpgsql as ${sql.lit(`begin
    insert into backup_revisions (project_id, revision)
      select project_id, count(*) from changed group by project_id order by project_id
      on conflict (project_id) do update set revision = backup_revisions.revision + excluded.revision;
    return null;
  end`)}`.execute(db)
  for (const [event, rows] of [['insert', 'new'], ['update', 'new'], ['delete', 'old']] as const) {
    await sql`create trigger ${sql.ref(`backups_after_${event}`)} after ${sql.raw(event)} on backups
      referencing ${sql.raw(rows)} table as changed for each statement execute function backups_changed()`.execute(db)
  }
}
