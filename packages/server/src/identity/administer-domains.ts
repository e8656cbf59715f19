/** Domains and their projects, for administrators. */
import type { Deps } from '../deps.ts'
import type { Row } from '../db/schema.ts'
import { newHexId, type DomainId, type ProjectId } from '../ids.ts'
import { domainScope, projectScope } from './assignment-store.ts'
import type { Identity } from './identity.ts'
import { IdentityFailure } from './identity-failure.ts'
import { listNamed, type Page, type PageQuery } from './named-store.ts'
import { assertAdministered, chooseDomain, getReached, reachOf, taken } from './reach.ts'

type IdentityDeps = Pick<Deps, 'db' | 'clock'>

export interface Described {
  readonly name: string
  readonly description?: string
  readonly enabled?: boolean
}

export interface Change {
  readonly description?: string
  readonly enabled?: boolean
}

export const flagOf = (enabled: boolean | undefined): 0 | 1 => (enabled === false ? 0 : 1)

export function changeOf({ description, enabled }: Change): { description?: string, enabled?: 0 | 1 } {
  return { ...(description === undefined ? {} : { description }), ...(enabled === undefined ? {} : { enabled: flagOf(enabled) }) }
}

export async function createDomain({ db, clock }: IdentityDeps, caller: Identity, wanted: Described): Promise<Row<'domains'>> {
  // A domain of its own lies outside every other one.
  if (reachOf(caller, 'identity:domains:create') !== undefined) throw new IdentityFailure(403, 'Only an administrator of the system makes domains.')
  return db.transaction().execute(async (tx) => {
    const row = {
      id: newHexId<DomainId>(), name: wanted.name, description: wanted.description ?? '', enabled: flagOf(wanted.enabled), created_at: clock.now(),
    }
    const made = await tx.insertInto('domains').values(row).onConflict((conflict) => conflict.doNothing()).returning('id').executeTakeFirst()
    if (made === undefined) throw taken('domain', wanted.name)
    return row
  })
}

export function listAdministeredDomains({ db }: IdentityDeps, caller: Identity, query: PageQuery & { readonly name?: string }): Promise<Page<Row<'domains'>>> {
  return listNamed(db, 'domains', { domainId: reachOf(caller, 'identity:domains:list'), name: query.name }, query)
}

export function showDomainRow({ db }: IdentityDeps, caller: Identity, id: string): Promise<Row<'domains'>> {
  return getReached(db, caller, 'identity:domains:get', 'domains', id)
}

export async function updateDomain({ db }: IdentityDeps, caller: Identity, id: string, change: Change): Promise<Row<'domains'>> {
  const action = 'identity:domains:update'
  return db.transaction().execute(async (tx) => {
    const domain = await getReached(tx, caller, action, 'domains', id)
    if (change.enabled === false && domain.id === caller.domain.id) throw new IdentityFailure(409, 'Nobody disables the own domain.')
    const changed = changeOf(change)
    if (Object.keys(changed).length > 0) await tx.updateTable('domains').set(changed).where('id', '=', domain.id).execute()
    await assertAdministered(tx)
    return { ...domain, ...changed }
  })
}

/** Only an empty one: what is in it is deleted one by one, seen by whoever does it. */
export async function deleteDomain({ db }: IdentityDeps, caller: Identity, id: string): Promise<void> {
  const action = 'identity:domains:delete'
  await db.transaction().execute(async (tx) => {
    const domain = await getReached(tx, caller, action, 'domains', id)
    for (const table of ['projects', 'users'] as const) {
      const left = await tx.selectFrom(table).select('id').where('domain_id', '=', domain.id).limit(1).executeTakeFirst()
      if (left !== undefined) throw new IdentityFailure(409, `The domain ${domain.name} still has ${table}.`)
    }
    await tx.deleteFrom('organization_policies').where('domain_id', '=', domain.id).execute()
    await tx.deleteFrom('user_groups').where('domain_id', '=', domain.id).execute()
    await tx.deleteFrom('roles').where('domain_id', '=', domain.id).execute()
    await tx.deleteFrom('role_assignments').where('scope', '=', domainScope(domain.id)).execute()
    await tx.deleteFrom('domains').where('id', '=', domain.id).execute()
  })
}

