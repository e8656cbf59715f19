/** A number that grows whenever what a credential is good for may have changed: kept by triggers. */
import type { Kysely } from 'kysely'
import { createRowTrigger } from '../dialect.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('identity_revision')
    .addColumn('id', 'integer', (c) => c.primaryKey().notNull())
    .addColumn('revision', 'bigint', (c) => c.notNull())
    .execute()
  const statements = `insert into identity_revision (id, revision) values (1, 1)
    on conflict (id) do update set revision = identity_revision.revision + 1;`
  for (const table of ['domains', 'projects', 'users', 'user_groups', 'user_group_members', 'roles', 'role_assignments', 'access_keys']) {
    for (const event of ['insert', 'update', 'delete'] as const) {
      await createRowTrigger(db, { name: `identity_${table}_${event}`, table, event, statements })
    }
  }
  // A new token changes nothing for those that there are.
  for (const event of ['update', 'delete'] as const) {
    await createRowTrigger(db, { name: `identity_tokens_${event}`, table: 'tokens', event, statements })
  }
}
