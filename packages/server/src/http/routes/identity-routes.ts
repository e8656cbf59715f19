/** The identity subset of Keystone, at the root paths and under /identity. Errors have Keystone's form. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from 'typebox'
import {
  ApiVersionRoot, ApiVersions, CatalogResponse, DomainListResponse, ProjectListResponse, TokenRequest, TokenResponse, UserListResponse,
  PasswordChangeBody, SecurityTokenAnswer, SecurityTokenBody,
} from '@opencbr/contract'
import { formatZonedTime } from '../../clock.ts'
import type { Deps } from '../../deps.ts'
import {
  catalogListToWire, changePassword, createTemporaryKey, createToken, describeToken, domainsToWire, IdentityFailure, listDomains, listProjects, listUsers, projectsToWire,
  openLoginThrottle, revokeToken, tokenToWire, usersToWire, type CatalogContext, type LoginThrottle,
} from '../../identity/index.ts'
import { identityOf, noContent, ok, route, type Call, type Route } from '../route.ts'

type AnyCall = Call<unknown, unknown, unknown>

const TokenQuery = Type.Object({
  nocatalog: Type.Optional(Type.String({ description: 'Present: leave the catalog out.' })),
})
const NameQuery = Type.Object({ name: Type.Optional(Type.String()) })
const NameAndDomainQuery = Type.Object({ name: Type.Optional(Type.String()), domain_id: Type.Optional(Type.String()) })

type TokenDeps = Pick<Deps, 'db' | 'clock' | 'secrets'>

export function identityRoutes(deps: Pick<Deps, 'db' | 'clock' | 'config' | 'secrets'>): Route[] {
  const throttle = openLoginThrottle({ clock: deps.clock, wait: async (ms) => sleep(ms) })
  const contextOf = (call: AnyCall): CatalogContext => ({ origin: call.origin, region: deps.config.region })
  const routes = [...versionRoutes(), ...tokenRoutes(deps, throttle, contextOf), ...credentialRoutes(deps, throttle), ...listRoutes(deps, contextOf)]
  const { keystone } = deps.config
  return keystone === undefined ? routes : routes.map((each) => (OF_LOGINS.has(each.operationId) ? answeredElsewhere(each, keystone.url) : each))
}

const OF_LOGINS: ReadonlySet<string> = new Set(['createToken', 'showToken', 'checkToken', 'revokeToken', 'changePassword'])

/** With an outside Keystone. Not 401: clients answer that by logging in once more, some without end. */
function answeredElsewhere({ schemas: _schemas, ...each }: Route, url: string): Route {
  return {
    ...each,
    access: { kind: 'public' },
    schemas: {},
    handle: async () => {
      throw new IdentityFailure(403, `Identity lives at ${url}: log in there, and send the token here.`)
    },
  }
}

function versionAt(call: AnyCall) {
  return { id: 'v3', status: 'CURRENT', links: [{ href: `${call.origin}/v3/`, rel: 'self' }] }
}

function versionRoutes(): Route[] {
  return [
    route({
      operationId: 'listApiVersions',
      method: 'GET',
      path: '/',
      alsoAt: ['/identity'],
      access: { kind: 'public' },
      errors: 'identity',
      summary: 'Lists the versions of the API; discovery clients expect 300.',
      schemas: { response: { 300: ApiVersions } },
      handle: async (call) => ({ status: 300, body: { versions: [versionAt(call)] } }),
    }),
    route({
      operationId: 'showApiVersion',
      method: 'GET',
      path: '/cbr',
      alsoAt: ['/csbs', '/vbs'],
      access: { kind: 'public' },
      summary: 'Lists the versions by the nicknames of the service.',
      schemas: { response: { 300: ApiVersions } },
      handle: async (call) => ({ status: 300, body: { versions: [versionAt(call)] } }),
    }),
    route({
      operationId: 'showV3Version',
      method: 'GET',
      path: '/v3',
      alsoAt: ['/identity/v3'],
      access: { kind: 'public' },
      errors: 'identity',
      summary: 'Shows version 3, to which discovery links point.',
      schemas: { response: { 200: ApiVersionRoot } },
      handle: async (call) => ok({ version: versionAt(call), versions: [versionAt(call)] }),
    }),
  ]
}

function tokenRoutes(deps: TokenDeps, throttle: LoginThrottle, contextOf: (call: AnyCall) => CatalogContext): Route[] {
  const path = '/v3/auth/tokens'
  const alsoAt = [`/identity${path}`]
  return [
    route({
      operationId: 'createToken',
      method: 'POST',
      path,
      alsoAt,
      access: { kind: 'public' },
      errors: 'identity',
      summary: 'Logs in; the token is in the header X-Subject-Token.',
      schemas: { query: TokenQuery, body: TokenRequest, response: { 201: TokenResponse } },
      async handle(call) {
        const token = await createToken(deps, call.body.auth, { throttle, address: call.address })
        const body = tokenToWire(token, call.query.nocatalog === undefined ? contextOf(call) : undefined)
        const { owner: { user, domain }, project, methods } = token
        return {
          status: 201,
          body,
          headers: { 'x-subject-token': token.token },
          caller: {
            user: { id: user.id, name: user.name, domainId: domain.id }, projectId: project?.id ?? null, credential: methods.includes('token') ? 'token' : 'password',
          },
        }
      },
    }),
    route({
      operationId: 'showToken',
      method: 'GET',
      path,
      alsoAt,
      access: { kind: 'authenticated' },
      errors: 'identity',
      summary: 'Shows for whom the token in the header X-Subject-Token is good.',
      schemas: { query: TokenQuery, response: { 200: TokenResponse } },
      async handle(call) {
        const subject = subjectToken(call)
        const token = await describeToken(deps, identityOf(call), subject)
        const body = tokenToWire(token, call.query.nocatalog === undefined ? contextOf(call) : undefined)
        return { status: 200, body, headers: { 'x-subject-token': subject } }
      },
    }),
    route({
      operationId: 'checkToken',
      method: 'HEAD',
      path,
      alsoAt,
      access: { kind: 'authenticated' },
      errors: 'identity',
      summary: 'Answers 200 while the token in the header X-Subject-Token is good.',
      schemas: {},
      async handle(call) {
        await describeToken(deps, identityOf(call), subjectToken(call))
        return { status: 200 }
      },
    }),
    route({
      operationId: 'revokeToken',
      method: 'DELETE',
      path,
      alsoAt,
      access: { kind: 'authenticated' },
      errors: 'identity',
      summary: 'Ends the token in the header X-Subject-Token.',
      schemas: {},
      async handle(call) {
        await revokeToken(deps, identityOf(call), subjectToken(call))
        return noContent
      },
    }),
  ]
}

