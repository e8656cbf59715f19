/** Roles and who has them, for administrators. */
import { sql } from 'kysely'
import type { Reader } from '../db/database.ts'
import type { Deps } from '../deps.ts'
import type { Row } from '../db/schema.ts'
import { newHexId, newUuid, type DomainId, type ProjectId, type UserGroupId, type UserId } from '../ids.ts'
import { narrow } from './administer-domains.ts'
import { domainScope, groupSubject, projectScope, SYSTEM_SCOPE, userSubject } from './assignment-store.ts'
import { administrationOf, type Identity } from './identity.ts'
import { IdentityFailure } from './identity-failure.ts'
import { LIMIT_MAX, listNamed, type Page, type PageQuery } from './named-store.ts'
import { assertAdministered, chooseDomain, getReached, notFound, reachOf, taken } from './reach.ts'
import { builtInRoles, findBuiltInRole } from './role.ts'

type IdentityDeps = Pick<Deps, 'db' | 'clock'>

/** A role as it is shown; the built-in ones are of no domain, and their name is their id. */
export interface ShownRole {
  readonly id: string
  readonly name: string
  readonly description: string
  readonly domainId: string | null
  readonly actions: readonly string[]
  readonly except: readonly string[]
}

const shownBuiltIns: readonly ShownRole[] = builtInRoles.map((role) => ({ ...role, id: role.name, domainId: null }))

function showRow(row: Row<'roles'>): ShownRole {
  return { id: row.id, name: row.name, description: row.description, domainId: row.domain_id, actions: JSON.parse(row.actions) as string[], except: [] }
}

interface WantedRole {
  readonly name: string
  readonly description?: string
  readonly actions: readonly string[]
  readonly domain_id?: string
}

export async function createRole({ db, clock }: IdentityDeps, caller: Identity, wanted: WantedRole): Promise<ShownRole> {
  if (findBuiltInRole(wanted.name) !== undefined) throw taken('role', wanted.name)
  return db.transaction().execute(async (tx) => {
    const row = {
      id: newHexId<UserGroupId>() as string,
      domain_id: await chooseDomain(tx, caller, 'identity:roles:create', wanted.domain_id),
      name: wanted.name,
      description: wanted.description ?? '',
      actions: JSON.stringify(wanted.actions),
      created_at: clock.now(),
    }
    const made = await tx.insertInto('roles').values(row).onConflict((conflict) => conflict.doNothing()).returning('id').executeTakeFirst()
    if (made === undefined) throw taken('role', wanted.name)
    return showRow(row)
  })
}

/** The built-in roles stand in front of the first page and are not counted. */
export async function listRoles({ db }: IdentityDeps, caller: Identity, query: PageQuery & { readonly name?: string, readonly domain_id?: string }): Promise<Page<ShownRole>> {
  const page = await listNamed(db, 'roles', { domainId: narrow(reachOf(caller, 'identity:roles:list'), query.domain_id), name: query.name }, query)
  return { ...page, rows: page.rows.map(showRow) }
}

export function listBuiltInRoles(): readonly ShownRole[] {
  return shownBuiltIns
}

export async function showRole({ db }: IdentityDeps, caller: Identity, id: string): Promise<ShownRole> {
  reachOf(caller, 'identity:roles:get')
  return shownBuiltIns.find((role) => role.id === id) ?? showRow(await getReached(db, caller, 'identity:roles:get', 'roles', id))
}

export async function updateRole(
  { db }: IdentityDeps, caller: Identity, id: string, { description, actions }: { readonly description?: string, readonly actions?: readonly string[] },
): Promise<ShownRole> {
  if (findBuiltInRole(id) !== undefined) throw new IdentityFailure(403, 'The built-in roles are as they are; make one of your own.')
  return db.transaction().execute(async (tx) => {
    const row = await getReached(tx, caller, 'identity:roles:update', 'roles', id)
    const changed = {
      ...(description === undefined ? {} : { description }), ...(actions === undefined ? {} : { actions: JSON.stringify(actions) }),
    }
    if (Object.keys(changed).length > 0) await tx.updateTable('roles').set(changed).where('id', '=', row.id).execute()
    return showRow({ ...row, ...changed })
  })
}

