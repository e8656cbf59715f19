import type { Deps } from '../deps.ts'
import { makeIdentity, type Identity } from './identity.ts'
import { findGrantedProject, findUser } from './identity-store.ts'
import { findToken } from './token-store.ts'

/** A request as it came on the wire: signatures cover the raw bytes. */
export interface SignedRequest {
  readonly method: string
  /** Path and query. */
  readonly target: string
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Uint8Array
}

/** Says who calls by a request's credentials, or in a few words why they are refused. */
export async function authenticate(
  deps: Pick<Deps, 'db' | 'clock'>, request: SignedRequest,
): Promise<Identity | { readonly refused: string }> {
  const token = request.headers['x-auth-token']
  if (typeof token === 'string' && token !== '') return authenticateToken(deps, token)
  return { refused: 'x-auth-token not found' }
}

async function authenticateToken({ db, clock }: Pick<Deps, 'db' | 'clock'>, token: string): Promise<Identity | { readonly refused: string }> {
  const refused = { refused: 'decrypt token fail' }
  const row = await findToken(db, token, clock.now())
  if (row === undefined) return refused
  const owner = await findUser(db, row.user_id)
  if (owner === undefined) return refused
  if (row.project_id === null) return makeIdentity(owner, undefined)
  // Looked up again at every call: a grant that was taken away ends its tokens.
  const project = await findGrantedProject(db, row.user_id, row.project_id)
  return project === undefined ? refused : makeIdentity(owner, project)
}