export async function createProject(
  { db, clock }: IdentityDeps, caller: Identity, wanted: Described & { readonly domain_id?: string },
): Promise<Row<'projects'>> {
  return db.transaction().execute(async (tx) => {
    const row = {
      id: newHexId<ProjectId>(),
      domain_id: await chooseDomain(tx, caller, 'identity:projects:create', wanted.domain_id),
      name: wanted.name,
      description: wanted.description ?? '',
      enabled: flagOf(wanted.enabled),
      created_at: clock.now(),
    }
    const made = await tx.insertInto('projects').values(row).onConflict((conflict) => conflict.doNothing()).returning('id').executeTakeFirst()
    if (made === undefined) throw taken('project', wanted.name)
    return row
  })
}

export function listAdministeredProjects(
  { db }: IdentityDeps, caller: Identity, query: PageQuery & { readonly name?: string, readonly domain_id?: string },
): Promise<Page<Row<'projects'>>> {
  return listNamed(db, 'projects', { domainId: narrow(reachOf(caller, 'identity:projects:list'), query.domain_id), name: query.name }, query)
}

/** A filter by domain narrows what is reached, and never widens it. */
export function narrow(reach: DomainId | undefined, domainId: string | undefined): DomainId | undefined {
  if (domainId === undefined) return reach
  // No domain has this id.
  return reach === undefined || reach === domainId ? domainId as DomainId : '' as DomainId
}

export function showProjectRow({ db }: IdentityDeps, caller: Identity, id: string): Promise<Row<'projects'>> {
  return getReached(db, caller, 'identity:projects:get', 'projects', id)
}

/** The name stays: clients find their project by it, the first one's is the region. */
export async function updateProject({ db }: IdentityDeps, caller: Identity, id: string, change: Change): Promise<Row<'projects'>> {
  return db.transaction().execute(async (tx) => {
    const project = await getReached(tx, caller, 'identity:projects:update', 'projects', id)
    const changed = changeOf(change)
    if (Object.keys(changed).length > 0) await tx.updateTable('projects').set(changed).where('id', '=', project.id).execute()
    return { ...project, ...changed }
  })
}

/** Only one without vaults and resources: backups are not deleted by way of who may see them. */
export async function deleteProject({ db, config }: Pick<Deps, 'db' | 'config'>, caller: Identity, id: string): Promise<void> {
  await db.transaction().execute(async (tx) => {
    const project = await getReached(tx, caller, 'identity:projects:delete', 'projects', id)
    for (const table of ['vaults', 'resources'] as const) {
      const left = await tx.selectFrom(table).select('id').where('project_id', '=', project.id).limit(1).executeTakeFirst()
      if (left !== undefined) throw new IdentityFailure(409, `The project ${project.name} still has ${table}.`)
    }
    const named = await tx.selectFrom('projects').select('id').where('name', '=', config.region).limit(2).execute()
    if (named.length === 1 && named[0]?.id === project.id) {
      throw new IdentityFailure(409, `The server starts with a project that has the name of its region, and ${project.name} is the last one.`)
    }
    // Shares that it received end; it gave none, as it has no backups.
    await tx.deleteFrom('backup_members').where('dest_project_id', '=', project.id).execute()
    // Bound to nothing, as there are no vaults.
    await tx.deleteFrom('policies').where('project_id', '=', project.id).execute()
    await tx.deleteFrom('organization_policy_deployments').where('project_id', '=', project.id).execute()
    await tx.deleteFrom('role_assignments').where('scope', '=', projectScope(project.id)).execute()
    await tx.deleteFrom('tokens').where('project_id', '=', project.id).execute()
    await tx.deleteFrom('access_keys').where('project_id', '=', project.id).execute()
    await tx.deleteFrom('projects').where('id', '=', project.id).execute()
  })
}
