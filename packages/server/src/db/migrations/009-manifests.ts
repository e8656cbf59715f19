/**
 * Marks of what has to be written into manifests, from which a lost catalogue is made again. Triggers set
 * them in the transaction of whatever changes, so nothing that changes rows has to think of them.
 */
import type { Kysely } from 'kysely'
import { createRowTrigger } from '../dialect.ts'

/** Rows that belong to one vault. */
const VAULT_TABLES = ['vault_resources', 'vault_tags', 'vault_policies', 'vault_scrubs', 'checkpoints', 'backups', 'replication_records']
/** Rows that belong to no vault. */
const DEPLOYMENT_TABLES = [
  'domains', 'projects', 'users', 'user_groups', 'user_group_members', 'roles', 'role_assignments', 'access_keys', 'resources', 'resource_tags',
  'agents', 'agent_paths', 'policies',
]

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('manifest_marks')
    .addColumn('place', 'text', (c) => c.primaryKey().notNull())
    .addColumn('revision', 'bigint', (c) => c.notNull())
    .addColumn('written', 'bigint', (c) => c.notNull())
    .execute()
  const bump = 'on conflict (place) do update set revision = manifest_marks.revision + 1;'
  const mark = (place: string): string => `insert into manifest_marks (place, revision, written) values (${place}, 1, 0) ${bump}`
  const markWhere = (table: string, condition: string): string =>
    `insert into manifest_marks (place, revision, written) select vault_id, 1, 0 from ${table} where ${condition} ${bump}`
  for (const [event, row] of [['insert', 'new'], ['update', 'new'], ['delete', 'old']] as const) {
    for (const table of VAULT_TABLES) {
      await createRowTrigger(db, { name: `manifest_${table}_${event}`, table, event, statements: mark(`${row}.vault_id`) })
    }
    await createRowTrigger(db, { name: `manifest_vaults_${event}`, table: 'vaults', event, statements: mark(`${row}.id`) })
    await createRowTrigger(db, {
      name: `manifest_backup_members_${event}`, table: 'backup_members', event, statements: markWhere('backups', `id = ${row}.backup_id`),
    })
    for (const table of DEPLOYMENT_TABLES) {
      await createRowTrigger(db, { name: `manifest_${table}_${event}`, table, event, statements: mark(`'deployment'`) })
    }
  }
  // A backup that moves to another vault leaves the one where it was.
  await createRowTrigger(db, {
    name: 'manifest_backups_moved', table: 'backups', event: 'update', columns: ['vault_id'], when: 'new.vault_id <> old.vault_id', statements: mark('old.vault_id'),
  })
}
