/**
 * The HTTP edge, and the only place that authenticates, authorizes, validates and turns failures
 * into answers. Order for every call: read the raw body, authenticate (signatures cover the raw
 * bytes), match the path's project, check the action, validate, handle.
 */
import { STATUS_CODES, type RequestListener, type Server } from 'node:http'
import type { Socket } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type HTTPMethods } from 'fastify'
import { outcomeOf, type Audit, type AuditEntry, type EndedAuditEntry } from '../audit/index.ts'
import type { Clock } from '../clock.ts'
import { isOutage } from '../db/outage.ts'
import { narrowEnterpriseProjects } from '../enterprise-projects.ts'
import { Failure, failures } from '../failures.ts'
import { administrationOf, enterpriseProjectsFor, IdentityFailure, mayInProject, type ConfinedCall, type Identity, type Refused, type SignedRequest } from '../identity/index.ts'
import { bytesOf, takeCompressed, takeInOnePiece } from './answer-bytes.ts'
import { entryOf, isAudited, joinTargets, targetsOfAnswer, type AuditedCall } from './audit-call.ts'
import { chooseEncoding } from './compression.ts'
import { parseBody, parseText, withoutNulls } from './parse-input.ts'
import type { QuickAnswers } from './quick-answers.ts'
import { GatewayRefusal, notPermitted } from './refusal.ts'
import { newRequestId } from './request-id.ts'
import type { Answer, Call, Route } from './route.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    errors?: Route['errors'] | undefined
  }
}

export const BODY_BYTES_MAX = 1024 * 1024

/** Answers who calls, or why the credentials are refused. */
export type Authenticate = (request: SignedRequest) => Promise<Identity | Refused>

export interface AppOptions {
  readonly routes: readonly Route[]
  readonly authenticate: Authenticate
  /** Judges a call of somebody who sees only some enterprise projects; false: it cannot be confined to them. */
  readonly confine: (seen: ReadonlySet<string>, call: ConfinedCall) => Promise<boolean>
  readonly audit: Pick<Audit, 'begin' | 'record'>
  readonly clock: Clock
  readonly makeServer: (handler: RequestListener) => Server
  /** Whether an address is that of a proxy that is believed about whom it speaks for. */
  readonly isTrusted: (address: string) => boolean
  /** Answers some calls without the framework. */
  readonly quick: QuickAnswers | undefined
  /** Why the server takes no calls any more, for whoever calls; undefined while it does. */
  readonly refusal?: () => string | undefined
  /** 'silent' in tests; fastify's logger writes structured lines to stderr. */
  readonly logLevel: string
}

/** When a call that found the server unavailable is worth another try. */
const RETRY_AFTER_SECONDS = 5

