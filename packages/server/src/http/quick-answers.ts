/**
 * The short way for calls that tools repeat all day: lists of a project, asked for with a token that was good a moment ago. It makes the
 * same checks as `http/app.ts`, in the same order, but without the framework, which costs several times as much as such
 * an answer.
 *
 * It answers only what it can surely answer, with 200 or 304. Everything else (other operations, credentials, refusals,
 * failures, whatever the audit trail must know) it leaves, untouched, to the framework, which begins again from the request. So there is
 * one place that refuses, and one that records.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { parse as parseQuery } from 'fast-querystring'
import type { ReadRevisions } from '../db/revisions.ts'
import { enterpriseProjectsFor, mayInProject, type Identity } from '../identity/index.ts'
import type { ProjectId } from '../ids.ts'
import { bytesOf, takeCompressed } from './answer-bytes.ts'
import { chooseEncoding } from './compression.ts'
import { parseText } from './parse-input.ts'
import { newRequestId } from './request-id.ts'
import type { Answer, ListCall, Route } from './route.ts'

export interface QuickOptions {
  readonly routes: readonly Route[]
  readonly readRevisions: ReadRevisions
  /** Whom a token stands for, when that has been found out at this revision of identities and the token has not ended. */
  readonly recallToken: (token: string, identityRevision: number) => Identity | undefined
  /** Whether the server takes calls. */
  readonly isOpen: () => boolean
  /** Whether an address is that of a proxy that is believed. */
  readonly isTrusted: (address: string) => boolean
}

/** Answers, or lets `otherwise` do it. */
export type QuickAnswers = (otherwise: RequestListener) => RequestListener

type QuickRoute = Route & { readonly quick: NonNullable<Route['quick']>, readonly access: { readonly kind: 'project', readonly action: string } }

/** A request line that has been read. */
interface Target {
  readonly route: QuickRoute
  readonly projectId: ProjectId
  readonly query: unknown
}

/** Longer ones are rare, and would make the memory of targets large. */
const TARGET_LENGTH_MAX = 1000
const TARGETS_KEPT_MAX = 5000

export function openQuickAnswers({ routes, readRevisions, recallToken, isOpen, isTrusted }: QuickOptions): QuickAnswers {
  const byName = new Map(routes.flatMap((route) => {
    const name = LIST_PATH.exec(route.path)?.[1]
    return name === undefined || !isQuick(route) ? [] : [[name, route] as const]
  }))
  const known = new Map<string, Target>()

  /** Undefined for what is not answered here. Texts repeat: tools ask for the same page, or go through the same pages. */
  function readTarget(text: string): Target | undefined {
    const found = known.get(text)
    if (found !== undefined) return found
    const [, projectId, name = '', search = ''] = text.length > TARGET_LENGTH_MAX ? [] : TARGET.exec(text) ?? []
    const route = byName.get(name)
    if (route === undefined) return undefined
    const { query: schema } = route.schemas
    const query = schema === undefined ? {} : parseText(schema, parseQuery(search))
    const target = { route, projectId: projectId as ProjectId, query }
    if (known.size >= TARGETS_KEPT_MAX) known.clear()
    known.set(text, target)
    return target
  }

  async function tryAnswer(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const { headers } = request
    const token = headers['x-auth-token']
    if (request.method !== 'GET' || typeof token !== 'string' || token === '' || !isOpen()) return false
    // A body would have to be read first. Who announces it with Expect sends one.
    if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) return false
    const target = readTarget(request.url ?? '')
    if (target === undefined) return false
    const { route, projectId, query } = target
    // Before all else that is read: what changes in between makes what was remembered old at once.
    const read = readRevisions(projectId)
    const revisions = read instanceof Promise ? await read : read
    const identity = recallToken(token, revisions.identity)
    if (identity === undefined || identity.project?.id !== projectId || !mayAll(identity, route.access.action)) return false
    const answer = await route.quick({ projectId, query, headers, backupsRevision: revisions.backups } as ListCall<never>)
    if (answer.status !== 200 && answer.status !== 304) return false
    await send(request, response, answer)
    return true
  }

  function isSecure({ headers, socket }: IncomingMessage): boolean {
    const forwarded = headers['x-forwarded-proto']
    if (typeof forwarded !== 'string' || !isTrusted(socket.remoteAddress ?? '')) return (socket as Partial<TLSSocket>).encrypted === true
    return forwarded.slice(forwarded.lastIndexOf(',') + 1).trim() === 'https'
  }

  async function send(request: IncomingMessage, response: ServerResponse, { status, body, headers = {} }: Answer): Promise<void> {
    const lines = ['x-request-id', newRequestId(), 'x-content-type-options', 'nosniff']
    if (isSecure(request)) lines.push('strict-transport-security', 'max-age=31536000')
    for (const name in headers) lines.push(name, headers[name] ?? '')
    if (body === undefined) {
      response.writeHead(status, lines).end()
      return
    }
    let bytes = bytesOf(body)
    lines.push('content-type', 'application/json; charset=utf-8')
    const encoding = chooseEncoding(request.headers['accept-encoding'], bytes.byteLength)
    if (encoding !== undefined) {
      bytes = await takeCompressed(encoding, bytes)
      lines.push('content-encoding', encoding, 'vary', 'accept-encoding')
    }
    lines.push('content-length', String(bytes.byteLength))
    response.writeHead(status, lines)
    if (bytes instanceof Uint8Array) {
      response.end(bytes)
      return
    }
    response.cork()
    for (const piece of bytes.pieces) response.write(piece)
    response.once('close', () => bytes.letGo()).end()
  }

  return (otherwise) => (request, response) => {
    tryAnswer(request, response).then((isAnswered) => {
      if (!isAnswered) otherwise(request, response)
    }, () => otherwise(request, response))
  }
}

const LIST_PATH = /^\/v3\/:project_id\/([a-z_-]+)$/
/** Nothing in the path needs to be decoded; a query that ends elsewhere than with the line is for the framework to judge. */
const TARGET = /^\/v3\/([0-9a-f]{32})\/([a-z_-]+)(?:\?([^#]*))?$/

function isQuick(route: Route): route is QuickRoute {
  return route.quick !== undefined && route.access.kind === 'project' && route.access.inDomain !== true
}

const allowed = new WeakMap<Identity, Map<string, boolean>>()

/** Whether an identity may do this in all of its project; where it may in parts of it only, `http/app.ts` narrows the call. */
function mayAll(identity: Identity, action: string): boolean {
  let known = allowed.get(identity)
  if (known === undefined) allowed.set(identity, known = new Map())
  let may = known.get(action)
  if (may === undefined) known.set(action, may = mayInProject(identity, action) && enterpriseProjectsFor(identity, action) === undefined)
  return may
}
