/** Users and groups, for administrators; and what users may do about themselves. */
import type { Transaction } from '../db/database.ts'
import type { Deps } from '../deps.ts'
import type { Row } from '../db/schema.ts'
import { newHexId, type UserGroupId, type UserId } from '../ids.ts'
import { changeOf, flagOf, narrow, type Change, type Described } from './administer-domains.ts'
import { groupSubject, userSubject } from './assignment-store.ts'
import { REFUSED, type LoginContext } from './create-token.ts'
import type { Identity } from './identity.ts'
import { IdentityFailure } from './identity-failure.ts'
import { listNamed, type Page, type PageQuery } from './named-store.ts'
import { hashPassword, verifyPassword } from './password.ts'
import { assertAdministered, assertNotAbove, chooseDomain, getReached, reachOf, taken } from './reach.ts'
import { deleteTokensOf } from './token-store.ts'

type IdentityDeps = Pick<Deps, 'db' | 'clock'>
type ListQuery = PageQuery & { readonly name?: string, readonly domain_id?: string }

export async function createUser(
  { db, clock }: IdentityDeps, caller: Identity, wanted: Described & { readonly password: string, readonly domain_id?: string },
): Promise<Row<'users'>> {
  const action = 'identity:users:create'
  reachOf(caller, action)
  // Hashing takes long, so it is done before the transaction.
  const passwordHash = await hashPassword(wanted.password)
  return db.transaction().execute(async (tx) => {
    const row = {
      id: newHexId<UserId>(),
      domain_id: await chooseDomain(tx, caller, action, wanted.domain_id),
      name: wanted.name,
      password_hash: passwordHash,
      description: wanted.description ?? '',
      enabled: flagOf(wanted.enabled),
      created_at: clock.now(),
    }
    const made = await tx.insertInto('users').values(row).onConflict((conflict) => conflict.doNothing()).returning('id').executeTakeFirst()
    if (made === undefined) throw taken('user', wanted.name)
    return row
  })
}

export function listAdministeredUsers({ db }: IdentityDeps, caller: Identity, query: ListQuery): Promise<Page<Row<'users'>>> {
  return listNamed(db, 'users', { domainId: narrow(reachOf(caller, 'identity:users:list'), query.domain_id), name: query.name }, query)
}

export function showUserRow({ db }: IdentityDeps, caller: Identity, id: string): Promise<Row<'users'>> {
  return getReached(db, caller, 'identity:users:get', 'users', id)
}

/** A new password ends the tokens that were got with the old one. */
export async function updateUser(
  { db }: IdentityDeps, caller: Identity, id: string, change: Change & { readonly password?: string },
): Promise<Row<'users'>> {
  const action = 'identity:users:update'
  reachOf(caller, action)
  const passwordHash = change.password === undefined ? undefined : await hashPassword(change.password)
  return db.transaction().execute(async (tx) => {
    const user = await getReached(tx, caller, action, 'users', id)
    await assertNotAbove(tx, caller, action, { userId: user.id })
    if (change.enabled === false && user.id === caller.user.id) throw new IdentityFailure(409, 'Nobody disables the own user.')
    const changed = { ...changeOf(change), ...(passwordHash === undefined ? {} : { password_hash: passwordHash }) }
    if (Object.keys(changed).length > 0) await tx.updateTable('users').set(changed).where('id', '=', user.id).execute()
    if (passwordHash !== undefined || change.enabled === false) await deleteTokensOf(tx, user.id)
    await assertAdministered(tx)
    return { ...user, ...changed }
  })
}

export async function deleteUser({ db }: IdentityDeps, caller: Identity, id: string): Promise<void> {
  const action = 'identity:users:delete'
  await db.transaction().execute(async (tx) => {
    const user = await getReached(tx, caller, action, 'users', id)
    await assertNotAbove(tx, caller, action, { userId: user.id })
    if (user.id === caller.user.id) throw new IdentityFailure(409, 'Nobody deletes the own user.')
    await deleteTokensOf(tx, user.id)
    await tx.deleteFrom('access_keys').where('user_id', '=', user.id).execute()
    await tx.deleteFrom('user_group_members').where('user_id', '=', user.id).execute()
    await tx.deleteFrom('role_assignments').where('subject', '=', userSubject(user.id)).execute()
    await tx.deleteFrom('users').where('id', '=', user.id).execute()
    await assertAdministered(tx)
  })
}

