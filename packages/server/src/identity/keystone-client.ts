/**
 * Speaks to an outside Keystone: logs the service's own user in, and asks what tokens of others are good for.
 *
 * Keystone's answer to a validation says who is at fault (its API reference, "Validate and show information for
 * token"): 404 the token asked about; 401 our own token, so we log in once more; 403 our user, who may not
 * validate. Without a user of our own the token vouches for itself, and 401 is about it too.
 *
 * Access keys can be asked about by a reader of the whole system only, so then that is what our user logs in as.
 */
import { createHash } from 'node:crypto'
import { parseCredential, parseEnabled, parseRoleNames, type KeystoneKey } from './keystone-key.ts'
import { parseKeystoneToken, type KeystoneToken } from './keystone-token.ts'

export interface KeystoneUser {
  readonly name: string
  readonly password: string
  readonly domainName: string
  readonly projectName: string
  readonly projectDomainName: string
}

export interface KeystoneClient {
  /** What Keystone says of a token; undefined: that it is not valid. Throws a `KeystoneTrouble` when it says neither. */
  readonly validate: (token: string) => Promise<KeystoneToken | undefined>
  /** An access key that lets somebody in now, with its secret; undefined: there is none. Throws a `KeystoneTrouble` as above. */
  readonly findKey: (accessKey: string) => Promise<KeystoneKey | undefined>
}

/** No verdict could be had; the message is for the operator's log. */
export class KeystoneTrouble extends Error {
  override name = 'KeystoneTrouble'
}

const ANSWER_MS_MAX = 5000

export interface KeystoneClientOptions {
  /** It may end in `/v3` or not, as clients write it. */
  readonly url: string
  readonly user?: KeystoneUser | undefined
  /** Access keys are asked about: the user reads the whole system. */
  readonly accessKeys?: boolean | undefined
}

