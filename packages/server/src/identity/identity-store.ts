/** SQL of domains, projects, users and access keys. */
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, Row } from '../db/schema.ts'
import { newUuid, type DomainId, type UserId } from '../ids.ts'
import { domainScope, SYSTEM_SCOPE, userSubject } from './assignment-store.ts'

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
  for (const scope of [SYSTEM_SCOPE, domainScope(tenant.domain.id)]) {
    await tx.insertInto('role_assignments').values({
      id: newUuid(), subject: userSubject(tenant.user.id), scope, role: 'administrator', created_at: tenant.user.created_at,
    }).execute()
  }
  await tx.insertInto('access_keys').values(tenant.accessKey).execute()
}

export async function hasProjectNamed(db: Reader, name: string): Promise<boolean> {
  return await db.selectFrom('projects').select('id').where('name', '=', name).limit(1).executeTakeFirst() !== undefined
}

export interface UserAndDomain {
  readonly user: Row<'users'>
  readonly domain: Row<'domains'>
}

/** A user that may act: neither it nor its domain is disabled. */
export async function findUser(db: Reader, userId: string): Promise<UserAndDomain | undefined> {
  return withDomain(db, await db.selectFrom('users').selectAll().where('id', '=', userId as UserId).executeTakeFirst())
}

/** The same by name; `domain` by its id or its name, whichever is given. */
export async function findUserByName(
  db: Reader, name: string, domain: { readonly id?: string, readonly name?: string },
): Promise<UserAndDomain | undefined> {
  const found = await findDomain(db, domain)
  if (found === undefined) return undefined
  return withDomain(db, await db.selectFrom('users').selectAll()
    .where('domain_id', '=', found.id).where('name', '=', name).executeTakeFirst())
}

async function withDomain(db: Reader, user: Row<'users'> | undefined): Promise<UserAndDomain | undefined> {
  if (user === undefined || user.enabled === 0) return undefined
  const domain = await db.selectFrom('domains').selectAll().where('id', '=', user.domain_id).executeTakeFirstOrThrow()
  return domain.enabled === 0 ? undefined : { user, domain }
}

export async function findDomain(
  db: Reader, domain: { readonly id?: string, readonly name?: string },
): Promise<Row<'domains'> | undefined> {
  const query = db.selectFrom('domains').selectAll()
  if (domain.id !== undefined) return query.where('id', '=', domain.id as DomainId).executeTakeFirst()
  if (domain.name !== undefined) return query.where('name', '=', domain.name).executeTakeFirst()
  return undefined
}

/** A key with which calls may be signed: neither disabled nor, if it is a temporary one, at its end. */
export async function findAccessKey(db: Reader, accessKey: string, now: Micros): Promise<Row<'access_keys'> | undefined> {
  const key = await db.selectFrom('access_keys').selectAll().where('access_key', '=', accessKey).executeTakeFirst()
  return key === undefined || key.enabled === 0 || (key.expires_at !== null && key.expires_at <= now) ? undefined : key
}
