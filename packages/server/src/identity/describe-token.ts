import type { Deps } from '../deps.ts'
import type { Identity } from './identity.ts'
import type { DescribedToken } from './create-token.ts'
import { IdentityFailure } from './identity-failure.ts'
import { findGrantedProject, findUser } from './identity-store.ts'
import { deleteToken, findToken } from './token-store.ts'

/** Says for whom and what a token is good. A caller sees tokens of its own user; others do not exist for it. */
export async function describeToken({ db, clock }: Pick<Deps, 'db' | 'clock'>, caller: Identity, token: string): Promise<DescribedToken> {
  const row = await findToken(db, token, clock.now())
  const owner = row === undefined ? undefined : await findUser(db, row.user_id)
  if (row === undefined || owner === undefined || owner.user.id !== caller.user.id) throw notFound()
  const project = row.project_id === null ? undefined : await findGrantedProject(db, row.user_id, row.project_id)
  if (row.project_id !== null && project === undefined) throw notFound()
  return {
    owner,
    project,
    isDomainScoped: row.domain_id !== null,
    methods: JSON.parse(row.methods) as string[],
    issuedAt: row.issued_at,
    expiresAt: row.expires_at,
  }
}

/** Ends a token of the caller's user. */
export async function revokeToken(deps: Pick<Deps, 'db' | 'clock'>, caller: Identity, token: string): Promise<void> {
  await describeToken(deps, caller, token)
  await deps.db.transaction().execute((tx) => deleteToken(tx, token))
}

function notFound(): IdentityFailure {
  return new IdentityFailure(404, 'This is not a recognized token: it does not exist or has expired.')
}
