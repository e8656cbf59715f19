import { ListEventsAnswer, ListEventsQuery } from '@opencbr/contract'
import type { Deps } from '../../deps.ts'
import { eventToWire, listEvents } from '../../events/index.ts'
import { ok, projectOf, route, type Route } from '../route.ts'

export function eventRoutes({ db }: Pick<Deps, 'db'>): Route[] {
  return [
    route({
      operationId: 'listEvents',
      method: 'GET',
      path: '/x/v1/:project_id/events',
      access: { kind: 'project', action: 'cbr:events:list' },
      summary: 'List what happened by itself',
      schemas: { query: ListEventsQuery, response: { 200: ListEventsAnswer } },
      async handle(call) {
        const { rows, count, limit, offset } = await listEvents(db, projectOf(call).id, call.query)
        return ok({ events: rows.map(eventToWire), count, limit, offset })
      },
    }),
  ]
}
