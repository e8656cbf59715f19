import type { Static } from 'typebox'
import type { CatalogResponse, DomainListResponse, ProjectListResponse, TokenResponse, UserListResponse } from '@opencbr/contract'
import { formatZonedTime } from '../clock.ts'
import type { Row } from '../db/schema.ts'
import type { DescribedToken } from './create-token.ts'
import type { Identity } from './identity.ts'

type Catalog = Static<typeof CatalogResponse>['catalog']

export interface CatalogContext {
  /** The address that the client used: what reached us for this call reaches us for the next. */
  readonly origin: string
  readonly region: string
}

/** What we serve, and nothing else: a client that needs servers or volumes has to find them elsewhere. */
export function catalogToWire({ origin, region }: CatalogContext, projectId: string | undefined): Catalog {
  const entry = (type: string, name: string, url: string): Catalog[number] => ({
    id: type,
    type,
    name,
    endpoints: [{ id: `${type}-public`, interface: 'public', region, region_id: region, url }],
  })
  const identity = entry('identity', 'keystone', `${origin}/v3`)
  // The address of the backup service holds the project: without one there is none.
  return projectId === undefined ? [identity] : [identity, entry('cbr', 'cbr', `${origin}/v3/${projectId}`)]
}

export function tokenToWire(token: DescribedToken, context: CatalogContext | undefined): Static<typeof TokenResponse> {
  const { user, domain } = token.owner
  const named = { id: domain.id, name: domain.name }
  return {
    token: {
      methods: [...token.methods],
      issued_at: formatZonedTime(token.issuedAt),
      expires_at: formatZonedTime(token.expiresAt),
      user: { id: user.id, name: user.name, domain: named, password_expires_at: null },
      roles: rolesOf(token).map((name) => ({ id: name, name })),
      ...(token.project === undefined ? {} : { project: { id: token.project.id, name: token.project.name, domain: named } }),
      ...(token.isDomainScoped ? { domain: named } : {}),
      ...(context === undefined ? {} : { catalog: catalogToWire(context, token.project?.id) }),
    },
  }
}

function rolesOf({ project, rights }: DescribedToken): string[] {
  const roles = project === undefined ? [...rights.domainRoles, ...rights.systemRoles] : rights.projectGrants.map((grant) => grant.role)
  return [...new Set(roles.map((role) => role.name))]
}

function pageLinks(self: string): { self: string, previous: null, next: null } {
  return { self, previous: null, next: null }
}

export function catalogListToWire(context: CatalogContext, identity: Identity): Static<typeof CatalogResponse> {
  return { catalog: catalogToWire(context, identity.project?.id), links: pageLinks(`${context.origin}/v3/auth/catalog`) }
}

export function projectsToWire(origin: string, projects: readonly Row<'projects'>[]): Static<typeof ProjectListResponse> {
  return {
    projects: projects.map((project) => ({
      id: project.id,
      name: project.name,
      domain_id: project.domain_id,
      parent_id: project.domain_id,
      is_domain: false,
      enabled: true,
      description: project.description,
      links: { self: `${origin}/v3/projects/${project.id}` },
    })),
    links: pageLinks(`${origin}/v3/projects`),
  }
}

export function domainsToWire(origin: string, domains: readonly Identity['domain'][]): Static<typeof DomainListResponse> {
  return {
    domains: domains.map((domain) => ({
      id: domain.id, name: domain.name, enabled: true, description: '', links: { self: `${origin}/v3/domains/${domain.id}` },
    })),
    links: pageLinks(`${origin}/v3/auth/domains`),
  }
}

export function usersToWire(origin: string, users: readonly Row<'users'>[]): Static<typeof UserListResponse> {
  return {
    users: users.map((user) => ({
      id: user.id,
      name: user.name,
      domain_id: user.domain_id,
      enabled: true,
      password_expires_at: null,
      links: { self: `${origin}/v3/users/${user.id}` },
    })),
    links: pageLinks(`${origin}/v3/users`),
  }
}
