import type { Row } from '../db/schema.ts'
import type { DomainId, ProjectId, UserId } from '../ids.ts'
import { permits, type Role } from './role.ts'

/** Roles, and for which enterprise projects they count. */
export interface Grant {
  readonly role: Role
  /** Undefined: for all. */
  readonly enterpriseProjectIds: readonly string[] | undefined
}

/** Who calls, and for which project or domain the credentials are good. */
export interface Identity {
  readonly user: { readonly id: UserId, readonly name: string }
  readonly domain: { readonly id: DomainId, readonly name: string }
  readonly project: { readonly id: ProjectId, readonly name: string } | undefined
  /** What the user may do in the project. */
  readonly projectGrants: readonly Grant[]
  /** What the user may do to the user's domain, and to everything: projects, users, roles. */
  readonly domainRoles: readonly Role[]
  readonly systemRoles: readonly Role[]
  /** A temporary key acts in its project and makes no credentials. */
  readonly isTemporary: boolean
  /** An outside Keystone vouches for it: it acts in the token's project, and has neither password nor keys here. */
  readonly isOutside?: boolean
}

export interface UserRights {
  readonly projectGrants: readonly Grant[]
  readonly domainRoles: readonly Role[]
  readonly systemRoles: readonly Role[]
}

export const NO_RIGHTS: UserRights = { projectGrants: [], domainRoles: [], systemRoles: [] }

export function makeIdentity(
  { user, domain }: { readonly user: Row<'users'>, readonly domain: Row<'domains'> }, project: Row<'projects'> | undefined, rights: UserRights,
  isTemporary = false,
): Identity {
  return {
    user: { id: user.id, name: user.name },
    domain: { id: domain.id, name: domain.name },
    project: project === undefined ? undefined : { id: project.id, name: project.name },
    projectGrants: rights.projectGrants,
    domainRoles: isTemporary ? [] : rights.domainRoles,
    systemRoles: isTemporary ? [] : rights.systemRoles,
    isTemporary,
  }
}

/** Whether the identity may do this in its project. */
export function mayInProject(identity: Identity, action: string): boolean {
  return permits(identity.projectGrants.map((grant) => grant.role), action)
}

/**
 * To which enterprise projects an action is confined; undefined means that it is not. Each grant
 * brings its own actions for its own enterprise projects.
 */
export function enterpriseProjectsFor(identity: Identity, action: string): ReadonlySet<string> | undefined {
  const confined = new Set<string>()
  for (const grant of identity.projectGrants) {
    if (!permits([grant.role], action)) continue
    if (grant.enterpriseProjectIds === undefined) return undefined
    for (const id of grant.enterpriseProjectIds) confined.add(id)
  }
  return confined
}

/** How far the identity may administer: everything, its own domain, or nothing. */
export function administrationOf(identity: Identity, action: string): 'system' | 'domain' | undefined {
  if (permits(identity.systemRoles, action)) return 'system'
  return permits(identity.domainRoles, action) ? 'domain' : undefined
}

/** For what an access key's secret is sealed. */
export function accessKeyPurpose(accessKey: string): string {
  return `access-key:${accessKey}`
}
