/** Events on their way to the receivers that the operator has named. */
import type { Kysely } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  // What is there was told in the list of events alone.
  await db.schema.alterTable('events').addColumn('dispatched', 'integer', (c) => c.notNull().defaultTo(1)).execute()
  await db.schema.createIndex('events_dispatched').on('events').columns(['dispatched', 'created_at']).execute()
  await db.schema.createTable('webhook_deliveries')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('event_id', 'text', (c) => c.notNull())
    .addColumn('receiver', 'text', (c) => c.notNull())
    .addColumn('body', 'text', (c) => c.notNull())
    .addColumn('attempts', 'integer', (c) => c.notNull())
    .addColumn('due_at', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createIndex('webhook_deliveries_due').on('webhook_deliveries').columns(['due_at', 'id']).execute()
}
