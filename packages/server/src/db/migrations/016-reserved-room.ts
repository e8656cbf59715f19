/** What a job has set aside of its vault's room before it writes. */
import type { Kysely } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('jobs').addColumn('reserved_bytes', 'bigint').execute()
}
