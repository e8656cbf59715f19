import { timingSafeEqual } from 'node:crypto'
import { parseAuthorization, signedAtMs, verifySignature } from '@opencbr/contract'
import type { Deps } from '../deps.ts'
import type { Reader } from '../db/database.ts'
import { findGrantedProject, listGrantedProjects, readRights } from './assignment-store.ts'
import type { OutsideIdentity } from './authenticate-keystone.ts'
import { accessKeyPurpose, makeIdentity, type Identity } from './identity.ts'
import { findAccessKey, findUser, type UserAndDomain } from './identity-store.ts'
import { findIdentityRevision, recallToken, rememberToken } from './token-memory.ts'
import { findToken, hashToken } from './token-store.ts'

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

/** Why credentials are refused: they are not good (401), they do not allow the call (403), or nobody can say now (503). */
export interface Refused {
  readonly refused: string
  /** 401 when absent. */
  readonly status?: 403 | 503
}

/** How far the time of a signature may lie from the server's, either way. */
const SIGNATURE_AGE_MAX_MS = 15 * 60 * 1000

/** Says who calls by a request's credentials, or in a few words why they are refused. Tokens may be judged elsewhere, and keys be known there. */
export async function authenticate(
  deps: Pick<Deps, 'db' | 'clock' | 'secrets'>, request: SignedRequest, outside?: OutsideIdentity,
): Promise<Identity | Refused> {
  const token = request.headers['x-auth-token']
  if (typeof token === 'string' && token !== '') return outside === undefined ? authenticateToken(deps, token) : outside.judgeToken(token, request)
  const { authorization } = request.headers
  if (typeof authorization === 'string' && authorization !== '') return authenticateSignature(deps, authorization, request, outside)
  return { refused: 'x-auth-token not found' }
}

async function authenticateToken({ db, clock }: Pick<Deps, 'db' | 'clock'>, token: string): Promise<Identity | Refused> {
  const refused = { refused: 'decrypt token fail' }
  const now = clock.now()
  const hash = hashToken(token)
  // Looked at again at every call: a role that was taken away ends its tokens.
  const revision = await findIdentityRevision(db)
  const known = recallToken(db, hash, revision, now)
  if (known !== undefined) return known
  const row = await findToken(db, token, now)
  const owner = row === undefined ? undefined : await findUser(db, row.user_id)
  if (row === undefined || owner === undefined) return refused
  const identity = await identityOf(db, owner, row.project_id)
  if (identity === undefined) return refused
  rememberToken(db, hash, { revision, expiresAt: row.expires_at, identity })
  return identity
}

/** Undefined when the user may not act in the project. */
async function identityOf(db: Reader, owner: UserAndDomain, projectId: string | null): Promise<Identity | undefined> {
  if (projectId === null) return makeIdentity(owner, undefined, await readRights(db, owner.user, undefined))
  const granted = await findGrantedProject(db, owner.user, projectId)
  return granted === undefined ? undefined : makeIdentity(owner, granted.project, granted.rights)
}

async function authenticateSignature(
  { db, clock, secrets }: Pick<Deps, 'db' | 'clock' | 'secrets'>, header: string, request: SignedRequest, outside: OutsideIdentity | undefined,
): Promise<Identity | Refused> {
  const refused = { refused: 'verify aksk signature fail' }
  const authorization = parseAuthorization(header)
  if ('refused' in authorization) return authorization
  const signedAt = signedAtMs(request)
  if (signedAt === undefined) return { refused: 'the header X-Sdk-Date is not of the form 20260115T083015Z' }
  if (Math.abs(signedAt - clock.now() / 1000) > SIGNATURE_AGE_MAX_MS) {
    return { refused: 'X-Sdk-Date lies more than 15 minutes from the time of the server' }
  }
  const key = await findAccessKey(db, authorization.accessKey, clock.now())
  const elsewhere = key === undefined ? await outside?.findKey(authorization.accessKey) : undefined
  if (elsewhere !== undefined && 'refused' in elsewhere) return elsewhere
  // An unknown key is verified too, against nothing, so that the time tells nobody which keys exist.
  const secret = key === undefined ? elsewhere?.secretKey ?? '' : secrets.unseal(accessKeyPurpose(key.access_key), key.secret_sealed)
  const isRight = verifySignature(request, authorization, secret)
  if (!isRight || (key === undefined && elsewhere === undefined)) return refused
  if (!carriesToken(request, key?.security_token_hash ?? null)) return { refused: 'the header X-Security-Token does not belong to this access key' }
  if (key === undefined) return elsewhere?.identity ?? refused
  const owner = await findUser(db, key.user_id)
  if (owner === undefined) return refused
  const isTemporary = key.security_token_hash !== null
  const projectId = isTemporary ? key.project_id : await chooseProject({ db }, owner, request)
  const granted = projectId === null ? undefined : await findGrantedProject(db, owner.user, projectId)
  return granted === undefined
    ? makeIdentity(owner, undefined, await readRights(db, owner.user, undefined), isTemporary)
    : makeIdentity(owner, granted.project, granted.rights, isTemporary)
}

/** A temporary key comes with its token, which some clients leave unsigned; any other comes without one. */
function carriesToken({ headers }: SignedRequest, tokenHash: string | null): boolean {
  const sent = headers['x-security-token']
  const isSent = typeof sent === 'string' && sent !== ''
  if (tokenHash === null) return !isSent
  return isSent && timingSafeEqual(Buffer.from(hashToken(sent)), Buffer.from(tokenHash))
}

/** The path decides; without a project there, the client's header, and then the user's first project. */
async function chooseProject(
  { db }: Pick<Deps, 'db'>, { user }: UserAndDomain, { pathProjectId, headers }: SignedRequest,
): Promise<string | null> {
  if (pathProjectId !== undefined) return pathProjectId
  const projects = await listGrantedProjects(db, user.id)
  const named = headers['x-project-id']
  return (projects.find((project) => project.id === named) ?? projects[0])?.id ?? null
}