export async function deleteRole({ db }: IdentityDeps, caller: Identity, id: string): Promise<void> {
  if (findBuiltInRole(id) !== undefined) throw new IdentityFailure(403, 'The built-in roles stay.')
  await db.transaction().execute(async (tx) => {
    const row = await getReached(tx, caller, 'identity:roles:delete', 'roles', id)
    const used = await tx.selectFrom('role_assignments').select('id').where('role', '=', row.id).limit(1).executeTakeFirst()
    if (used !== undefined) throw new IdentityFailure(409, `Somebody still has the role ${row.name}.`)
    await tx.deleteFrom('roles').where('id', '=', row.id).execute()
  })
}

export interface WantedAssignment {
  /** Name of a built-in role, or name or id of another. */
  readonly role: string
  readonly user_id?: string
  readonly group_id?: string
  readonly project_id?: string
  readonly domain_id?: string
  readonly system?: boolean
  readonly enterprise_project_ids?: readonly string[]
}

export type ShownAssignment = Row<'role_assignments'> & { readonly roleName: string }

/** Gives a user or a group a role in a project, in a domain, or in the system. All of them are of one domain. */
export async function assignRole({ db, clock }: IdentityDeps, caller: Identity, wanted: WantedAssignment): Promise<ShownAssignment> {
  const action = 'identity:roleAssignments:create'
  return db.transaction().execute(async (tx) => {
    const reach = reachOf(caller, action)
    const subject = await findSubject(tx, caller, action, wanted)
    const scope = await findScope(tx, caller, action, wanted)
    if (scope.domainId !== undefined && scope.domainId !== subject.domainId) {
      throw new IdentityFailure(400, 'A role is given to users and groups of the domain in which it counts.')
    }
    if (scope.domainId === undefined && reach !== undefined) throw new IdentityFailure(403, 'Only an administrator of the system gives roles for it.')
    if (wanted.enterprise_project_ids !== undefined && !scope.text.startsWith('project:')) {
      throw new IdentityFailure(400, 'A role is confined to enterprise projects within a project only.')
    }
    const role = await findRole(tx, subject.domainId, wanted.role)
    const row: Row<'role_assignments'> = {
      id: newUuid(),
      subject: subject.text,
      scope: scope.text,
      role: role.id,
      enterprise_project_ids: wanted.enterprise_project_ids === undefined ? null : JSON.stringify(wanted.enterprise_project_ids),
      created_at: clock.now(),
    }
    const made = await tx.insertInto('role_assignments').values(row).onConflict((conflict) => conflict.doNothing()).returning('id').executeTakeFirst()
    if (made === undefined) throw new IdentityFailure(409, 'This role is given there already.')
    return { ...row, roleName: role.name }
  })
}

async function findSubject(
  db: Reader, caller: Identity, action: string, { user_id: userId, group_id: groupId }: WantedAssignment,
): Promise<{ readonly text: string, readonly domainId: DomainId }> {
  if ((userId === undefined) === (groupId === undefined)) throw new IdentityFailure(400, 'Expecting either user_id or group_id.')
  if (userId !== undefined) {
    const user = await getReached(db, caller, action, 'users', userId)
    return { text: userSubject(user.id), domainId: user.domain_id }
  }
  const group = await getReached(db, caller, action, 'user_groups', groupId ?? '')
  return { text: groupSubject(group.id), domainId: group.domain_id }
}

async function findScope(
  db: Reader, caller: Identity, action: string, { project_id: projectId, domain_id: domainId, system }: WantedAssignment,
): Promise<{ readonly text: string, readonly domainId: DomainId | undefined }> {
  const named = [projectId !== undefined, domainId !== undefined, system === true].filter(Boolean).length
  if (named !== 1) throw new IdentityFailure(400, 'Expecting one of project_id, domain_id and system.')
  if (system === true) return { text: SYSTEM_SCOPE, domainId: undefined }
  if (projectId !== undefined) {
    const project = await getReached(db, caller, action, 'projects', projectId)
    return { text: projectScope(project.id), domainId: project.domain_id }
  }
  const domain = await getReached(db, caller, action, 'domains', domainId ?? '')
  return { text: domainScope(domain.id), domainId: domain.id }
}

