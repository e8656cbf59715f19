/**
 * Takes tokens of an outside Keystone. What it says of a token is remembered for a short time, so that a revoked token
 * or a role that was taken away ends here at the latest when that time is over; that a token is not valid is
 * remembered too, for a shorter one. While Keystone does not answer, remembered tokens live on for the rest of their
 * time, and about others there is no verdict: they are answered with 503, since 401 would make clients throw good
 * tokens away and log in again, some without end.
 *
 * Where its EC2 credentials sign calls too, the same holds for them; their secrets are in memory for as long as they are remembered.
 */
import type { Clock, Micros } from '../clock.ts'
import type { KeystoneConfig } from '../config.ts'
import type { Deps } from '../deps.ts'
import type { Refused, SignedRequest } from './authenticate.ts'
import { makeIdentity, NO_RIGHTS, type Identity } from './identity.ts'
import { KeystoneTrouble, openKeystoneClient } from './keystone-client.ts'
import { allowsCall, mapRoles, type AccessRule, type KeystoneToken } from './keystone-token.ts'
import { mirrorKeystone } from './mirror-keystone.ts'
import { hashToken } from './token-store.ts'

const SECOND = 1_000_000
const GOOD_SECONDS = 60
const BAD_SECONDS = 10
/** Of each kind, so that somebody who makes tokens up pushes no good one out. */
const REMEMBERED_MAX = 10_000
const ASKED_AT_ONCE_MAX = 200
const TOKEN_LENGTH_MAX = 8192
const KEY_LENGTH_MAX = 256
/** The same trouble is reported so often at most: while Keystone is down every call meets it. */
const REPORT_SECONDS = 60

interface Verdict {
  readonly identity: Identity
  readonly accessRules: readonly AccessRule[] | undefined
}

export interface OutsideKey {
  readonly secretKey: string
  readonly identity: Identity
}

export interface OutsideIdentity {
  readonly judgeToken: (token: string, request: Pick<SignedRequest, 'method' | 'target'>) => Promise<Identity | Refused>
  /** A key that signs calls, when such are taken; undefined: there is none. */
  readonly findKey: (accessKey: string) => Promise<OutsideKey | Refused | undefined>
}

const REFUSED: Refused = { refused: 'decrypt token fail' }

/** `report` is for the operator's log. */
export function openKeystoneAuthenticator(
  deps: Pick<Deps, 'db' | 'clock'>, config: KeystoneConfig, report: (text: string) => void,
): OutsideIdentity {
  const client = openKeystoneClient(config)
  const goodMicros = (config.cacheSeconds ?? GOOD_SECONDS) * SECOND

  let reported: { readonly text: string, readonly at: Micros } | undefined

  function reportSeldom(text: string): void {
    const now = deps.clock.now()
    if (reported?.text === text && now < reported.at + REPORT_SECONDS * SECOND) return
    reported = { text, at: now }
    report(text)
  }

  async function identityOf(described: Pick<KeystoneToken, 'user' | 'project' | 'roles'>): Promise<Identity | undefined> {
    const mirrored = await mirrorKeystone(deps, described)
    if (mirrored === undefined) return undefined
    const projectGrants = mapRoles(described.roles, config.roles).map((role) => ({ role, enterpriseProjectIds: undefined }))
    const rights = { ...NO_RIGHTS, projectGrants: mirrored.project === undefined ? [] : projectGrants }
    return { ...makeIdentity(mirrored.owner, mirrored.project, rights), isOutside: true }
  }

  const tokens = openAnswers<Verdict>(deps.clock, goodMicros, async (token) => {
    const described = await client.validate(token)
    const identity = described === undefined ? undefined : await identityOf(described)
    return described === undefined || identity === undefined ? undefined : { answer: { identity, accessRules: described.accessRules }, until: described.expiresAt }
  })

  const keys = openAnswers<OutsideKey>(deps.clock, goodMicros, async (accessKey) => {
    const key = await client.findKey(accessKey)
    const identity = key === undefined ? undefined : await identityOf(key.bearer)
    return key === undefined || identity === undefined ? undefined : { answer: { identity, secretKey: key.secretKey }, until: Number.POSITIVE_INFINITY }
  })

  async function orUnknown<Found>(ask: () => Promise<Found>): Promise<Found | Refused> {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof KeystoneTrouble)) throw error
      reportSeldom(error.message)
      return { refused: 'The identity service (Keystone) gives no answer about these credentials now; try again later.', status: 503 }
    }
  }

  return {
    judgeToken: async (token, { method, target }) => {
      if (token.length > TOKEN_LENGTH_MAX || !/^[\x21-\x7e]+$/.test(token)) return REFUSED
      const verdict = await orUnknown(() => tokens(token))
      if (verdict === undefined) return REFUSED
      if ('refused' in verdict) return verdict
      const { identity, accessRules } = verdict
      if (accessRules === undefined || allowsCall(accessRules, method, target.split('?')[0] ?? '')) return identity
      return { refused: 'The application credential does not allow this call.', status: 403 }
    },
    findKey: async (accessKey) => {
      if (config.accessKeys !== true || accessKey.length > KEY_LENGTH_MAX) return undefined
      return orUnknown(() => keys(accessKey))
    },
  }
}

/**
 * Asks about credentials of one kind and remembers the answers, a good one until it ends or for `goodMicros` at most. Those
 * that come several times at once are asked about once.
 */
function openAnswers<Answer>(
  clock: Clock, goodMicros: Micros, ask: (credential: string) => Promise<{ readonly answer: Answer, readonly until: Micros } | undefined>,
): (credential: string) => Promise<Answer | undefined> {
  const good = rememberUntil<Answer>(clock)
  const bad = rememberUntil<true>(clock)
  const asked = new Map<string, Promise<Answer | undefined>>()

  async function askAndRemember(credential: string, hash: string): Promise<Answer | undefined> {
    const found = await ask(credential)
    const now = clock.now()
    if (found === undefined) bad.remember(hash, true, now + Math.min(BAD_SECONDS * SECOND, goodMicros))
    else good.remember(hash, found.answer, Math.min(now + goodMicros, found.until))
    return found?.answer
  }

  return async (credential) => {
    const hash = hashToken(credential)
    if (bad.recall(hash) !== undefined) return undefined
    const known = good.recall(hash)
    if (known !== undefined) return known
    const running = asked.get(hash)
    if (running !== undefined) return running
    if (asked.size >= ASKED_AT_ONCE_MAX) throw new KeystoneTrouble(`Keystone is asked about ${ASKED_AT_ONCE_MAX} tokens or keys at once already`)
    const started = askAndRemember(credential, hash).finally(() => asked.delete(hash))
    asked.set(hash, started)
    return started
  }
}

/** Bounded; what was remembered first goes first. */
function rememberUntil<Value>(clock: Clock): {
  readonly recall: (hash: string) => Value | undefined
  readonly remember: (hash: string, value: Value, until: Micros) => void
} {
  const kept = new Map<string, { readonly value: Value, readonly until: Micros }>()
  return {
    recall(hash) {
      const known = kept.get(hash)
      if (known === undefined) return undefined
      if (known.until > clock.now()) return known.value
      kept.delete(hash)
      return undefined
    },
    remember(hash, value, until) {
      kept.delete(hash)
      kept.set(hash, { value, until })
      if (kept.size > REMEMBERED_MAX) kept.delete(kept.keys().next().value ?? '')
    },
  }
}
