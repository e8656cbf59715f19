import { Type } from 'typebox'
import type { Deps } from '../../deps.ts'
import { makeOpenApi } from '../openapi.ts'
import { ok, route, type Route } from '../route.ts'

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

/** The description of all other operations. */
export function openApiRoute(routes: readonly Route[]): Route {
  return route({
    operationId: 'showOpenApi',
    method: 'GET',
    path: '/openapi.json',
    access: { kind: 'public' },
    summary: 'Describes every operation as OpenAPI 3.1.',
    schemas: { response: { 200: Type.Object({ openapi: Type.String(), paths: Type.Object({}) }) } },
    handle: async (call) => ok(makeOpenApi(routes, call.origin)),
  })
}
