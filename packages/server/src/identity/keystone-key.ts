/**
 * EC2 credentials of an outside Keystone, as keys that sign calls here. Keystone judges signatures of AWS only, so the
 * secret is fetched and the signature is judged here; what the key is good for is put together from what
 * Keystone says of its user, its project and the roles of the one in the other.
 */
import { member, parseNamed, PROJECT_ID, type KeystoneToken } from './keystone-token.ts'

export interface KeystoneKey {
  readonly secretKey: string
  /** Who the key stands for, and where: an EC2 credential is for one project. */
  readonly bearer: Pick<KeystoneToken, 'user' | 'roles'> & { readonly project: NonNullable<KeystoneToken['project']> }
}

export interface KeystoneCredential {
  readonly secretKey: string
  readonly userId: string
  readonly projectId: string
}

/**
 * Reads the answer of `GET /v3/credentials/{id}`. Undefined for what is no EC2 credential of this access key, and for one that was
 * made by a trust or an application credential: those are narrower than their user, in ways that only a token tells.
 */
export function parseCredential(answer: unknown, accessKey: string): KeystoneCredential | undefined {
  const credential = member(answer, 'credential')
  const blob = member(credential, 'blob')
  const [userId, projectId] = [member(credential, 'user_id'), member(credential, 'project_id')]
  if (member(credential, 'type') !== 'ec2' || typeof blob !== 'string' || typeof userId !== 'string' || typeof projectId !== 'string') return undefined
  if (!/^[\w-]{1,64}$/.test(userId) || !PROJECT_ID.test(projectId)) return undefined
  const secret = parseBlob(blob)
  const secretKey = member(secret, 'secret')
  if (member(secret, 'access') !== accessKey || typeof secretKey !== 'string' || secretKey === '') return undefined
  if (['trust_id', 'app_cred_id', 'access_token_id'].some((each) => (member(secret, each) ?? null) !== null)) return undefined
  return { secretKey, userId, projectId }
}

function parseBlob(blob: string): unknown {
  try {
    return JSON.parse(blob)
  } catch {
    return undefined
  }
}

/** A user, project or domain of an answer. Undefined when it is disabled: neither it nor what is in it lets anybody in. */
export function parseEnabled(answer: unknown, noun: 'user' | 'project' | 'domain'): { readonly id: string, readonly name: string, readonly domainId: string } | undefined {
  const value = member(answer, noun)
  const [named, domainId] = [parseNamed(value), member(value, 'domain_id') ?? '']
  return named !== undefined && member(value, 'enabled') === true && typeof domainId === 'string' ? { ...named, domainId } : undefined
}

/** Names of the roles in the answer of `GET /v3/role_assignments?effective&include_names`; undefined when it has another form. */
export function parseRoleNames(answer: unknown): readonly string[] | undefined {
  const assignments = member(answer, 'role_assignments')
  if (!Array.isArray(assignments)) return undefined
  const names = assignments.map((each) => member(member(each, 'role'), 'name'))
  return names.every((name) => typeof name === 'string') ? [...new Set(names)] : undefined
}
