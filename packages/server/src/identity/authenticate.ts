import { isSignature, parseAuthorization, signedAtMs, verifySignature } from '@opencbr/contract'
import type { Deps } from '../deps.ts'
import type { UserId } from '../ids.ts'
import type { Row } from '../db/schema.ts'
import { accessKeyPurpose, makeIdentity, type Identity } from './identity.ts'
import { findAccessKey, findGrantedProject, findUser, listGrantedProjects } from './identity-store.ts'
import { findToken } from './token-store.ts'

/** A request as it came on the wire: signatures cover the raw bytes. */
export interface SignedRequest {
  readonly method: string
  /** Path and query. */
  readonly target: string
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Uint8Array
  /** The project that the path names: an access key is good for all projects of its user. */
  readonly pathProjectId: string | undefined
}

type Refused = { readonly refused: string }

/** How far the time of a signature may lie from the server's, either way. */
const SIGNATURE_AGE_MAX_MS = 15 * 60 * 1000

/** Says who calls by a request's credentials, or in a few words why they are refused. */
export async function authenticate(
  deps: Pick<Deps, 'db' | 'clock' | 'secrets'>, request: SignedRequest,
): Promise<Identity | Refused> {
  const token = request.headers['x-auth-token']
  if (typeof token === 'string' && token !== '') return authenticateToken(deps, token)
  const { authorization } = request.headers
  if (typeof authorization === 'string' && isSignature(authorization)) return authenticateSignature(deps, authorization, request)
  return { refused: 'x-auth-token not found' }
}

async function authenticateToken({ db, clock }: Pick<Deps, 'db' | 'clock'>, token: string): Promise<Identity | Refused> {
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

async function authenticateSignature(
  { db, clock, secrets }: Pick<Deps, 'db' | 'clock' | 'secrets'>, header: string, request: SignedRequest,
): Promise<Identity | Refused> {
  const refused = { refused: 'verify aksk signature fail' }
  const authorization = parseAuthorization(header)
  if ('refused' in authorization) return authorization
  const signedAt = signedAtMs(request)
  if (signedAt === undefined) return { refused: 'the header X-Sdk-Date is not of the form 20260115T083015Z' }
  if (Math.abs(signedAt - clock.now() / 1000) > SIGNATURE_AGE_MAX_MS) {
    return { refused: 'X-Sdk-Date lies more than 15 minutes from the time of the server' }
  }
  // It belongs to temporary keys, and this server issues none; ignoring it would accept half of a credential.
  if (request.headers['x-security-token'] !== undefined && request.headers['x-security-token'] !== '') {
    return { refused: 'temporary keys with X-Security-Token are not supported' }
  }
  const key = await findAccessKey(db, authorization.accessKey)
  // An unknown key is verified too, against nothing, so that the time tells nobody which keys exist.
  const secret = key === undefined ? '' : secrets.unseal(accessKeyPurpose(key.access_key), key.secret_sealed)
  const isRight = verifySignature(request, authorization, secret)
  const owner = isRight && key !== undefined ? await findUser(db, key.user_id) : undefined
  if (owner === undefined) return refused
  return makeIdentity(owner, await chooseProject({ db }, owner.user.id, request))
}

/** The path decides; without a project there, the client's header, and then the user's first project. */
async function chooseProject(
  { db }: Pick<Deps, 'db'>, userId: UserId, { pathProjectId, headers }: SignedRequest,
): Promise<Row<'projects'> | undefined> {
  if (pathProjectId !== undefined) return findGrantedProject(db, userId, pathProjectId)
  const named = headers['x-project-id']
  const found = typeof named === 'string' ? await findGrantedProject(db, userId, named) : undefined
  return found ?? (await listGrantedProjects(db, userId))[0]
}