/** A user changes the own password with the old one. Every token of the user ends, the caller's too. */
export async function changePassword(
  { db }: IdentityDeps, caller: Identity, id: string, { password, original_password: original }: { password: string, original_password: string },
  { throttle, address }: LoginContext,
): Promise<void> {
  if (id !== caller.user.id) throw new IdentityFailure(403, 'Users change their own password only; an administrator sets another.')
  if (caller.isTemporary) throw new IdentityFailure(403, 'A temporary key changes no password.')
  const { password_hash: stored } = await db.selectFrom('users').select('password_hash').where('id', '=', caller.user.id).executeTakeFirstOrThrow()
  const succeed = await throttle.admit({ account: caller.user.id, address })
  // A wrong old password is no 401: clients would take that for a token that has ended.
  if (!await verifyPassword(original, stored)) throw new IdentityFailure(400, `${REFUSED} The original password is wrong.`)
  succeed()
  if (original === password) throw new IdentityFailure(400, 'The new password is the old one.')
  const passwordHash = await hashPassword(password)
  await db.transaction().execute(async (tx) => {
    // Only over the password that was checked: of two changes at once, one counts.
    const { numUpdatedRows } = await tx.updateTable('users').set({ password_hash: passwordHash })
      .where('id', '=', caller.user.id).where('password_hash', '=', stored).executeTakeFirst()
    if (numUpdatedRows === 0n) throw new IdentityFailure(409, 'The password was changed meanwhile.')
    await deleteTokensOf(tx, caller.user.id)
  })
}

export async function createGroup(
  { db, clock }: IdentityDeps, caller: Identity, wanted: { readonly name: string, readonly description?: string, readonly domain_id?: string },
): Promise<Row<'user_groups'>> {
  return db.transaction().execute(async (tx) => {
    const row = {
      id: newHexId<UserGroupId>(),
      domain_id: await chooseDomain(tx, caller, 'identity:groups:create', wanted.domain_id),
      name: wanted.name,
      description: wanted.description ?? '',
      created_at: clock.now(),
    }
    const made = await tx.insertInto('user_groups').values(row).onConflict((conflict) => conflict.doNothing()).returning('id').executeTakeFirst()
    if (made === undefined) throw taken('group', wanted.name)
    return row
  })
}

export function listAdministeredGroups({ db }: IdentityDeps, caller: Identity, query: ListQuery): Promise<Page<Row<'user_groups'>>> {
  return listNamed(db, 'user_groups', { domainId: narrow(reachOf(caller, 'identity:groups:list'), query.domain_id), name: query.name }, query)
}

export interface GroupView {
  readonly group: Row<'user_groups'>
  readonly userIds: readonly UserId[]
}

export async function showGroup({ db }: IdentityDeps, caller: Identity, id: string): Promise<GroupView> {
  const group = await getReached(db, caller, 'identity:groups:get', 'user_groups', id)
  const members = await db.selectFrom('user_group_members').select('user_id').where('group_id', '=', group.id).orderBy('user_id').execute()
  return { group, userIds: members.map((member) => member.user_id) }
}

export async function deleteGroup({ db }: IdentityDeps, caller: Identity, id: string): Promise<void> {
  await changeGroup(db, caller, 'identity:groups:delete', id, async (tx, group) => {
    await tx.deleteFrom('user_group_members').where('group_id', '=', group.id).execute()
    await tx.deleteFrom('role_assignments').where('subject', '=', groupSubject(group.id)).execute()
    await tx.deleteFrom('user_groups').where('id', '=', group.id).execute()
  })
}

const GROUP_USERS_MAX = 1000

export async function addGroupUser({ db }: IdentityDeps, caller: Identity, id: string, userId: string): Promise<void> {
  const action = 'identity:groups:update'
  await changeGroup(db, caller, action, id, async (tx, group) => {
    const user = await getReached(tx, caller, action, 'users', userId)
    if (user.domain_id !== group.domain_id) throw new IdentityFailure(400, 'A group takes users of its own domain.')
    const { count } = await tx.selectFrom('user_group_members').select(({ fn }) => fn.countAll().as('count'))
      .where('group_id', '=', group.id).executeTakeFirstOrThrow()
    if (Number(count) >= GROUP_USERS_MAX) throw new IdentityFailure(409, `A group has at most ${GROUP_USERS_MAX} users.`)
    await tx.insertInto('user_group_members').values({ group_id: group.id, user_id: user.id }).onConflict((conflict) => conflict.doNothing()).execute()
  })
}

export async function removeGroupUser({ db }: IdentityDeps, caller: Identity, id: string, userId: string): Promise<void> {
  await changeGroup(db, caller, 'identity:groups:update', id, async (tx, group) => {
    const { numDeletedRows } = await tx.deleteFrom('user_group_members')
      .where('group_id', '=', group.id).where('user_id', '=', userId as UserId).executeTakeFirst()
    if (numDeletedRows === 0n) throw new IdentityFailure(404, 'The user is not in the group.')
  })
}

async function changeGroup(
  db: Deps['db'], caller: Identity, action: string, id: string, change: (tx: Transaction, group: Row<'user_groups'>) => Promise<void>,
): Promise<void> {
  await db.transaction().execute(async (tx) => {
    const group = await getReached(tx, caller, action, 'user_groups', id)
    await assertNotAbove(tx, caller, action, { groupId: group.id })
    await change(tx, group)
    await assertAdministered(tx)
  })
}
