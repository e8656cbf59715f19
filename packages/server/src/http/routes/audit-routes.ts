import { ListAllAuditAnswer, ListAllAuditQuery, ListAuditAnswer, ListAuditQuery } from '@opencbr/contract'
import { listAllAudit, listAudit } from '../../audit/index.ts'
import type { Deps } from '../../deps.ts'
import { administrationOf } from '../../identity/index.ts'
import { identityOf, ok, projectOf, route, type Route } from '../route.ts'

const ADMINISTRATION = 'identity:audit:list'

export function auditRoutes(deps: Pick<Deps, 'db' | 'secrets'>): Route[] {
  return [
    route({
      operationId: 'listAudit',
      method: 'GET',
      path: '/x/v1/:project_id/audit',
      access: { kind: 'project', action: 'cbr:audit:list' },
      summary: 'List changes in the project and denied calls of its users',
      schemas: { query: ListAuditQuery, response: { 200: ListAuditAnswer } },
      handle: async (call) => ok(await listAudit(deps, projectOf(call).id, call.query)),
    }),
    route({
      operationId: 'listAllAudit',
      method: 'GET',
      path: '/x/v1/audit',
      access: { kind: 'administration', action: ADMINISTRATION },
      errors: 'identity',
      summary: 'List changes and denied calls in the domain, or everywhere',
      schemas: { query: ListAllAuditQuery, response: { 200: ListAllAuditAnswer } },
      async handle(call) {
        const identity = identityOf(call)
        const domainId = administrationOf(identity, ADMINISTRATION) === 'system' ? undefined : identity.domain.id
        return ok(await listAllAudit(deps, domainId, call.query))
      },
    }),
  ]
}
