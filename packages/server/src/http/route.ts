/**
 * How an operation of the API is declared: its path, its action, its schemas, and one function.
 * `http/app.ts` is the one place that authenticates, authorizes, validates and answers; a route only
 * translates between the wire and a verb.
 */
import type { Readable } from 'node:stream'
import type { Static, TObject, TSchema } from 'typebox'
import type { AuditCredential } from '@opencbr/contract'
import type { Identity } from '../identity/identity.ts'
import type { ProjectId } from '../ids.ts'
import type { NamedUser } from '../identity/index.ts'

/**
 * Who may call: anyone, any authenticated identity, one that may do the action to its domain or the
 * system, or one of the path's project with the action.
 */
export type Access =
  | { readonly kind: 'public' }
  | { readonly kind: 'authenticated' }
  | { readonly kind: 'administration', readonly action: string }
  /** `inDomain`: the path names a project, and the action works on all of its domain, so the caller needs it there too. */
  | { readonly kind: 'project', readonly action: string, readonly inDomain?: true }

export interface Answer {
  readonly status: number
  /** Absent for 204. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as it is, in the place of a body; the headers say what it is. It is destroyed when the client goes away. */
  readonly stream?: Readable
  /** Who turned out to call an operation that anybody may call; for the audit trail. */
  readonly caller?: { readonly user: NamedUser, readonly projectId: string | null, readonly credential: AuditCredential }
}

export interface Call<Params, Query, Body> {
  readonly params: Params
  readonly query: Query
  readonly body: Body
  /** Undefined only for public operations. */
  readonly identity: Identity | undefined
  readonly requestId: string
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** The address that the client used: `http://127.0.0.1:8776`. */
  readonly origin: string
  /** From where the call comes: an IP address. */
  readonly address: string
}

/** What the short way knows of a call (`http/quick-answers.ts`). */
export interface ListCall<Query> {
  readonly projectId: ProjectId
  readonly query: Query
  /** Lower-case names. */
  readonly headers: Call<unknown, unknown, unknown>['headers']
  /** Of the project's listings of backups, when that has been read for this call. */
  readonly backupsRevision?: number
}

export interface RouteSchemas<Params extends TObject, Query extends TObject, Body extends TSchema> {
  readonly params?: Params
  readonly query?: Query
  readonly body?: Body
  readonly response?: Readonly<Record<number, TSchema>>
}

export interface Route {
  readonly operationId: string
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'HEAD'
  /** `/v3/:project_id/vaults/:vault_id`; names are the contract's. */
  readonly path: string
  /** Further paths of the same operation; documented under the first one only. */
  readonly alsoAt?: readonly string[]
  readonly access: Access
  /** Keystone's form of errors instead of the backup service's. */
  readonly errors?: 'identity'
  /** Whether the audit trail has calls that were not denied; when absent, those of methods that change something. */
  readonly audited?: boolean
  readonly summary: string
  readonly schemas: RouteSchemas<TObject, TObject, TSchema>
  readonly handle: (call: Call<never, never, never>) => Promise<Answer>
  /** What `handle` does, for lists of a project that look at nothing else of a call: it may be answered the short way. */
  readonly quick?: (call: ListCall<never>) => Promise<Answer>
}

interface RouteDeclaration<Params extends TObject, Query extends TObject, Body extends TSchema>
  extends Omit<Route, 'schemas' | 'handle' | 'quick'> {
  readonly schemas: RouteSchemas<Params, Query, Body>
  readonly handle: (call: Call<Static<Params>, Static<Query>, Static<Body>>) => Promise<Answer>
}

/** Declares an operation; `handle` sees params, query and body already validated and typed. */
export function route<
  Params extends TObject = TObject, Query extends TObject = TObject, Body extends TSchema = TSchema,
>(declaration: RouteDeclaration<Params, Query, Body>): Route {
  return declaration
}

interface ListDeclaration<Query extends TObject> extends Omit<RouteDeclaration<TObject, Query, TSchema>, 'method' | 'handle'> {
  readonly access: { readonly kind: 'project', readonly action: string }
  readonly list: (call: ListCall<Static<Query>>) => Promise<Answer>
}

/** Declares a list of a project that only reads, and reads nothing but the catalogue. */
export function listRoute<Query extends TObject = TObject>({ list, ...declaration }: ListDeclaration<Query>): Route {
  return {
    ...declaration,
    method: 'GET',
    handle: (call: Call<never, never, never>) => list({ projectId: projectOf(call).id, query: call.query, headers: call.headers }),
    quick: list,
  }
}

export const ok = (body: unknown): Answer => ({ status: 200, body })
export const accepted = (body: unknown): Answer => ({ status: 202, body })
export const noContent: Answer = { status: 204 }

/**
 * A body with an entity tag; without the body when the client has it already. The tag is a weak one:
 * compressed or not, it is the same answer.
 */
export function okTagged(body: unknown, tag: string, { headers }: Pick<ListCall<unknown>, 'headers'>): Answer {
  const etag = `W/"${tag}"`
  const known = headers['if-none-match']
  const isKnown = typeof known === 'string' && (known.trim() === '*' || known.split(',').some((each) => each.trim().replace(/^W\//, '') === `"${tag}"`))
  // Whoever keeps the answer asks each time whether it still holds.
  const cacheHeaders = { etag, 'cache-control': 'private, no-cache' }
  return isKnown ? { status: 304, headers: cacheHeaders } : { status: 200, body, headers: cacheHeaders }
}

/** The path's project, of an identity that `http/app.ts` has checked. */
export function projectOf(call: Call<unknown, unknown, unknown>): NonNullable<Identity['project']> {
  const project = call.identity?.project
  if (project === undefined) throw new TypeError('a project route was called without a project')
  return project
}

/** Who calls an operation that is not public. */
export function identityOf(call: Call<unknown, unknown, unknown>): Identity {
  if (call.identity === undefined) throw new TypeError('an authenticated route was called without an identity')
  return call.identity
}
