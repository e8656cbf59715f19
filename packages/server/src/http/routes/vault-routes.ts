import {
  AddResourcesAnswer, AddResourcesBody, BatchUpdateVaultsAnswer, BatchUpdateVaultsBody, CreateVaultBody, ListExternalVaultsQuery,
  ListStorageUsageAnswer, ListStorageUsageQuery, ListVaultsAnswer, ListVaultsQuery, MigrateResourcesAnswer, MigrateResourcesBody, RecoveryKitAnswer, RemoveResourcesAnswer, RemoveResourcesBody,
  SetResourcesAnswer, SetResourcesBody, UpdateVaultBody, VaultAnswer, VaultParams, VaultSummaryAnswer,
} from '@opencbr/contract'
import type { Deps } from '../../deps.ts'
import {
  addResources, createVault, deleteVault, listExternalVaults, listStorageUsage, listVaults, migrateResources, removeResources, setResources, showRecoveryKit, showSummary,
  showVault, updateVault, updateVaults, vaultToWire,
} from '../../vaults/index.ts'
import { listRoute, noContent, ok, projectOf, route, type Call, type Route } from '../route.ts'

export function vaultRoutes(deps: Deps): Route[] {
  return [...wholeVaultRoutes(deps), ...vaultResourceRoutes(deps)]
}

function callerOf(call: Call<unknown, unknown, unknown>) {
  return { projectId: projectOf(call).id, requestId: call.requestId }
}

function wholeVaultRoutes(deps: Deps): Route[] {
  return [
    listRoute({
      operationId: 'listVault',
      path: '/v3/:project_id/vaults',
      access: { kind: 'project', action: 'cbr:vaults:list' },
      summary: 'List vaults',
      schemas: { query: ListVaultsQuery, response: { 200: ListVaultsAnswer } },
      async list({ projectId, query }) {
        const { views, count, limit, offset } = await listVaults(deps.reads, projectId, query)
        return ok({ vaults: views.map(vaultToWire), count, limit, offset })
      },
    }),
    route({
      operationId: 'createVault',
      method: 'POST',
      path: '/v3/:project_id/vaults',
      access: { kind: 'project', action: 'cbr:vaults:create' },
      summary: 'Create a vault',
      schemas: { body: CreateVaultBody, response: { 200: VaultAnswer } },
      async handle(call) {
        const project = projectOf(call)
        const user = call.identity?.user
        if (user === undefined) throw new TypeError('a project route was called without a user')
        return ok({ vault: vaultToWire(await createVault(deps, { projectId: project.id, userId: user.id }, call.body.vault)) })
      },
    }),
    route({
      operationId: 'batchUpdateVault',
      method: 'PUT',
      path: '/v3/:project_id/vaults/batch-update',
      access: { kind: 'project', action: 'cbr:vaults:update' },
      summary: 'Change the notification settings of all vaults',
      schemas: { body: BatchUpdateVaultsBody, response: { 200: BatchUpdateVaultsAnswer } },
      async handle(call) {
        return ok({ updated_vaults_id: await updateVaults(deps, projectOf(call).id, call.body.vault) })
      },
    }),
    route({
      operationId: 'showSummary',
      method: 'GET',
      path: '/v3/:project_id/vaults/summary',
      access: { kind: 'project', action: 'cbr:vaults:list' },
      summary: 'Show the capacity of all vaults together',
      schemas: { response: { 200: VaultSummaryAnswer } },
      async handle(call) {
        return ok(await showSummary(deps.db, projectOf(call).id))
      },
    }),
    route({
      operationId: 'listExternalVault',
      method: 'GET',
      path: '/v3/:project_id/vaults/external',
      access: { kind: 'project', action: 'cbr:vaults:list' },
      summary: 'List vaults of another region',
      schemas: { query: ListExternalVaultsQuery, response: { 200: ListVaultsAnswer } },
      async handle(call) {
        const { views, count, limit, offset } = await listExternalVaults(deps, projectOf(call).id, call.query)
        return ok({ vaults: views.map(vaultToWire), count, limit, offset })
      },
    }),
    listRoute({
      operationId: 'showStorageUsage',
      path: '/v3/:project_id/storage_usage',
      access: { kind: 'project', action: 'cbr:vaults:list' },
      summary: 'Show what the backups of each resource take up',
      schemas: { query: ListStorageUsageQuery, response: { 200: ListStorageUsageAnswer } },
      async list({ projectId, query }) {
        const { rows, count } = await listStorageUsage(deps.reads, projectId, query)
        return ok({ resource_count: count, storage_usage: rows })
      },
    }),
    route({
      operationId: 'showVault',
      method: 'GET',
      path: '/v3/:project_id/vaults/:vault_id',
      access: { kind: 'project', action: 'cbr:vaults:get' },
      summary: 'Show a vault',
      schemas: { params: VaultParams, response: { 200: VaultAnswer } },
      async handle(call) {
        return ok({ vault: vaultToWire(await showVault(deps.db, projectOf(call).id, call.params.vault_id)) })
      },
    }),
    route({
      operationId: 'updateVault',
      method: 'PUT',
      path: '/v3/:project_id/vaults/:vault_id',
      access: { kind: 'project', action: 'cbr:vaults:update' },
      summary: 'Change a vault',
      schemas: { params: VaultParams, body: UpdateVaultBody, response: { 200: VaultAnswer } },
      async handle(call) {
        return ok({ vault: vaultToWire(await updateVault(deps, projectOf(call).id, call.params.vault_id, call.body.vault)) })
      },
    }),
    route({
      operationId: 'deleteVault',
      method: 'DELETE',
      path: '/v3/:project_id/vaults/:vault_id',
      access: { kind: 'project', action: 'cbr:vaults:delete' },
      summary: 'Delete a vault with all its backups, in the background',
      schemas: { params: VaultParams },
      async handle(call) {
        await deleteVault(deps, callerOf(call), call.params.vault_id)
        return noContent
      },
    }),
    route({
      operationId: 'showRecoveryKit',
      // It hands out the vault's password.
      audited: true,
      method: 'GET',
      path: '/x/v1/:project_id/vaults/:vault_id/recovery-kit',
      access: { kind: 'project', action: 'cbr:vaults:getRecoveryKit' },
      summary: 'Show what stock restic needs to open the vault',
      schemas: { params: VaultParams, response: { 200: RecoveryKitAnswer } },
      async handle(call) {
        const kit = await showRecoveryKit(deps, projectOf(call).id, call.params.vault_id)
        return { status: 200, body: { recovery_kit: kit }, headers: { 'cache-control': 'no-store' } }
      },
    }),
  ]
}

