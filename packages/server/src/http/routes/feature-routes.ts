import {
  BackupParams, CopyBackupBody, CopyCheckpointBody, DomainProjectsAnswer, FeatureMap, FeatureParams, FeaturesQuery, ImportBackupBody,
  ImportCheckpointBody, MigrateStatusAnswer, MigrateStatusQuery, OwnProjectsAnswer, ReplicationCapabilitiesAnswer,
} from '@opencbr/contract'
import { Type } from 'typebox'
import type { Deps } from '../../deps.ts'
import { Failure } from '../../failures.ts'
import {
  listFeatures, refuseToCopyBackup, refuseToCopyVault, refuseToImportBackup, refuseToSyncVault, showFeature,
} from '../../features/index.ts'
import { listDomainProjects, listProjects, projectsToWire } from '../../identity/index.ts'
import { identityOf, ok, projectOf, route, type Route } from '../route.ts'

export function featureRoutes(deps: Pick<Deps, 'db' | 'config'>): Route[] {
  return [...capabilityRoutes(deps), ...refusedRoutes(deps), ...accountRoutes(deps)]
}

function capabilityRoutes({ config }: Pick<Deps, 'config'>): Route[] {
  return [
    route({
      operationId: 'listFeatures',
      method: 'GET',
      path: '/v3/:project_id/cbr-features',
      access: { kind: 'project', action: 'cbr:features:list' },
      summary: 'List features',
      schemas: { query: FeaturesQuery, response: { 200: FeatureMap } },
      handle: async (call) => ok(listFeatures(config, call.query)),
    }),
    route({
      operationId: 'showFeature',
      method: 'GET',
      path: '/v3/:project_id/cbr-features/:feature_key',
      access: { kind: 'project', action: 'cbr:features:get' },
      summary: 'Show a feature',
      schemas: { params: FeatureParams, query: FeaturesQuery, response: { 200: FeatureMap } },
      handle: async (call) => ok(showFeature(config, call.params.feature_key)),
    }),
    route({
      operationId: 'showReplicationCapabilities',
      method: 'GET',
      path: '/v3/:project_id/replication-capabilities',
      access: { kind: 'project', action: 'cbr:backups:queryReplicationCapability' },
      summary: 'Show replication targets, of which there are none',
      schemas: { response: { 200: ReplicationCapabilitiesAnswer } },
      handle: async () => ok({ regions: [{ name: config.region, replication_destinations: [] }] }),
    }),
  ]
}

function refusedRoutes(deps: Pick<Deps, 'db'>): Route[] {
  return [
    route({
      operationId: 'copyBackup',
      method: 'POST',
      path: '/v3/:project_id/backups/:backup_id/replicate',
      access: { kind: 'project', action: 'cbr:backups:replicate' },
      summary: 'Replicate a backup: refused, as there is no second region',
      schemas: { params: BackupParams, body: CopyBackupBody },
      handle: (call) => refuseToCopyBackup(deps, projectOf(call).id, call.params.backup_id, call.body.replicate),
    }),
    route({
      operationId: 'copyCheckpoint',
      method: 'POST',
      path: '/v3/:project_id/checkpoints/replicate',
      access: { kind: 'project', action: 'cbr:vaults:replicate' },
      summary: 'Replicate a vault: refused, as there is no second region',
      schemas: { body: CopyCheckpointBody },
      async handle(call) {
        const order = call.body.replicate ?? call.body.checkpoint?.replicate
        if (order === undefined) throw new Failure('parameter.invalid', { field: 'replicate', reason: 'it is mandatory' })
        return refuseToCopyVault(deps, projectOf(call).id, order)
      },
    }),
    route({
      operationId: 'importBackup',
      method: 'POST',
      path: '/v3/:project_id/backups/sync',
      access: { kind: 'project', action: 'cbr:backups:sync' },
      summary: 'Register hybrid backups: refused, as there is no hybrid storage',
      schemas: { body: ImportBackupBody },
      handle: async (call) => refuseToImportBackup(call.body.sync[0]?.resource_id ?? ''),
    }),
    route({
      operationId: 'importCheckpoint',
      method: 'POST',
      path: '/v3/:project_id/checkpoints/sync',
      access: { kind: 'project', action: 'cbr:vaults:sync' },
      summary: 'Sync a hybrid vault: refused, as there is no hybrid storage',
      schemas: { body: ImportCheckpointBody },
      handle: (call) => refuseToSyncVault(deps, projectOf(call).id, call.body.sync.vault_id),
    }),
  ]
}

function accountRoutes(deps: Pick<Deps, 'db'>): Route[] {
  return [
    route({
      operationId: 'listProjects',
      method: 'GET',
      path: '/v3/region-projects',
      access: { kind: 'authenticated' },
      summary: 'List own projects',
      schemas: { response: { 200: OwnProjectsAnswer } },
      async handle(call) {
        const { projects } = projectsToWire(call.origin, await listProjects(deps, identityOf(call), {}))
        return ok({ projects, links: { self: `${call.origin}/v3/region-projects` } })
      },
    }),
    route({
      operationId: 'listDomainProjects',
      method: 'GET',
      path: '/v3/domain/:domain_name/projects',
      access: { kind: 'authenticated' },
      summary: 'List the projects of the own account',
      schemas: { params: Type.Object({ domain_name: Type.String() }), response: { 200: DomainProjectsAnswer } },
      async handle(call) {
        const projects = await listDomainProjects(deps, identityOf(call), call.params.domain_name)
        return ok({ projects: projects.map(({ id, name }) => ({ project_id: id, project_name: name })) })
      },
    }),
    route({
      operationId: 'showMigrateStatus',
      method: 'GET',
      path: '/v3/migrates',
      access: { kind: 'authenticated' },
      summary: 'Show legacy migration, which was never started: there is no older service',
      schemas: { query: MigrateStatusQuery, response: { 200: MigrateStatusAnswer } },
      async handle() {
        throw new Failure('migration.not_found')
      },
    }),
  ]
}
