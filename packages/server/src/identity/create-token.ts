import type { Static } from 'typebox'
import type { TokenRequest } from '@opencbr/contract'
import type { Deps } from '../deps.ts'
import type { Row } from '../db/schema.ts'
import { findGrantedProject, listGrantedProjects, readRights } from './assignment-store.ts'
import type { UserRights } from './identity.ts'
import { IdentityFailure } from './identity-failure.ts'
import { findDomain, findUser, findUserByName, type UserAndDomain } from './identity-store.ts'
import { issueToken, type IssuedToken } from './issue-token.ts'
import type { LoginThrottle } from './login-throttle.ts'
import { verifyPassword } from './password.ts'
import { findToken } from './token-store.ts'

type Auth = Static<typeof TokenRequest>['auth']

/** A token and for whom and what it is good. */
export interface DescribedToken extends Omit<IssuedToken, 'token'> {
  readonly methods: readonly string[]
  readonly owner: UserAndDomain
  readonly project: Row<'projects'> | undefined
  /** Scoped to the user's whole domain. */
  readonly isDomainScoped: boolean
  readonly rights: UserRights
}

/** What proving who one is takes besides the catalogue. */
export interface LoginContext {
  readonly throttle: LoginThrottle
  /** From where the call comes. */
  readonly address: string
}

/** One answer for everything that may be wrong with credentials: it must not tell which part is. */
export const REFUSED = 'The request you have made requires authentication.'

/** Logs a user in by password or by an earlier token, for a project (the user's first one by default) or a domain. */
export async function createToken(deps: Pick<Deps, 'db' | 'clock'>, auth: Auth, login: LoginContext): Promise<DescribedToken & IssuedToken> {
  const proven = await prove(deps, auth.identity, login)
  const scope = await findScope(deps, proven.owner, auth.scope)
  const issued = await issueToken(deps, {
    userId: proven.owner.user.id,
    projectId: scope.project?.id ?? null,
    domainId: scope.isDomainScoped ? proven.owner.domain.id : null,
    methods: proven.methods,
    ...(proven.expiresAtMax === undefined ? {} : { expiresAtMax: proven.expiresAtMax }),
  })
  return { ...issued, ...scope, methods: proven.methods, owner: proven.owner }
}

interface Proven {
  readonly owner: UserAndDomain
  readonly methods: readonly string[]
  readonly expiresAtMax?: number
}

async function prove(deps: Pick<Deps, 'db' | 'clock'>, identity: Auth['identity'], login: LoginContext): Promise<Proven> {
  const methods = new Set(identity.methods)
  const [method] = methods
  if (methods.size > 1) throw new IdentityFailure(401, 'Only one authentication method at a time is supported here.')
  if (method === 'password') return provePassword(deps, identity.password?.user, login)
  if (method === 'token') return proveToken(deps, identity.token?.id)
  throw new IdentityFailure(401, 'Attempted to authenticate with an unsupported method.')
}

async function provePassword(
  { db }: Pick<Deps, 'db'>, user: NonNullable<Auth['identity']['password']>['user'] | undefined, { throttle, address }: LoginContext,
): Promise<Proven> {
  if (user === undefined) throw new IdentityFailure(400, 'Expecting to find password in auth.identity.')
  if (user.id === undefined && (user.name === undefined || user.domain === undefined)) {
    throw new IdentityFailure(400, 'Expecting to find id, or name and domain, in auth.identity.password.user.')
  }
  const owner = user.id === undefined
    ? await findUserByName(db, user.name ?? '', user.domain ?? {})
    : await findUser(db, user.id)
  // Who has no account is counted by the name that was tried: whether there is one must not show.
  const account = owner?.user.id ?? JSON.stringify([user.id, user.name, user.domain])
  const succeed = await throttle.admit({ account, address })
  const isRight = await verifyPassword(user.password, owner?.user.password_hash)
  if (owner === undefined) throw new IdentityFailure(401, REFUSED)
  if (!isRight) throw new IdentityFailure(401, REFUSED, { id: owner.user.id, name: owner.user.name, domainId: owner.domain.id })
  succeed()
  return { owner, methods: ['password'] }
}

async function proveToken({ db, clock }: Pick<Deps, 'db' | 'clock'>, token: string | undefined): Promise<Proven> {
  if (token === undefined) throw new IdentityFailure(400, 'Expecting to find token in auth.identity.')
  const row = await findToken(db, token, clock.now())
  const owner = row === undefined ? undefined : await findUser(db, row.user_id)
  if (row === undefined || owner === undefined) throw new IdentityFailure(401, REFUSED)
  const earlier = JSON.parse(row.methods) as string[]
  return { owner, methods: [...new Set([...earlier, 'token'])], expiresAtMax: row.expires_at }
}

interface Scope {
  readonly project: Row<'projects'> | undefined
  readonly isDomainScoped: boolean
  readonly rights: UserRights
}

async function findScope({ db }: Pick<Deps, 'db'>, { user, domain }: UserAndDomain, scope: Auth['scope']): Promise<Scope> {
  const wanted = scope === undefined || scope === 'unscoped' ? {} : scope
  if (wanted.project !== undefined && wanted.domain !== undefined) {
    throw new IdentityFailure(400, 'Expecting to find either project or domain in auth.scope, not both.')
  }
  if (wanted.domain !== undefined) {
    const found = await findDomain(db, wanted.domain)
    if (found === undefined || found.id !== domain.id) throw new IdentityFailure(401, REFUSED)
    return { project: undefined, isDomainScoped: true, rights: await readRights(db, user, undefined) }
  }
  if (wanted.project === undefined) {
    const [first] = await listGrantedProjects(db, user.id)
    return { project: first, isDomainScoped: false, rights: await readRights(db, user, first) }
  }
  const { id, name } = wanted.project
  if (id === undefined && name === undefined) throw new IdentityFailure(400, 'Expecting to find id or name in auth.scope.project.')
  // Without a domain the name is looked up in the user's own, as IAM does.
  const home = wanted.project.domain === undefined ? domain : await findDomain(db, wanted.project.domain)
  const projectId = id ?? (await listGrantedProjects(db, user.id, name)).find((each) => each.domain_id === home?.id)?.id
  const granted = projectId === undefined ? undefined : await findGrantedProject(db, user, projectId)
  if (granted === undefined) throw new IdentityFailure(401, REFUSED)
  return { ...granted, isDomainScoped: false }
}
