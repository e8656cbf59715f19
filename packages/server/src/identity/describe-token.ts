import type { Deps } from '../deps.ts'
import { findGrantedProject, readRights } from './assignment-store.ts'
import { administrationOf, type Identity } from './identity.ts'
import type { DescribedToken } from './create-token.ts'
import { IdentityFailure } from './identity-failure.ts'
import { findUser, type UserAndDomain } from './identity-store.ts'
import { deleteToken, findToken } from './token-store.ts'

/**
 * Says for whom and what a token is good. A caller sees tokens of its own user, an administrator those of
 * its domain or all; others do not exist for it.
 */
export async function describeToken({ db, clock }: Pick<Deps, 'db' | 'clock'>, caller: Identity, token: string): Promise<DescribedToken> {
  const row = await findToken(db, token, clock.now())
  const owner = row === undefined ? undefined : await findUser(db, row.user_id)
  if (row === undefined || owner === undefined || !maySee(caller, owner)) throw notFound()
  const granted = row.project_id === null ? undefined : await findGrantedProject(db, owner.user, row.project_id)
  if (row.project_id !== null && granted === undefined) throw notFound()
  return {
    owner,
    project: granted?.project,
    rights: granted?.rights ?? await readRights(db, owner.user, undefined),
    isDomainScoped: row.domain_id !== null,
    methods: JSON.parse(row.methods) as string[],
    issuedAt: row.issued_at,
    expiresAt: row.expires_at,
  }
}

function maySee(caller: Identity, { user, domain }: UserAndDomain): boolean {
  if (user.id === caller.user.id) return true
  const reach = administrationOf(caller, 'identity:tokens:get')
  return reach === 'system' || (reach === 'domain' && domain.id === caller.domain.id)
}

/** Ends a token of the caller's user, or one that it administers. */
export async function revokeToken(deps: Pick<Deps, 'db' | 'clock'>, caller: Identity, token: string): Promise<void> {
  await describeToken(deps, caller, token)
  await deps.db.transaction().execute((tx) => deleteToken(tx, token))
}

function notFound(): IdentityFailure {
  return new IdentityFailure(404, 'This is not a recognized token: it does not exist or has expired.')
}
