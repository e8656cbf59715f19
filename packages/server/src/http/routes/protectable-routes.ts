import {
  ListProtectablesAnswer, ListProtectablesParams, ListProtectablesQuery, ShowProtectableAnswer, ShowProtectableParams,
} from '@opencbr/contract'
import type { Deps } from '../../deps.ts'
import { listProtectables, protectableToWire, showProtectable } from '../../protectables/index.ts'
import { ok, projectOf, route, type Route } from '../route.ts'

export function protectableRoutes({ db }: Pick<Deps, 'db'>): Route[] {
  return [
    route({
      operationId: 'listProtectable',
      method: 'GET',
      path: '/v3/:project_id/protectables/:protectable_type/instances',
      access: { kind: 'project', action: 'cbr:vaults:listProtectables' },
      summary: 'List resources that can be protected',
      schemas: { params: ListProtectablesParams, query: ListProtectablesQuery, response: { 200: ListProtectablesAnswer } },
      async handle(call) {
        const { views, count } = await listProtectables(db, projectOf(call).id, call.params.protectable_type, call.query)
        return ok({ instances: views.map(protectableToWire), count })
      },
    }),
    route({
      operationId: 'showProtectable',
      method: 'GET',
      path: '/v3/:project_id/protectables/:protectable_type/instances/:instance_id',
      access: { kind: 'project', action: 'cbr:vaults:getProtectables' },
      summary: 'Show a resource that can be protected',
      schemas: { params: ShowProtectableParams, response: { 200: ShowProtectableAnswer } },
      async handle(call) {
        const { protectable_type: family, instance_id: id } = call.params
        return ok({ instance: protectableToWire(await showProtectable(db, projectOf(call).id, family, id)) })
      },
    }),
  ]
}
