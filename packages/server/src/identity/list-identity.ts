/** What a caller sees of domains, projects and users: its own. */
import type { Deps } from '../deps.ts'
import type { Row } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import { listGrantedProjects } from './assignment-store.ts'
import type { Identity } from './identity.ts'
import { findUser } from './identity-store.ts'

/** The projects in which the caller's user may act. Absent filters let everything through. */
export async function listProjects(
  { db }: Pick<Deps, 'db'>, caller: Identity, filter: { readonly name?: string, readonly domainId?: string },
): Promise<Row<'projects'>[]> {
  const granted = caller.isOutside === true ? await listOwnProject(db, caller) : await listGrantedProjects(db, caller.user.id, filter.name)
  return granted.filter((project) => filter.name === undefined || project.name === filter.name).filter((project) => filter.domainId === undefined || project.domain_id === filter.domainId)
}

/** Of somebody for whom a Keystone vouches, which lists the others. */
async function listOwnProject(db: Deps['db'], { project }: Identity): Promise<Row<'projects'>[]> {
  return project === undefined ? [] : db.selectFrom('projects').selectAll().where('id', '=', project.id).execute()
}

export function listDomains(caller: Identity, filter: { readonly name?: string }): Identity['domain'][] {
  return filter.name === undefined || filter.name === caller.domain.name ? [caller.domain] : []
}

export async function listUsers(
  { db }: Pick<Deps, 'db'>, caller: Identity, filter: { readonly name?: string, readonly domainId?: string },
): Promise<Row<'users'>[]> {
  const found = await findUser(db, caller.user.id)
  if (found === undefined) return []
  const fits = (filter.name === undefined || filter.name === found.user.name)
    && (filter.domainId === undefined || filter.domainId === found.domain.id)
  return fits ? [found.user] : []
}

const PROJECTS_MAX = 1000

/**
 * The projects of an account, from which receivers of a share are picked. Only the own account's are told:
 * whoever shares with somebody else's project has been given its id.
 */
export async function listDomainProjects({ db }: Pick<Deps, 'db'>, caller: Identity, domainName: string): Promise<Row<'projects'>[]> {
  if (domainName !== caller.domain.name) throw new Failure('domain.not_found', { domainName: domainName.slice(0, 64) })
  return db.selectFrom('projects').selectAll().where('domain_id', '=', caller.domain.id).where('enabled', '=', 1)
    .orderBy('name').orderBy('id').limit(PROJECTS_MAX).execute()
}
