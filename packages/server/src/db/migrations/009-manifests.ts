/**
 * Marks of what has to be written into manifests, from which a lost catalogue is made again. Triggers set
 * them in the transaction of whatever changes, so nothing that changes rows has to think of them.
 */
import type { Kysely } from 'kysely'
import { createRowTrigger } from '../dialect.ts'
import { markDeploymentManifest, markPlace, markVaultManifest, markVaultManifestOfBackup } from '../manifest-triggers.ts'

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
  for (const table of VAULT_TABLES) await markVaultManifest(db, table, (row) => `${row}.vault_id`)
  await markVaultManifest(db, 'vaults', (row) => `${row}.id`)
  await markVaultManifestOfBackup(db, 'backup_members')
  for (const table of DEPLOYMENT_TABLES) await markDeploymentManifest(db, table)
  // A backup that moves to another vault leaves the one where it was.
  await createRowTrigger(db, {
    name: 'manifest_backups_moved', table: 'backups', event: 'update', columns: ['vault_id'], when: 'new.vault_id <> old.vault_id', statements: markPlace('old.vault_id'),
  })
}
