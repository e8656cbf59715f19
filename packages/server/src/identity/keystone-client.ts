/**
 * Speaks to an outside Keystone: logs the service's own user in, and asks what tokens of others are good for.
 *
 * Keystone's answer to a validation says who is at fault (its API reference, "Validate and show information for
 * token"): 404 the token asked about; 401 our own token, so we log in once more; 403 our user, who may not
 * validate. Without a user of our own the token vouches for itself, and 401 is about it too.
 */
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
}

/** No verdict could be had; the message is for the operator's log. */
export class KeystoneTrouble extends Error {
  override name = 'KeystoneTrouble'
}

const ANSWER_MS_MAX = 5000

/** `url` may end in `/v3` or not, as clients write it. */
export function openKeystoneClient({ url, user }: { readonly url: string, readonly user?: KeystoneUser | undefined }): KeystoneClient {
  const tokens = `${url.replace(/\/+$/, '').replace(/\/v3$/, '')}/v3/auth/tokens`
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
          scope: { project: { name: projectName, domain: { name: projectDomainName } } },
        },
      }),
    })
    const token = answer.headers.get('x-subject-token')
    if (answer.status !== 201 || token === null) throw new KeystoneTrouble(`Keystone at ${url} answers ${answer.status} to the login of ${name}`)
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

  async function askAbout(token: string, authority: string): ReturnType<typeof ask> {
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
      const held = tokenOf(user)
      answer = await askAbout(token, await held)
      if (answer.status === 401) answer = await askAbout(token, await tokenOf(user, held))
    }
    if (answer.status === 404) return undefined
    const described = answer.status === 200 ? parseKeystoneToken(answer.body) : undefined
    if (described !== undefined) return described
    throw new KeystoneTrouble(answer.status === 403
      ? `Keystone at ${url} does not let ${user?.name ?? 'a token'} validate tokens: its user needs the role admin, service, or reader of the system`
      : `Keystone at ${url} answers ${answer.status} to a validation${answer.status === 200 ? ', in a form that is not its own' : ''}`)
  }

  return { validate }
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
