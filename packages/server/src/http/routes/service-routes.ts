import type { Deps } from '../../deps.ts'
import { ok, route, type Route } from '../route.ts'
import { Type } from 'typebox'

/** What belongs to no noun: whether the server is ready. */
export function serviceRoutes({ db }: Pick<Deps, 'db'>): Route[] {
  return [
    route({
      operationId: 'showHealth',
      method: 'GET',
      path: '/healthz',
      access: { kind: 'public' },
      summary: 'Answers 200 while the server can serve calls.',
      schemas: { response: { 200: Type.Object({ status: Type.Literal('ready') }) } },
      async handle() {
        await db.selectFrom('domains').select('id').limit(1).execute()
        return ok({ status: 'ready' })
      },
    }),
  ]
}
