/**
 * Operations of the contract that this server does not offer. They answer, so that a client is told
 * what is missing and why, instead of that the path does not exist; `docs/api.md` lists them.
 */
import { Failure } from '../../failures.ts'
import { route, type Route } from '../route.ts'

export interface UnsupportedOperation {
  readonly operationId: string
  readonly method: Route['method']
  readonly path: string
  /** Ends the sentence "… is not supported here: …". */
  readonly reason: string
}

const ONE_REGION = 'there is no second region'
const NO_ORGANIZATIONS = 'there are no organizations'
const NO_OLDER_SERVICE = 'there is no older service to move from'

function of(reason: string, ...operations: readonly (readonly [string, Route['method'], string])[]): UnsupportedOperation[] {
  return operations.map(([operationId, method, path]) => ({ operationId, method, path, reason }))
}

export const unsupportedOperations: readonly UnsupportedOperation[] = [
  ...of('GET /v3/projects lists the projects that the caller may act in',
    ['listProjects', 'GET', '/v3/region-projects'],
    ['listDomainProjects', 'GET', '/v3/domain/:domain_name/projects']),
  ...of(ONE_REGION,
    ['copyBackup', 'POST', '/v3/:project_id/backups/:backup_id/replicate'],
    ['copyCheckpoint', 'POST', '/v3/:project_id/checkpoints/replicate'],
    ['showReplicationCapabilities', 'GET', '/v3/:project_id/replication-capabilities']),
  ...of('there is no hybrid storage to take backups over from',
    ['importBackup', 'POST', '/v3/:project_id/backups/sync'],
    ['importCheckpoint', 'POST', '/v3/:project_id/checkpoints/sync']),
  ...of('there are no switches: what works is in docs/api.md',
    ['listFeatures', 'GET', '/v3/:project_id/cbr-features'],
    ['showFeature', 'GET', '/v3/:project_id/cbr-features/:feature_key']),
  ...of(NO_ORGANIZATIONS,
    ['listOrganizationPolicies', 'GET', '/v3/:project_id/organization-policies'],
    ['createOrganizationPolicy', 'POST', '/v3/:project_id/organization-policies'],
    ['showOrganizationPolicy', 'GET', '/v3/:project_id/organization-policies/:organization_policy_id'],
    ['updateOrganizationPolicy', 'PUT', '/v3/:project_id/organization-policies/:organization_policy_id'],
    ['deleteOrganizationPolicy', 'DELETE', '/v3/:project_id/organization-policies/:organization_policy_id'],
    ['listOrganizationPolicyDetail', 'GET', '/v3/:project_id/organization-policies/:organization_policy_id/policy-detail']),
  ...of(NO_OLDER_SERVICE,
    ['showMigrateStatus', 'GET', '/v3/migrates'],
    ['migrateDomain', 'POST', '/v3/migrates']),
]

export function unsupportedRoutes(): Route[] {
  return unsupportedOperations.map(({ operationId, method, path, reason }) => route({
    operationId,
    method,
    path,
    access: path.includes(':project_id') ? { kind: 'project', action: `cbr:unsupported:${operationId}` } : { kind: 'authenticated' },
    summary: `Not supported: ${reason}`,
    schemas: {},
    async handle() {
      throw new Failure('operation.not_supported', { operation: operationId, reason })
    },
  }))
}
