/** Policies of domains, and where they are deployed. */
import type { Kysely } from 'kysely'
import { markDeploymentManifest } from '../manifest-triggers.ts'

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.createTable('organization_policies')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('domain_id', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('description', 'text', (c) => c.notNull())
    .addColumn('operation_type', 'text', (c) => c.notNull())
    .addColumn('effective_scope', 'text', (c) => c.notNull())
    .addColumn('whole_domain', 'integer', (c) => c.notNull())
    .addColumn('policy_name', 'text', (c) => c.notNull())
    .addColumn('policy_enabled', 'integer', (c) => c.notNull())
    .addColumn('operation_definition', 'text', (c) => c.notNull())
    .addColumn('pattern', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createTable('organization_policy_deployments')
    .addColumn('organization_policy_id', 'text', (c) => c.notNull())
    .addColumn('project_id', 'text', (c) => c.notNull())
    .addColumn('policy_id', 'text', (c) => c.notNull())
    .addColumn('deployed_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('organization_policy_deployments_key', ['organization_policy_id', 'project_id'])
    .execute()
  await db.schema.createIndex('organization_policies_domain').on('organization_policies').columns(['domain_id', 'created_at', 'id']).execute()
  await db.schema.createIndex('organization_policy_deployments_project').on('organization_policy_deployments').column('project_id').execute()
  await markDeploymentManifest(db, 'organization_policies')
  await markDeploymentManifest(db, 'organization_policy_deployments')
}
