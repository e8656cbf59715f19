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

const NO_OLDER_SERVICE = 'there is no older service to move from'

function of(reason: string, ...operations: readonly (readonly [string, Route['method'], string])[]): UnsupportedOperation[] {
  return operations.map(([operationId, method, path]) => ({ operationId, method, path, reason }))
}

export const unsupportedOperations: readonly UnsupportedOperation[] = [
  ...of(NO_OLDER_SERVICE,
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