function vaultResourceRoutes(deps: Deps): Route[] {
  return [
    route({
      operationId: 'addVaultResource',
      method: 'POST',
      path: '/v3/:project_id/vaults/:vault_id/addresources',
      access: { kind: 'project', action: 'cbr:vaults:addResources' },
      summary: 'Associate resources with a vault',
      schemas: { params: VaultParams, body: AddResourcesBody, response: { 200: AddResourcesAnswer } },
      async handle(call) {
        return ok({ add_resource_ids: await addResources(deps, projectOf(call).id, call.params.vault_id, call.body) })
      },
    }),
    route({
      operationId: 'setVaultResource',
      method: 'PUT',
      path: '/v3/:project_id/vaults/:vault_id/set-resources',
      access: { kind: 'project', action: 'cbr:vaults:update' },
      summary: 'Leave resources out of scheduled runs, or put them in again',
      schemas: { params: VaultParams, body: SetResourcesBody, response: { 200: SetResourcesAnswer } },
      async handle(call) {
        return ok({ set_resource_ids: await setResources(deps, projectOf(call).id, call.params.vault_id, call.body) })
      },
    }),
    route({
      operationId: 'migrateVaultResource',
      method: 'POST',
      path: '/v3/:project_id/vaults/:vault_id/migrateresources',
      access: { kind: 'project', action: 'cbr:vaults:migrateResources' },
      summary: 'Move resources with their backups to another vault, in the background',
      schemas: { params: VaultParams, body: MigrateResourcesBody, response: { 200: MigrateResourcesAnswer } },
      async handle(call) {
        return ok({ migrated_resources: await migrateResources(deps, callerOf(call), call.params.vault_id, call.body) })
      },
    }),
    route({
      operationId: 'removeVaultResource',
      method: 'POST',
      path: '/v3/:project_id/vaults/:vault_id/removeresources',
      access: { kind: 'project', action: 'cbr:vaults:removeResources' },
      summary: 'Take resources out of a vault and delete their backups in it, in the background',
      schemas: { params: VaultParams, body: RemoveResourcesBody, response: { 200: RemoveResourcesAnswer } },
      async handle(call) {
        return ok({ remove_resource_ids: await removeResources(deps, callerOf(call), call.params.vault_id, call.body) })
      },
    }),
  ]
}
