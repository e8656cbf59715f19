/** How far a caller may administer, and what it must not reach from there. */
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { DomainId, UserId } from '../ids.ts'
import { groupSubject, SYSTEM_SCOPE, userSubject } from './assignment-store.ts'
import { administrationOf, type Identity } from './identity.ts'
import { IdentityFailure } from './identity-failure.ts'
import { findNamed, type NamedTable } from './named-store.ts'

/** The domain to which the caller is confined; undefined: it reaches everything. */
export function reachOf(caller: Identity, action: string): DomainId | undefined {
  switch (administrationOf(caller, action)) {
    case 'system': return undefined
    case 'domain': return caller.domain.id
    default: throw new IdentityFailure(403, `The action ${action} is not permitted.`)
  }
}

/** The domain in which something is to be made: the one that is named, or the caller's own. */
export async function chooseDomain(db: Reader, caller: Identity, action: string, domainId: string | undefined): Promise<DomainId> {
  const reach = reachOf(caller, action)
  if (domainId === undefined) return caller.domain.id
  if (reach !== undefined && domainId !== reach) throw notFound('domain', domainId)
  return (await getReached(db, caller, action, 'domains', domainId)).id
}

const nouns: Record<NamedTable, string> = { domains: 'domain', projects: 'project', users: 'user', user_groups: 'group', roles: 'role' }

/** A row that the caller reaches; what it does not reach does not exist for it. */
export async function getReached<Table extends NamedTable>(
  db: Reader, caller: Identity, action: string, table: Table, id: string,
): Promise<Row<Table>> {
  const reach = reachOf(caller, action)
  const row = await findNamed(db, table, id)
  if (row === undefined || (reach !== undefined && domainOf(row as AnyNamed) !== reach)) throw notFound(nouns[table], id)
  return row
}

interface AnyNamed { readonly id: unknown, readonly domain_id?: unknown }

/** A domain is its own domain. */
function domainOf(row: AnyNamed): unknown {
  return row.domain_id ?? row.id
}

/**
 * An administrator of a domain must not become one of the system by taking over a user, or entering
 * a group, that has a role there.
 */
export async function assertNotAbove(db: Reader, caller: Identity, action: string, subject: { userId: UserId } | { groupId: string }): Promise<void> {
  if (administrationOf(caller, action) === 'system') return
  const subjects = 'groupId' in subject ? [groupSubject(subject.groupId)] : [
    userSubject(subject.userId),
    ...(await db.selectFrom('user_group_members').select('group_id').where('user_id', '=', subject.userId).execute()).map((row) => groupSubject(row.group_id)),
  ]
  const above = await db.selectFrom('role_assignments').select('id').where('subject', 'in', subjects).where('scope', '=', SYSTEM_SCOPE).executeTakeFirst()
  if (above !== undefined) throw new IdentityFailure(403, 'It has a role for the whole system, so only an administrator of the system may change it.')
}

/** Somebody has to be able to let others in again. Called at the end of a transaction that may have taken the last one away. */
export async function assertAdministered(db: Reader): Promise<void> {
  const assigned = await db.selectFrom('role_assignments').select('subject').where('scope', '=', SYSTEM_SCOPE).where('role', '=', 'administrator').execute()
  const idsOf = (kind: string): string[] => assigned.map((row) => row.subject).filter((each) => each.startsWith(kind)).map((each) => each.slice(kind.length))
  const [users, groups] = [idsOf('user:') as UserId[], idsOf('group:') as Row<'user_groups'>['id'][]]
  const members = groups.length === 0 ? [] : await db.selectFrom('user_group_members').select('user_id').where('group_id', 'in', groups).execute()
  const ids = [...users, ...members.map((row) => row.user_id)]
  const left = ids.length === 0 ? undefined : await db.selectFrom('users').innerJoin('domains', 'domains.id', 'users.domain_id').select('users.id')
    .where('users.id', 'in', ids).where('users.enabled', '=', 1).where('domains.enabled', '=', 1).limit(1).executeTakeFirst()
  if (left === undefined) throw new IdentityFailure(409, 'Nobody would be left who administers the system.')
}

export function notFound(noun: string, id: string): IdentityFailure {
  return new IdentityFailure(404, `There is no ${noun} with the id ${id.slice(0, 64)}.`)
}

export function taken(noun: string, name: string): IdentityFailure {
  return new IdentityFailure(409, `There is a ${noun} with the name ${name} already.`)
}
