/** SQL of domains, projects, users, grants and access keys. */
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, Row } from '../db/schema.ts'
import type { DomainId, ProjectId, UserId } from '../ids.ts'

/** Whether anybody was ever made: the first start makes the bootstrap user. */
export async function hasDomains(db: Reader): Promise<boolean> {
  return await db.selectFrom('domains').select('id').limit(1).executeTakeFirst() !== undefined
}

export async function insertTenant(tx: Transaction, tenant: {
  domain: NewRow<'domains'>
  project: NewRow<'projects'>
  user: NewRow<'users'>
  accessKey: NewRow<'access_keys'>
}): Promise<void> {
  await tx.insertInto('domains').values(tenant.domain).execute()
  await tx.insertInto('projects').values(tenant.project).execute()
  await tx.insertInto('users').values(tenant.user).execute()
  await tx.insertInto('grants').values({ user_id: tenant.user.id, project_id: tenant.project.id, role: 'admin' }).execute()
  await tx.insertInto('access_keys').values(tenant.accessKey).execute()
}

export async function hasProjectNamed(db: Reader, name: string): Promise<boolean> {
  return await db.selectFrom('projects').select('id').where('name', '=', name).limit(1).executeTakeFirst() !== undefined
}

export interface UserAndDomain {
  readonly user: Row<'users'>
  readonly domain: Row<'domains'>
}

export async function findUser(db: Reader, userId: string): Promise<UserAndDomain | undefined> {
  const user = await db.selectFrom('users').selectAll().where('id', '=', userId as UserId).executeTakeFirst()
  return withDomain(db, user)
}

/** `domain` by its id or its name, whichever is given. */
export async function findUserByName(
  db: Reader, name: string, domain: { readonly id?: string, readonly name?: string },
): Promise<UserAndDomain | undefined> {
  const found = await findDomain(db, domain)
  if (found === undefined) return undefined
  const user = await db.selectFrom('users').selectAll()
    .where('domain_id', '=', found.id).where('name', '=', name).executeTakeFirst()
  return user === undefined ? undefined : { user, domain: found }
}

async function withDomain(db: Reader, user: Row<'users'> | undefined): Promise<UserAndDomain | undefined> {
  if (user === undefined) return undefined
  const domain = await db.selectFrom('domains').selectAll().where('id', '=', user.domain_id).executeTakeFirstOrThrow()
  return { user, domain }
}

export async function findDomain(
  db: Reader, domain: { readonly id?: string, readonly name?: string },
): Promise<Row<'domains'> | undefined> {
  const query = db.selectFrom('domains').selectAll()
  if (domain.id !== undefined) return query.where('id', '=', domain.id as DomainId).executeTakeFirst()
  if (domain.name !== undefined) return query.where('name', '=', domain.name).executeTakeFirst()
  return undefined
}

/** The projects in which a user may act, by name. */
export async function listGrantedProjects(db: Reader, userId: UserId, name?: string): Promise<Row<'projects'>[]> {
  let query = db.selectFrom('projects').innerJoin('grants', 'grants.project_id', 'projects.id')
    .where('grants.user_id', '=', userId).selectAll('projects').orderBy('projects.name').orderBy('projects.id')
  if (name !== undefined) query = query.where('projects.name', '=', name)
  return query.execute()
}

export async function findGrantedProject(db: Reader, userId: UserId, projectId: string): Promise<Row<'projects'> | undefined> {
  return db.selectFrom('projects').innerJoin('grants', 'grants.project_id', 'projects.id')
    .where('grants.user_id', '=', userId).where('projects.id', '=', projectId as ProjectId)
    .selectAll('projects').executeTakeFirst()
}

export async function findAccessKey(db: Reader, accessKey: string): Promise<Row<'access_keys'> | undefined> {
  return db.selectFrom('access_keys').selectAll().where('access_key', '=', accessKey).executeTakeFirst()
}
