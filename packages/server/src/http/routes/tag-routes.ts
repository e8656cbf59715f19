import {
  BatchVaultTagsBody, CreateVaultTagBody, FindVaultsByTagsAnswer, FindVaultsByTagsBody, FindVaultsByTagsQuery, ListProjectTagsAnswer,
  ListVaultTagsAnswer, VaultParams, VaultTagParams,
} from '@opencbr/contract'
import type { Deps } from '../../deps.ts'
import { changeTags, createTag, deleteTag, findVaultsByTags, listProjectTags, listVaultTags } from '../../tags/index.ts'
import { vaultToWire } from '../../vaults/index.ts'
import { noContent, ok, projectOf, route, type Route } from '../route.ts'

export function tagRoutes(deps: Deps): Route[] {
  return [
    route({
      operationId: 'showVaultTag',
      method: 'GET',
      path: '/v3/:project_id/vault/:vault_id/tags',
      access: { kind: 'project', action: 'cbr:vaults:getTags' },
      summary: 'List tags of a vault',
      schemas: { params: VaultParams, response: { 200: ListVaultTagsAnswer } },
      async handle(call) {
        return ok({ tags: await listVaultTags(deps.db, projectOf(call).id, call.params.vault_id), sys_tags: [] })
      },
    }),
    route({
      operationId: 'createVaultTags',
      method: 'POST',
      path: '/v3/:project_id/vault/:vault_id/tags',
      access: { kind: 'project', action: 'cbr:vaults:setTags' },
      summary: 'Set a tag of a vault',
      schemas: { params: VaultParams, body: CreateVaultTagBody },
      async handle(call) {
        await createTag(deps, projectOf(call).id, call.params.vault_id, call.body)
        return noContent
      },
    }),
    route({
      operationId: 'deleteVaultTag',
      method: 'DELETE',
      path: '/v3/:project_id/vault/:vault_id/tags/:key',
      access: { kind: 'project', action: 'cbr:vaults:deleteTags' },
      summary: 'Delete a tag of a vault',
      schemas: { params: VaultTagParams },
      async handle(call) {
        await deleteTag(deps, projectOf(call).id, call.params.vault_id, call.params.key)
        return noContent
      },
    }),
    route({
      operationId: 'batchCreateAndDeleteVaultTags',
      method: 'POST',
      path: '/v3/:project_id/vault/:vault_id/tags/action',
      access: { kind: 'project', action: 'cbr:vaults:bulkCreateOrDeleteTags' },
      summary: 'Set or delete several tags of a vault',
      schemas: { params: VaultParams, body: BatchVaultTagsBody },
      async handle(call) {
        await changeTags(deps, projectOf(call).id, call.params.vault_id, call.body)
        return noContent
      },
    }),
    route({
      operationId: 'showVaultProjectTag',
      method: 'GET',
      path: '/v3/:project_id/vault/tags',
      access: { kind: 'project', action: 'cbr:vaults:listProjectTags' },
      summary: 'List tags of all vaults',
      schemas: { response: { 200: ListProjectTagsAnswer } },
      async handle(call) {
        return ok({ tags: await listProjectTags(deps.db, projectOf(call).id) })
      },
    }),
    route({
      operationId: 'showVaultResourceInstances',
      audited: false,
      method: 'POST',
      path: '/v3/:project_id/vault/resource_instances/action',
      access: { kind: 'project', action: 'cbr:vaults:listResourceInstances' },
      summary: 'Find vaults by tags',
      schemas: { query: FindVaultsByTagsQuery, body: FindVaultsByTagsBody, response: { 200: FindVaultsByTagsAnswer } },
      async handle(call) {
        const { views, count } = await findVaultsByTags(deps.db, projectOf(call).id, call.body, call.query.enterprise_project_id)
        if (views === undefined) return ok({ total_count: count })
        const resources = views.map((view) => ({
          resource_id: view.vault.id, resource_name: view.vault.name, resource_detail: { vault: vaultToWire(view) }, tags: view.tags, sys_tags: [],
        }))
        return ok({ resources, total_count: count })
      },
    }),
  ]
}