export function openKeystoneClient({ url, user, accessKeys = false }: KeystoneClientOptions): KeystoneClient {
  const base = `${url.replace(/\/+$/, '').replace(/\/v3$/, '')}/v3`
  const tokens = `${base}/auth/tokens`
  let ownToken: Promise<string> | undefined

  async function ask(target: string, init: RequestInit): Promise<{ status: number, headers: Headers, body: unknown }> {
    try {
      const response = await fetch(target, { ...init, redirect: 'manual', signal: AbortSignal.timeout(ANSWER_MS_MAX) })
      const text = await response.text()
      return { status: response.status, headers: response.headers, body: parseJson(text) }
    } catch (error) {
      throw new KeystoneTrouble(`Keystone at ${url} does not answer: ${reasonOf(error)}`, { cause: error })
    }
  }

  async function logIn({ name, password, domainName, projectName, projectDomainName }: KeystoneUser): Promise<string> {
    const answer = await ask(`${tokens}?nocatalog`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        auth: {
          identity: { methods: ['password'], password: { user: { name, password, domain: { name: domainName } } } },
          scope: accessKeys ? { system: { all: true } } : { project: { name: projectName, domain: { name: projectDomainName } } },
        },
      }),
    })
    const token = answer.headers.get('x-subject-token')
    if (answer.status !== 201 || token === null) {
      throw new KeystoneTrouble(`Keystone at ${url} answers ${answer.status} to the login of ${name}${accessKeys ? ', who needs the role reader of the system' : ''}`)
    }
    return token
  }

  /** Of many calls that need the token at once, one logs in; what fails is tried again by the next. */
  function tokenOf(own: KeystoneUser, rejected?: Promise<string>): Promise<string> {
    if (ownToken !== undefined && ownToken !== rejected) return ownToken
    const made = logIn(own)
    ownToken = made
    made.catch(() => {
      if (ownToken === made) ownToken = undefined
    })
    return made
  }

  /** With a token of our own; when it has ended, with a new one. */
  async function askAs(own: KeystoneUser, send: (authority: string) => ReturnType<typeof ask>): ReturnType<typeof ask> {
    const held = tokenOf(own)
    const answer = await send(await held)
    return answer.status === 401 ? send(await tokenOf(own, held)) : answer
  }

  function askAbout(token: string, authority: string): ReturnType<typeof ask> {
    return ask(`${tokens}?nocatalog`, {
      headers: {
        'x-auth-token': authority,
        'x-subject-token': token,
        // Without it Keystone knows no token whose application credential has rules: it must hear that we judge them.
        'openstack-identity-access-rules': '1',
      },
    })
  }

  async function validate(token: string): Promise<KeystoneToken | undefined> {
    let answer: Awaited<ReturnType<typeof ask>>
    if (user === undefined) {
      answer = await askAbout(token, token)
      if (answer.status === 401) return undefined
    } else {
      answer = await askAs(user, (authority) => askAbout(token, authority))
    }
    if (answer.status === 404) return undefined
    const described = answer.status === 200 ? parseKeystoneToken(answer.body) : undefined
    if (described !== undefined) return described
    throw new KeystoneTrouble(answer.status === 403
      ? `Keystone at ${url} does not let ${user?.name ?? 'a token'} validate tokens: its user needs the role admin, service, or reader of the system`
      : `Keystone at ${url} answers ${answer.status} to a validation${answer.status === 200 ? ', in a form that is not its own' : ''}`)
  }

  /** Undefined: there is no such thing. */
  async function read(path: string): Promise<unknown> {
    if (user === undefined) throw new KeystoneTrouble('Keystone is not asked about access keys without a user')
    const answer = await askAs(user, (authority) => ask(base + path, { headers: { 'x-auth-token': authority } }))
    if (answer.status === 200) return answer.body
    if (answer.status === 404) return undefined
    throw new KeystoneTrouble(answer.status === 403
      ? `Keystone at ${url} does not let ${user.name} read access keys: its user needs the role reader of the system`
      : `Keystone at ${url} answers ${answer.status} to a question about an access key`)
  }

  async function readDomain(id: string): Promise<{ readonly id: string, readonly name: string } | undefined> {
    const domain = parseEnabled(await read(`/domains/${encodeURIComponent(id)}`), 'domain')
    return domain === undefined ? undefined : { id: domain.id, name: domain.name }
  }

  async function findKey(accessKey: string): Promise<KeystoneKey | undefined> {
    // Keystone makes the credential's id of the access key so.
    const id = createHash('sha256').update(accessKey).digest('hex')
    const credential = parseCredential(await read(`/credentials/${id}`), accessKey)
    if (credential === undefined) return undefined
    const { secretKey, userId, projectId } = credential
    const [owner, project, assignments] = await Promise.all([
      read(`/users/${userId}`).then((answer) => parseEnabled(answer, 'user')),
      read(`/projects/${projectId}`).then((answer) => parseEnabled(answer, 'project')),
      read(`/role_assignments?user.id=${userId}&scope.project.id=${projectId}&effective&include_names`),
    ])
    if (owner === undefined || project === undefined) return undefined
    const roles = parseRoleNames(assignments)
    if (roles === undefined) throw new KeystoneTrouble(`Keystone at ${url} lists roles in a form that is not its own`)
    const [ownersDomain, projectsDomain] = await Promise.all([readDomain(owner.domainId), readDomain(project.domainId)])
    // Who has no role there could have no token for it.
    if (ownersDomain === undefined || projectsDomain === undefined || roles.length === 0) return undefined
    return {
      secretKey,
      bearer: { user: { id: owner.id, name: owner.name, domain: ownersDomain }, project: { id: project.id, name: project.name, domain: projectsDomain }, roles },
    }
  }

  return { validate, findKey }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** `fetch` hides what went wrong in its cause. */
function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: { code?: string, message?: string } }
  return cause?.code ?? cause?.message ?? (error as Error).message
}
