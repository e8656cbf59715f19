/** Several domains, projects and users: roles, groups, assignments, and access keys that can be disabled or end. */
import { sql, type Kysely } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const table of ['domains', 'projects', 'users']) {
    if (table !== 'users') await db.schema.alterTable(table).addColumn('created_at', 'bigint', (c) => c.notNull().defaultTo(0)).execute()
    await db.schema.alterTable(table).addColumn('description', 'text', (c) => c.notNull().defaultTo('')).execute()
    await db.schema.alterTable(table).addColumn('enabled', 'integer', (c) => c.notNull().defaultTo(1)).execute()
  }
  await db.schema.createTable('user_groups')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('domain_id', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('description', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createTable('user_group_members')
    .addColumn('group_id', 'text', (c) => c.notNull())
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('user_group_members_key', ['group_id', 'user_id'])
    .execute()
  await db.schema.createTable('roles')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('domain_id', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('description', 'text', (c) => c.notNull())
    .addColumn('actions', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createTable('role_assignments')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('subject', 'text', (c) => c.notNull())
    .addColumn('scope', 'text', (c) => c.notNull())
    .addColumn('role', 'text', (c) => c.notNull())
    .addColumn('enterprise_project_ids', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.alterTable('access_keys').addColumn('enabled', 'integer', (c) => c.notNull().defaultTo(1)).execute()
  await db.schema.alterTable('access_keys').addColumn('description', 'text', (c) => c.notNull().defaultTo('')).execute()
  // Of temporary keys only: the hash of the token that goes with the key, its one project, and its end.
  await db.schema.alterTable('access_keys').addColumn('security_token_hash', 'text').execute()
  await db.schema.alterTable('access_keys').addColumn('project_id', 'text').execute()
  await db.schema.alterTable('access_keys').addColumn('expires_at', 'bigint').execute()

  await db.schema.createIndex('domains_name').on('domains').column('name').unique().execute()
  await db.schema.createIndex('user_groups_name').on('user_groups').columns(['domain_id', 'name']).unique().execute()
  await db.schema.createIndex('user_group_members_user').on('user_group_members').column('user_id').execute()
  await db.schema.createIndex('roles_name').on('roles').columns(['domain_id', 'name']).unique().execute()
  await db.schema.createIndex('role_assignments_subject').on('role_assignments').columns(['subject', 'scope', 'role']).unique().execute()
  await db.schema.createIndex('role_assignments_scope').on('role_assignments').column('scope').execute()
  await db.schema.createIndex('access_keys_user').on('access_keys').column('user_id').execute()
  await db.schema.createIndex('access_keys_expires').on('access_keys').column('expires_at').execute()
  await db.schema.createIndex('tokens_user').on('tokens').column('user_id').execute()
  await keepGrants(db)
  await db.schema.dropTable('grants').execute()
}

/** Until now whoever could log in was the administrator of everything there was. */
async function keepGrants(db: Kysely<unknown>): Promise<void> {
  await sql`insert into role_assignments (id, subject, scope, role, created_at)
    select 'system-' || id, 'user:' || id, 'system', 'administrator', created_at from users`.execute(db)
  await sql`insert into role_assignments (id, subject, scope, role, created_at)
    select 'domain-' || id, 'user:' || id, 'domain:' || domain_id, 'administrator', created_at from users`.execute(db)
}
