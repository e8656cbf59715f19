/** The audit trail, which is only ever added to: triggers refuse everything else. */
import { sql, type Kysely } from 'kysely'
import { dialectOf } from '../dialect.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('audit_records')
    .addColumn('sequence', 'bigint', (c) => c.primaryKey().notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('request_id', 'text', (c) => c.notNull())
    .addColumn('operation', 'text', (c) => c.notNull())
    .addColumn('action', 'text')
    .addColumn('outcome', 'text', (c) => c.notNull())
    .addColumn('status', 'integer')
    .addColumn('error_code', 'text')
    .addColumn('user_id', 'text')
    .addColumn('user_name', 'text')
    .addColumn('domain_id', 'text')
    .addColumn('project_id', 'text')
    .addColumn('credential', 'text', (c) => c.notNull())
    .addColumn('access_key', 'text')
    .addColumn('address', 'text', (c) => c.notNull())
    .addColumn('targets', 'text', (c) => c.notNull())
    .addColumn('previous_hash', 'text', (c) => c.notNull())
    .addColumn('hash', 'text', (c) => c.notNull())
    .execute()
  for (const column of ['project_id', 'domain_id', 'user_id']) {
    await db.schema.createIndex(`audit_records_${column}`).on('audit_records').columns([column, 'sequence']).execute()
  }
  await db.schema.createIndex('audit_records_created_at').on('audit_records').column('created_at').execute()
  await db.schema.createTable('audit_head')
    .addColumn('id', 'integer', (c) => c.primaryKey().notNull())
    .addColumn('sequence', 'bigint', (c) => c.notNull())
    .addColumn('hash', 'text', (c) => c.notNull())
    .addColumn('sealed', 'text', (c) => c.notNull())
    .execute()
  await db.schema.createTable('audit_begun')
    .addColumn('request_id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('entry', 'text', (c) => c.notNull())
    .execute()
  await refuseChanges(db)
}

async function refuseChanges(db: Kysely<unknown>): Promise<void> {
  const reason = 'audit records are not changed'
  if (dialectOf(db) === 'postgres') {
    await sql`create function audit_records_kept() returns trigger language plpgsql as ${sql.lit(`begin raise exception '${reason}'; end`)}`.execute(db)
    await sql`create trigger audit_records_kept before update or delete on audit_records for each row execute function audit_records_kept()`.execute(db)
    return
  }
  for (const event of ['update', 'delete']) {
    await sql`create trigger ${sql.ref(`audit_records_no_${event}`)} before ${sql.raw(event)} on audit_records
      begin select raise(abort, ${sql.lit(reason)}); end`.execute(db)
  }
}
