/** What the audit trail is told of a call: never a header that proves something, and nothing of the body but ids that were made. */
import { parseAuthorization, type AuditCredential, type AuditRecord } from '@opencbr/contract'
import { boundAuditText, type AuditEntry } from '../audit/index.ts'
import type { Micros } from '../clock.ts'
import type { Identity } from '../identity/index.ts'
import type { Answer, Route } from './route.ts'

/** Whether a call of this operation is recorded also when it was not denied. */
export function isAudited({ audited, method }: Pick<Route, 'audited' | 'method'>): boolean {
  return audited ?? (method !== 'GET' && method !== 'HEAD')
}

export interface AuditedCall {
  readonly requestId: string
  readonly calledAt: Micros
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly address: string
  readonly params: Readonly<Record<string, string>>
}

export function entryOf(route: Route, call: AuditedCall, identity: Identity | undefined): AuditEntry {
  const { access } = route
  return {
    requestId: call.requestId,
    calledAt: call.calledAt,
    operation: route.operationId,
    action: 'action' in access ? access.action : null,
    user: identity === undefined ? null : { id: identity.user.id, name: boundAuditText(identity.user.name), domainId: identity.domain.id },
    // A project sees what is done in it. What is denied to others, or done to the domain, is none of its business.
    projectId: access.kind === 'project' && access.inDomain !== true && identity?.project?.id === call.params['project_id'] ? identity?.project?.id ?? null : null,
    ...credentialOf(route, call.headers, identity),
    address: boundAuditText(call.address),
    targets: Object.entries(call.params).map(([name, id]) => ({ type: name, id: boundAuditText(id) })),
  }
}

function credentialOf(
  { access }: Route, headers: AuditedCall['headers'], identity: Identity | undefined,
): { credential: AuditCredential, accessKey: string | null } {
  if (access.kind === 'public') return { credential: 'none', accessKey: null }
  const { 'x-auth-token': token, authorization } = headers
  if (typeof token === 'string' && token !== '') return { credential: 'token', accessKey: null }
  const parsed = typeof authorization === 'string' ? parseAuthorization(authorization) : undefined
  if (parsed === undefined || 'refused' in parsed) return { credential: 'none', accessKey: null }
  return {
    credential: identity?.isTemporary === true || headers['x-security-token'] !== undefined ? 'temporary_key' : 'access_key',
    // Somebody may have put the secret there by mistake.
    accessKey: /^[A-Z0-9]{1,64}$/.test(parsed.accessKey) ? parsed.accessKey : null,
  }
}

const TARGETS_MAX = 50

/** The ids of what an answer is about: `{"vault": {"id": …}}`, `{"job_id": …}`, `{"access_key": {"access_key": …}}`. */
export function targetsOfAnswer({ body }: Pick<Answer, 'body'>): AuditRecord['targets'] {
  if (typeof body !== 'object' || body === null || Buffer.isBuffer(body)) return []
  const found = Object.entries(body).flatMap(([name, value]: [string, unknown]) => {
    if (typeof value === 'string') return name.endsWith('_id') ? [{ type: name, id: value }] : []
    return (Array.isArray(value) ? value : [value]).flatMap((each: unknown) => {
      if (typeof each !== 'object' || each === null) return []
      const id: unknown = 'id' in each ? each.id : name === 'access_key' && 'access_key' in each ? each.access_key : undefined
      return typeof id === 'string' ? [{ type: `${name}_id`, id }] : []
    })
  })
  return found.slice(0, TARGETS_MAX).map(({ type, id }) => ({ type: boundAuditText(type), id: boundAuditText(id) }))
}

/** Without saying the same thing twice: the path's vault is the answer's, too. */
export function joinTargets(first: AuditRecord['targets'], more: AuditRecord['targets']): AuditRecord['targets'] {
  return [...first, ...more.filter(({ id }) => !first.some((each) => each.id === id))].slice(0, TARGETS_MAX)
}