function credentialRoutes(deps: TokenDeps, throttle: LoginThrottle): Route[] {
  return [
    route({
      operationId: 'changePassword',
      method: 'POST',
      path: '/v3/users/:user_id/password',
      alsoAt: ['/identity/v3/users/:user_id/password'],
      access: { kind: 'authenticated' },
      errors: 'identity',
      summary: 'Changes the password of the caller; every token of it ends.',
      schemas: { params: Type.Object({ user_id: Type.String() }), body: PasswordChangeBody },
      async handle(call) {
        await changePassword(deps, identityOf(call), call.params.user_id, call.body.user, { throttle, address: call.address })
        return noContent
      },
    }),
    route({
      operationId: 'createTemporaryAccessKey',
      method: 'POST',
      path: '/v3.0/OS-CREDENTIAL/securitytokens',
      alsoAt: ['/identity/v3.0/OS-CREDENTIAL/securitytokens'],
      access: { kind: 'authenticated' },
      errors: 'identity',
      summary: 'Makes an access key that ends by itself, for the user and the project of the call.',
      schemas: { body: SecurityTokenBody, response: { 201: SecurityTokenAnswer } },
      async handle(call) {
        const key = await createTemporaryKey(deps, identityOf(call), call.body.auth.identity)
        return {
          status: 201,
          body: {
            credential: {
              access: key.accessKey, secret: key.secretKey, securitytoken: key.securityToken, expires_at: formatZonedTime(key.expiresAt),
            },
          },
        }
      },
    }),
  ]
}

function listRoutes(deps: Pick<Deps, 'db'>, contextOf: (call: AnyCall) => CatalogContext): Route[] {
  return [
    route({
      operationId: 'listCatalog',
      method: 'GET',
      path: '/v3/auth/catalog',
      alsoAt: ['/identity/v3/auth/catalog'],
      access: { kind: 'authenticated' },
      errors: 'identity',
      summary: 'Lists the services and their addresses.',
      schemas: { response: { 200: CatalogResponse } },
      handle: async (call) => ok(catalogListToWire(contextOf(call), identityOf(call))),
    }),
    route({
      operationId: 'listAuthProjects',
      method: 'GET',
      path: '/v3/auth/projects',
      alsoAt: ['/identity/v3/auth/projects'],
      access: { kind: 'authenticated' },
      errors: 'identity',
      summary: 'Lists the projects that the caller may act in.',
      schemas: { response: { 200: ProjectListResponse } },
      handle: async (call) => ok(projectsToWire(call.origin, await listProjects(deps, identityOf(call), {}))),
    }),
    route({
      operationId: 'listIdentityProjects',
      method: 'GET',
      path: '/v3/projects',
      alsoAt: ['/identity/v3/projects'],
      access: { kind: 'authenticated' },
      errors: 'identity',
      summary: 'Lists the projects that the caller may act in, by name; the name is the region.',
      schemas: { query: NameAndDomainQuery, response: { 200: ProjectListResponse } },
      handle: async (call) => ok(projectsToWire(call.origin, await listProjects(deps, identityOf(call), filterOf(call.query)))),
    }),
    route({
      operationId: 'listAuthDomains',
      method: 'GET',
      path: '/v3/auth/domains',
      alsoAt: ['/identity/v3/auth/domains'],
      access: { kind: 'authenticated' },
      errors: 'identity',
      summary: 'Lists the domain of the caller.',
      schemas: { query: NameQuery, response: { 200: DomainListResponse } },
      handle: async (call) => ok(domainsToWire(call.origin, listDomains(identityOf(call), filterOf(call.query)))),
    }),
    route({
      operationId: 'listUsers',
      method: 'GET',
      path: '/v3/users',
      alsoAt: ['/identity/v3/users'],
      access: { kind: 'authenticated' },
      errors: 'identity',
      summary: 'Lists the user of the caller.',
      schemas: { query: NameAndDomainQuery, response: { 200: UserListResponse } },
      handle: async (call) => ok(usersToWire(call.origin, await listUsers(deps, identityOf(call), filterOf(call.query)))),
    }),
  ]
}

function filterOf(query: { readonly name?: string, readonly domain_id?: string }): { name?: string, domainId?: string } {
  return {
    ...(query.name === undefined ? {} : { name: query.name }),
    ...(query.domain_id === undefined ? {} : { domainId: query.domain_id }),
  }
}

function subjectToken(call: AnyCall): string {
  const subject = call.headers['x-subject-token']
  if (typeof subject !== 'string' || subject === '') throw new IdentityFailure(400, 'Expecting to find a token in the header X-Subject-Token.')
  return subject
}
