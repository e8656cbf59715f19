/** SQL of role assignments: who may do what where. */
import { sql } from 'kysely'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { DomainId, ProjectId, UserId } from '../ids.ts'
import { NO_RIGHTS, type UserRights } from './identity.ts'
import { findBuiltInRole, type Role } from './role.ts'

export const SYSTEM_SCOPE = 'system'

/** Who has a role: a user, or everybody in a group. */
export const userSubject = (id: UserId): string => `user:${id}`
export const groupSubject = (id: string): string => `group:${id}`
/** Where it counts. A domain's counts in all of its projects, and for administering the domain. */
export const projectScope = (id: ProjectId): string => `project:${id}`
export const domainScope = (id: DomainId): string => `domain:${id}`

interface Assigned {
  readonly scope: string
  readonly role: string
  readonly enterpriseProjectIds: readonly string[] | undefined
}

/** All assignments of a user, through groups too. */
async function listAssigned(db: Reader, userId: UserId, scopes?: readonly string[]): Promise<Assigned[]> {
  let query = db.selectFrom('role_assignments').select(['scope', 'role', 'enterprise_project_ids'])
    .where((eb) => eb.or([
      eb('subject', '=', userSubject(userId)),
      eb('subject', 'in', eb.selectFrom('user_group_members').select(sql<string>`'group:' || group_id`.as('subject')).where('user_id', '=', userId)),
    ]))
  if (scopes !== undefined) query = query.where('scope', 'in', scopes)
  const rows = await query.orderBy('created_at').orderBy('id').execute()
  return rows.map((row) => ({
    scope: row.scope,
    role: row.role,
    enterpriseProjectIds: row.enterprise_project_ids === null ? undefined : JSON.parse(row.enterprise_project_ids) as string[],
  }))
}

async function readRoles(db: Reader, names: readonly string[]): Promise<Map<string, Role>> {
  const known = new Map<string, Role>()
  const others: string[] = []
  for (const name of new Set(names)) {
    const builtIn = findBuiltInRole(name)
    if (builtIn === undefined) others.push(name)
    else known.set(name, builtIn)
  }
  if (others.length === 0) return known
  for (const row of await db.selectFrom('roles').selectAll().where('id', 'in', others).execute()) {
    known.set(row.id, { name: row.name, description: row.description, actions: JSON.parse(row.actions) as string[], except: [] })
  }
  return known
}

/** What a user may do in a project (or in none), in the user's domain and to the system. Read at every call: what is taken away ends at once. */
export async function readRights(db: Reader, user: Row<'users'>, project: Row<'projects'> | undefined): Promise<UserRights> {
  const home = domainScope(user.domain_id)
  const here = project === undefined ? [] : [projectScope(project.id), domainScope(project.domain_id)]
  const assigned = await listAssigned(db, user.id, [...new Set([SYSTEM_SCOPE, home, ...here])])
  if (assigned.length === 0) return NO_RIGHTS
  const roles = await readRoles(db, assigned.map((each) => each.role))
  const grants = assigned.flatMap(({ scope, role: name, enterpriseProjectIds }) => {
    const role = roles.get(name)
    return role === undefined ? [] : [{ scope, role, enterpriseProjectIds }]
  })
  return {
    projectGrants: grants.filter((grant) => here.includes(grant.scope)),
    domainRoles: grants.filter((grant) => grant.scope === home).map((grant) => grant.role),
    systemRoles: grants.filter((grant) => grant.scope === SYSTEM_SCOPE).map((grant) => grant.role),
  }
}

/** The projects in which a user has any role, by name. */
export async function listGrantedProjects(db: Reader, userId: UserId, name?: string): Promise<Row<'projects'>[]> {
  const scopes = (await listAssigned(db, userId)).map((each) => each.scope)
  const idsOf = (kind: string): string[] => scopes.filter((scope) => scope.startsWith(kind)).map((scope) => scope.slice(kind.length))
  const [projects, domains] = [idsOf('project:') as ProjectId[], idsOf('domain:') as DomainId[]]
  if (projects.length === 0 && domains.length === 0) return []
  let query = db.selectFrom('projects').selectAll().where('enabled', '=', 1)
    .where((eb) => eb.or([
      ...(projects.length === 0 ? [] : [eb('id', 'in', projects)]),
      ...(domains.length === 0 ? [] : [eb('domain_id', 'in', domains)]),
    ]))
    .where('domain_id', 'in', db.selectFrom('domains').select('id').where('enabled', '=', 1))
  if (name !== undefined) query = query.where('name', '=', name)
  return query.orderBy('name').orderBy('id').execute()
}

/** A project in which a user has any role, with what the user may do there. */
export async function findGrantedProject(
  db: Reader, user: Row<'users'>, projectId: string,
): Promise<{ readonly project: Row<'projects'>, readonly rights: UserRights } | undefined> {
  const project = await db.selectFrom('projects').innerJoin('domains', 'domains.id', 'projects.domain_id').selectAll('projects')
    .where('projects.id', '=', projectId as ProjectId).where('projects.enabled', '=', 1).where('domains.enabled', '=', 1)
    .executeTakeFirst()
  if (project === undefined) return undefined
  const rights = await readRights(db, user, project)
  return rights.projectGrants.length === 0 ? undefined : { project, rights }
}
