/**
 * Every answer that a test sees is held against what the operation declares: a wire form that drifts
 * from the contract fails whichever test meets it first.
 */
import { findMisfit, type Route } from '@opencbr/server'

export interface SeenAnswer {
  readonly method: string
  /** Path and query as they were called. */
  readonly target: string
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
}

const SERVICE_CODE = /^(?:BackupService|APIGW)\.\d{4}$/

/** Throws when an answer is not of the form that its operation declares. */
export function checkAnswer(routes: readonly Route[], answer: SeenAnswer): void {
  const what = `${answer.method} ${answer.target} answered ${answer.status}`
  if (!/^[0-9a-f]{32}$/.test(answer.headers.get('x-request-id') ?? '')) throw new Error(`${what} without a request id`)
  if (answer.status >= 500) throw new Error(`${what}: ${JSON.stringify(answer.body)}`)
  const route = findRoute(routes, answer.method, answer.target.split('?')[0] ?? '')
  if (answer.status >= 400) {
    if (answer.method !== 'HEAD') checkError(what, route, answer.body)
    return
  }
  if (route === undefined) throw new Error(`${what}, but no operation has this path`)
  const schema = route.schemas.response?.[answer.status]
  if (schema === undefined) {
    if (answer.body !== undefined) throw new Error(`${what} with a body, but ${route.operationId} declares none for it`)
    return
  }
  const misfit = findMisfit(schema, answer.body)
  if (misfit !== undefined) throw new Error(`${what}, and ${misfit.field} is not as ${route.operationId} declares: ${misfit.reason}`)
}

function checkError(what: string, route: Route | undefined, body: unknown): void {
  const { error, error_code: code, error_msg: message } = body as { error?: { code: unknown, message: unknown }, error_code?: unknown, error_msg?: unknown }
  const isGood = route?.errors === 'identity'
    ? typeof error?.code === 'number' && typeof error.message === 'string'
    : typeof code === 'string' && SERVICE_CODE.test(code) && typeof message === 'string' && message !== ''
  if (!isGood) throw new Error(`${what} with a body that is no error of the contract: ${JSON.stringify(body)}`)
}

function findRoute(routes: readonly Route[], method: string, path: string): Route | undefined {
  const parts = path.split('/').filter((part) => part !== '')
  const fits = (pattern: string): boolean => {
    const wanted = pattern.split('/').filter((part) => part !== '')
    return wanted.length === parts.length && wanted.every((part, place) => part.startsWith(':') || part === parts[place])
  }
  const candidates = routes.filter((each) => each.method === method && [each.path, ...each.alsoAt ?? []].some(fits))
  // A fixed part comes before a parameter in the same place, as in the router.
  return candidates.toSorted((a, b) => a.path.split(':').length - b.path.split(':').length)[0]
}
