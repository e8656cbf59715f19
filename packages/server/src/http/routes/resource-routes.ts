import { DeclareResourceBody, ListResourcesAnswer, ListResourcesQuery, ResourceAnswer, ResourceParams, TagResourceBody } from '@opencbr/contract'
import type { Deps } from '../../deps.ts'
import { declareResource, deleteResource, listResources, resourceToWire, showResource, tagResource } from '../../resources/index.ts'
import { noContent, ok, projectOf, route, type Route } from '../route.ts'

export function resourceRoutes(deps: Pick<Deps, 'db' | 'clock' | 'config'>): Route[] {
  return [
    route({
      operationId: 'declareResource',
      method: 'POST',
      path: '/x/v1/:project_id/resources',
      access: { kind: 'project', action: 'cbr:resources:create' },
      summary: 'Declare a path as something that may be protected',
      schemas: { body: DeclareResourceBody, response: { 201: ResourceAnswer } },
      async handle(call) {
        const row = await declareResource(deps, projectOf(call).id, call.body.resource)
        return { status: 201, body: { resource: resourceToWire(row) } }
      },
    }),
    route({
      operationId: 'listResources',
      method: 'GET',
      path: '/x/v1/:project_id/resources',
      access: { kind: 'project', action: 'cbr:resources:list' },
      summary: 'List declared resources',
      schemas: { query: ListResourcesQuery, response: { 200: ListResourcesAnswer } },
      async handle(call) {
        const { rows, count, limit, offset } = await listResources(deps.db, projectOf(call).id, call.query)
        return ok({ resources: rows.map(resourceToWire), count, limit, offset })
      },
    }),
    route({
      operationId: 'showResource',
      method: 'GET',
      path: '/x/v1/:project_id/resources/:resource_id',
      access: { kind: 'project', action: 'cbr:resources:get' },
      summary: 'Show a declared resource',
      schemas: { params: ResourceParams, response: { 200: ResourceAnswer } },
      async handle(call) {
        return ok({ resource: resourceToWire(await showResource(deps.db, projectOf(call).id, call.params.resource_id)) })
      },
    }),
    route({
      operationId: 'tagResource',
      method: 'PUT',
      path: '/x/v1/:project_id/resources/:resource_id/tags',
      access: { kind: 'project', action: 'cbr:resources:update' },
      summary: 'Give a declared resource other tags',
      schemas: { params: ResourceParams, body: TagResourceBody, response: { 200: ResourceAnswer } },
      async handle(call) {
        return ok({ resource: resourceToWire(await tagResource(deps, projectOf(call).id, call.params.resource_id, call.body)) })
      },
    }),
    route({
      operationId: 'deleteResource',
      method: 'DELETE',
      path: '/x/v1/:project_id/resources/:resource_id',
      access: { kind: 'project', action: 'cbr:resources:delete' },
      summary: 'Forget a declared resource',
      schemas: { params: ResourceParams },
      async handle(call) {
        await deleteResource(deps, projectOf(call).id, call.params.resource_id)
        return noContent
      },
    }),
  ]
}