async function findRole(db: Reader, domainId: DomainId, text: string): Promise<{ readonly id: string, readonly name: string }> {
  if (findBuiltInRole(text) !== undefined) return { id: text, name: text }
  const found = await db.selectFrom('roles').select(['id', 'name']).where('domain_id', '=', domainId)
    .where((eb) => eb.or([eb('id', '=', text), eb('name', '=', text)])).executeTakeFirst()
  if (found === undefined) throw notFound('role', text)
  return found
}

export interface AssignmentFilter {
  readonly user_id?: string
  readonly group_id?: string
  readonly project_id?: string
  readonly domain_id?: string
  readonly role?: string
}

/** Newest first. A caller who is confined to a domain sees what concerns its users and groups. */
export async function listAssignments(
  { db }: IdentityDeps, caller: Identity, query: PageQuery & AssignmentFilter,
): Promise<Page<ShownAssignment>> {
  const reach = reachOf(caller, 'identity:roleAssignments:list')
  let matching = db.selectFrom('role_assignments as a').leftJoin('roles as r', 'r.id', 'a.role')
  if (query.user_id !== undefined) matching = matching.where('a.subject', '=', userSubject(query.user_id as UserId))
  if (query.group_id !== undefined) matching = matching.where('a.subject', '=', groupSubject(query.group_id))
  if (query.project_id !== undefined) matching = matching.where('a.scope', '=', projectScope(query.project_id as ProjectId))
  if (query.domain_id !== undefined) matching = matching.where('a.scope', '=', domainScope(query.domain_id as DomainId))
  if (query.role !== undefined) {
    const { role } = query
    matching = matching.where((eb) => eb.or([eb('a.role', '=', role), eb('r.name', '=', role)]))
  }
  if (reach !== undefined) {
    matching = matching.where((eb) => eb.or([
      eb('a.subject', 'in', eb.selectFrom('users').select(sql<string>`'user:' || id`.as('subject')).where('domain_id', '=', reach)),
      eb('a.subject', 'in', eb.selectFrom('user_groups').select(sql<string>`'group:' || id`.as('subject')).where('domain_id', '=', reach)),
    ]))
  }
  const limit = Math.min(query.limit ?? LIMIT_MAX, LIMIT_MAX)
  const offset = query.marker === undefined ? query.offset ?? 0 : 0
  const { count } = await matching.select(({ fn }) => fn.countAll().as('count')).executeTakeFirstOrThrow()
  let page = matching.selectAll('a').select('r.name as role_name').orderBy('a.created_at', 'desc').orderBy('a.id', 'desc').limit(limit)
  if (query.marker === undefined) {
    page = page.offset(offset)
  } else {
    const last = await matching.select(['a.created_at', 'a.id']).where('a.id', '=', query.marker).executeTakeFirst()
    if (last === undefined) return { rows: [], count: Number(count), limit, offset }
    page = page.where(({ eb, refTuple, tuple }) => eb(refTuple('a.created_at', 'a.id'), '<', tuple(last.created_at, last.id)))
  }
  const rows = await page.execute()
  return { rows: rows.map(({ role_name: name, ...row }) => ({ ...row, roleName: name ?? row.role })), count: Number(count), limit, offset }
}

export async function unassignRole({ db }: IdentityDeps, caller: Identity, id: string): Promise<void> {
  const action = 'identity:roleAssignments:delete'
  await db.transaction().execute(async (tx) => {
    const reach = reachOf(caller, action)
    const row = await tx.selectFrom('role_assignments').selectAll().where('id', '=', id).executeTakeFirst()
    if (row === undefined || !await isReached(tx, reach, row.subject)) throw notFound('role assignment', id)
    if (row.scope === SYSTEM_SCOPE && administrationOf(caller, action) !== 'system') {
      throw new IdentityFailure(403, 'Only an administrator of the system takes roles for it away.')
    }
    await tx.deleteFrom('role_assignments').where('id', '=', row.id).execute()
    await assertAdministered(tx)
  })
}

async function isReached(db: Reader, reach: DomainId | undefined, subject: string): Promise<boolean> {
  if (reach === undefined) return true
  const [kind, id = ''] = subject.split(':')
  const found = kind === 'user'
    ? await db.selectFrom('users').select('domain_id').where('id', '=', id as UserId).executeTakeFirst()
    : await db.selectFrom('user_groups').select('domain_id').where('id', '=', id as UserGroupId).executeTakeFirst()
  return found?.domain_id === reach
}