export function createApp(options: AppOptions): FastifyInstance {
  const app = Fastify({
    serverFactory: (handler) => options.makeServer(options.quick?.(handler as RequestListener) ?? handler as RequestListener),
    trustProxy: options.isTrusted,
    bodyLimit: BODY_BYTES_MAX,
    genReqId: newRequestId,
    logger: options.logLevel === 'silent' ? false : { level: options.logLevel, stream: process.stderr },
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 512 },
    // Every answer is written by this file; the framework neither validates nor serialises.
    exposeHeadRoutes: false,
    // Raised before any hook has run: a path that cannot be decoded.
    frameworkErrors: (error, request, reply) => {
      void reply.headers(securityHeaders(request))
      void sendFailure(error, request, reply)
    },
    clientErrorHandler: refuseUnparsed,
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.addHook('onRequest', async (request, reply) => {
    void reply.headers(securityHeaders(request))
  })
  app.setErrorHandler((error: Error, request, reply) => sendFailure(error, request, reply))
  app.setNotFoundHandler(async (request, reply) => {
    await sendFailure(new GatewayRefusal(404, 'APIGW.0101', 'The API does not exist: no operation has this method and path.'), request, reply)
  })
  for (const each of options.routes) {
    for (const url of [each.path, ...each.alsoAt ?? []]) {
      app.route({
        method: each.method as HTTPMethods,
        url,
        config: { errors: each.errors },
        handler: async (request, reply) => send(reply, await answer(each, options, request)),
      })
    }
  }
  return app
}

/**
 * Answers what is no HTTP, comes too slowly, or has a line or headers that are too long: there is no request yet, so
 * the answer is written as it is. Without this such answers had a form of the framework's own.
 */
function refuseUnparsed(error: Error & { code?: string }, socket: Socket & { _httpMessage?: { readonly headersSent: boolean } | null }): void {
  // The client has gone, or an earlier call of the connection is being answered: this would be read as a part of that.
  if (error.code === 'ECONNRESET' || !socket.writable || socket._httpMessage?.headersSent === true) {
    socket.destroy()
    return
  }
  const [status, message] = error.code === 'HPE_HEADER_OVERFLOW' ? [431, 'The address and the headers together are too long.']
    : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? [408, 'The request did not arrive in time.']
      : [400, 'The request is malformed as HTTP.']
  const requestId = newRequestId()
  const body = JSON.stringify({ error_code: 'APIGW.0106', error_msg: message, request_id: requestId })
  socket.write([
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`, `x-request-id: ${requestId}`, 'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`, 'connection: close', '', body,
  ].join('\r\n'))
  socket.destroySoon()
}

/** What every answer carries; an operation's own headers come later, and win. */
function securityHeaders(request: FastifyRequest): Record<string, string> {
  return {
    'x-request-id': request.id,
    'x-content-type-options': 'nosniff',
    // Identity answers hold tokens and keys, and say who may do what.
    ...(request.routeOptions.config?.errors === 'identity' ? { 'cache-control': 'no-store' } : {}),
    // Said over plain HTTP it would be ignored, and without TLS it would lock people out.
    ...(request.protocol === 'https' ? { 'strict-transport-security': 'max-age=31536000' } : {}),
  }
}

/** Carries a call out, and tells the audit trail: before it is let in, when it may change something, and before it is answered. */
async function answer(route: Route, options: AppOptions, request: FastifyRequest): Promise<Answer> {
  const { audit, clock, refusal } = options
  const refused = refusal?.()
  if (refused !== undefined) throw new GatewayRefusal(503, 'APIGW.0202', refused)
  const audited: AuditedCall = {
    requestId: request.id, calledAt: clock.now(), headers: request.headers, address: request.ip, params: request.params as Record<string, string>,
  }
  let entry = entryOf(route, audited, undefined)
  const watch: CallWatch = {
    authenticated: (identity) => {
      entry = entryOf(route, audited, identity)
    },
    async begins() {
      if (isAudited(route)) await audit.begin(entry)
    },
  }
  const end = async (ended: Pick<EndedAuditEntry, 'status' | 'errorCode'> & { readonly status: number } & Partial<AuditEntry>): Promise<void> => {
    const outcome = outcomeOf(ended.status)
    if (outcome !== 'denied' && !isAudited(route)) return
    await audit.record({ ...entry, ...ended, outcome }).catch((error: unknown) => {
      // The answer stays the true one; audit/open-audit.ts says what becomes of the record.
      request.log.error({ err: error, audit: { ...entry, ...ended } }, 'a call could not be recorded in the audit trail')
    })
  }
  try {
    const answered = await carryOut(route, options, request, watch)
    const { status, caller } = answered
    await end({ status, errorCode: null, targets: joinTargets(entry.targets, targetsOfAnswer(answered)), ...caller })
    return answered
  } catch (error) {
    const { status, code } = judgeError(error as Error)
    const user = error instanceof IdentityFailure ? error.triedUser : undefined
    await end({ status, errorCode: code === '' ? null : code, ...(user === undefined ? {} : { user, credential: 'password' }) })
    throw error
  }
}

/** Who looks on while a call is carried out. */
interface CallWatch {
  /** It is known who calls, and not yet whether it is allowed. */
  readonly authenticated: (identity: Identity) => void
  /** It is about to be carried out. */
  readonly begins: () => Promise<void>
}

async function carryOut(route: Route, { authenticate, confine }: AppOptions, request: FastifyRequest, watch: CallWatch): Promise<Answer> {
  const body = Buffer.isBuffer(request.body) ? request.body : await readUnparsedBody(request)
  const params = request.params as Record<string, string>
  const identity = await admit(route, authenticate, request, body, params, watch)
  const call = {
    params: route.schemas.params === undefined ? params : parseText(route.schemas.params, params),
    query: route.schemas.query === undefined ? {} : parseText(route.schemas.query, request.query as Record<string, unknown>),
    body: route.schemas.body === undefined ? undefined : parseBody(route.schemas.body, parseJson(body)),
    identity,
    requestId: request.id,
    headers: request.headers,
    origin: originOf(request),
    address: request.ip,
  }
  await applyConfinement(route, confine, call as Call<Record<string, unknown>, { enterprise_project_id?: string }, unknown>)
  await watch.begins()
  return route.handle(call as Call<never, never, never>)
}

/** Roles may count for some enterprise projects only: lists are narrowed to them, and the rest does not exist. */
async function applyConfinement(
  route: Route, confine: AppOptions['confine'], call: Call<Record<string, unknown>, { enterprise_project_id?: string }, unknown>,
): Promise<void> {
  const { identity } = call
  if (route.access.kind !== 'project' || identity?.project === undefined) return
  const seen = enterpriseProjectsFor(identity, route.access.action)
  if (seen === undefined) return
  const hasFilter = Object.hasOwn(route.schemas.query?.properties ?? {}, 'enterprise_project_id')
  const { params, body } = call
  if (!await confine(seen, { operationId: route.operationId, projectId: identity.project.id, params, body, hasFilter })) {
    throw notPermitted(`${route.access.action} outside of single enterprise projects`)
  }
  if (hasFilter) call.query.enterprise_project_id = narrowEnterpriseProjects(call.query.enterprise_project_id, seen)
}

/** The address that the client used, as links in answers name it; HTTP/1.0 and odd clients name none. */
function originOf(request: FastifyRequest): string {
  const { localAddress = '', localPort } = request.socket
  const ownHost = `${localAddress.includes(':') ? `[${localAddress}]` : localAddress}:${localPort}`
  return `${request.protocol === 'https' ? 'https' : 'http'}://${/^[\w.:[\]-]+$/.test(request.host) ? request.host : ownHost}`
}

async function admit(
  route: Route, authenticate: Authenticate, request: FastifyRequest, body: Uint8Array, params: Record<string, string>,
  watch: CallWatch,
): Promise<Identity | undefined> {
  if (route.access.kind === 'public') return undefined
  const found = await authenticate({
    method: request.method,
    target: request.raw.url ?? '/',
    headers: request.headers,
    body,
    pathProjectId: params['project_id'],
  })
  if ('refused' in found) {
    if (found.status === 403) throw new GatewayRefusal(403, 'APIGW.0302', found.refused)
    if (found.status === 503) throw new GatewayRefusal(503, 'APIGW.0601', found.refused)
    throw new GatewayRefusal(401, 'APIGW.0301', `Incorrect IAM authentication information: ${found.refused}`)
  }
  watch.authenticated(found)
  if (route.access.kind === 'authenticated') return found
  if (route.access.kind === 'administration') {
    if (administrationOf(found, route.access.action) === undefined) throw notPermitted(route.access.action)
    return found
  }
  // The same answer for an unknown project and for somebody else's: neither may be told apart.
  if (found.project === undefined || found.project.id !== params['project_id']) {
    throw new GatewayRefusal(403, 'APIGW.0302', 'The credentials are not good for this project.')
  }
  if (!mayInProject(found, route.access.action)) throw notPermitted(route.access.action)
  if (route.access.inDomain === true && administrationOf(found, route.access.action) === undefined) {
    throw notPermitted(`${route.access.action} for all projects of the domain`)
  }
  return found
}

/** The framework reads no body of GET and HEAD; signing clients send `{}` there, and it is signed. */
async function readUnparsedBody(request: FastifyRequest): Promise<Uint8Array> {
  if (request.headers['content-length'] === undefined && request.headers['transfer-encoding'] === undefined) return Buffer.alloc(0)
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request.raw) {
    bytes += (chunk as Buffer).length
    if (bytes > BODY_BYTES_MAX) throw new GatewayRefusal(413, 'APIGW.0201', 'The body is too large.')
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

function parseJson(body: Uint8Array): unknown {
  if (body.length === 0) throw new Failure('parameter.invalid', { field: 'body', reason: 'it is empty, a JSON object is expected' })
  try {
    return withoutNulls(JSON.parse(Buffer.from(body).toString('utf8')))
  } catch (error) {
    if (error instanceof Failure) throw error
    if (error instanceof RangeError) throw new Failure('parameter.invalid', { field: 'body', reason: 'it is nested too deeply' })
    throw new Failure('parameter.invalid', { field: 'body', reason: 'it is not JSON' })
  }
}

async function sendFailure(error: Error & { statusCode?: number }, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const judged = judgeError(error)
  if (judged.status === 500 || isOutage(error)) request.log.error(error)
  if (judged.status === 503) void reply.header('retry-after', String(RETRY_AFTER_SECONDS))
  const isIdentity = request.routeOptions.config.errors === 'identity'
  await send(reply, isIdentity ? identityAnswer(judged) : serviceAnswer(judged, request))
}

interface JudgedError {
  readonly status: number
  readonly code: string
  readonly message: string
}

function judgeError(error: Error & { statusCode?: number }): JudgedError {
  if (error instanceof Failure) {
    const { status, code } = failures[error.code]
    return { status, code: `BackupService.${code}`, message: error.message }
  }
  if (error instanceof GatewayRefusal) return error
  if (error instanceof IdentityFailure) return { status: error.status, code: '', message: error.message }
  if (error.statusCode !== undefined && error.statusCode < 500) {
    // The framework's own: a body over the limit, a malformed length or URL.
    return { status: error.statusCode, code: error.statusCode === 413 ? 'APIGW.0201' : 'APIGW.0106', message: error.message }
  }
  if (isOutage(error)) return { status: 503, code: 'APIGW.0202', message: 'The catalogue cannot be reached or is too busy: try again in a few seconds.' }
  return { status: 500, code: 'BackupService.9910', message: 'An unknown error occurred; the server has logged it.' }
}

function serviceAnswer({ status, code, message }: JudgedError, request: FastifyRequest): Answer {
  const body = { error_code: code, error_msg: message }
  return { status, body: code.startsWith('APIGW.') ? { ...body, request_id: request.id } : body }
}

/** Keystone's form: the code is HTTP's, and the title its name. */
function identityAnswer({ status, message }: JudgedError): Answer {
  return { status, body: { error: { code: status, message, title: STATUS_CODES[status] ?? 'Error' } } }
}

async function send(reply: FastifyReply, { status, body, headers, stream }: Answer): Promise<void> {
  void reply.code(status)
  if (headers !== undefined) void reply.headers(headers)
  if (stream !== undefined) {
    await reply.send(stream)
    return
  }
  if (body === undefined) {
    await reply.send()
    return
  }
  const bytes = bytesOf(body)
  void reply.header('content-type', 'application/json; charset=utf-8')
  const encoding = chooseEncoding(reply.request.headers['accept-encoding'], bytes.byteLength)
  if (encoding === undefined) {
    await reply.send(takeInOnePiece(bytes))
    return
  }
  const compressed = await takeCompressed(encoding, bytes)
  await reply.headers({ 'content-encoding': encoding, vary: 'accept-encoding' }).send(compressed)
}
