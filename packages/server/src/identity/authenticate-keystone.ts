/**
 * Takes tokens of an outside Keystone. What it says of a token is remembered for a short time, so that a revoked token
 * or a role that was taken away ends here at the latest when that time is over; that a token is not valid is
 * remembered too, for a shorter one. While Keystone does not answer, remembered tokens live on for the rest of their
 * time, and about others there is no verdict: they are answered with 503, since 401 would make clients throw good
 * tokens away and log in again, some without end.
 */
import type { Clock, Micros } from '../clock.ts'
import type { KeystoneConfig } from '../config.ts'
import type { Deps } from '../deps.ts'
import type { Refused, SignedRequest } from './authenticate.ts'
import { makeIdentity, NO_RIGHTS, type Identity } from './identity.ts'
import { KeystoneTrouble, openKeystoneClient } from './keystone-client.ts'
import { allowsCall, mapRoles, type AccessRule } from './keystone-token.ts'
import { mirrorKeystone } from './mirror-keystone.ts'
import { hashToken } from './token-store.ts'

const SECOND = 1_000_000
const GOOD_SECONDS = 60
const BAD_SECONDS = 10
/** Of each kind, so that somebody who makes tokens up pushes no good one out. */
const REMEMBERED_MAX = 10_000
const ASKED_AT_ONCE_MAX = 200
const TOKEN_LENGTH_MAX = 8192
/** The same trouble is reported so often at most: while Keystone is down every call meets it. */
const REPORT_SECONDS = 60

interface Verdict {
  readonly identity: Identity
  readonly accessRules: readonly AccessRule[] | undefined
}

export type TokenAuthenticator = (token: string, request: Pick<SignedRequest, 'method' | 'target'>) => Promise<Identity | Refused>

const REFUSED: Refused = { refused: 'decrypt token fail' }

/** `report` is for the operator's log. */
export function openKeystoneAuthenticator(
  deps: Pick<Deps, 'db' | 'clock'>, config: KeystoneConfig, report: (text: string) => void,
): TokenAuthenticator {
  const client = openKeystoneClient(config)
  const goodMicros = (config.cacheSeconds ?? GOOD_SECONDS) * SECOND
  const good = rememberUntil<Verdict>(deps.clock)
  const bad = rememberUntil<true>(deps.clock)
  const asked = new Map<string, Promise<Verdict | undefined>>()

  let reported: { readonly text: string, readonly at: Micros } | undefined

  function reportSeldom(text: string): void {
    const now = deps.clock.now()
    if (reported?.text === text && now < reported.at + REPORT_SECONDS * SECOND) return
    reported = { text, at: now }
    report(text)
  }

  async function ask(token: string, hash: string): Promise<Verdict | undefined> {
    const described = await client.validate(token)
    const mirrored = described === undefined ? undefined : await mirrorKeystone(deps, described)
    const now = deps.clock.now()
    if (described === undefined || mirrored === undefined) {
      bad.remember(hash, true, now + Math.min(BAD_SECONDS * SECOND, goodMicros))
      return undefined
    }
    const projectGrants = mapRoles(described.roles, config.roles).map((role) => ({ role, enterpriseProjectIds: undefined }))
    const rights = { ...NO_RIGHTS, projectGrants: mirrored.project === undefined ? [] : projectGrants }
    const verdict = { identity: { ...makeIdentity(mirrored.owner, mirrored.project, rights), isOutside: true }, accessRules: described.accessRules }
    good.remember(hash, verdict, Math.min(now + goodMicros, described.expiresAt))
    return verdict
  }

  /** Calls that come with the same token at once ask once. */
  function askOnce(token: string, hash: string): Promise<Verdict | undefined> {
    const running = asked.get(hash)
    if (running !== undefined) return running
    if (asked.size >= ASKED_AT_ONCE_MAX) throw new KeystoneTrouble(`Keystone is asked about ${ASKED_AT_ONCE_MAX} tokens at once already`)
    const started = ask(token, hash).finally(() => asked.delete(hash))
    asked.set(hash, started)
    return started
  }

  return async (token, { method, target }) => {
    if (token.length > TOKEN_LENGTH_MAX || !/^[\x21-\x7e]+$/.test(token)) return REFUSED
    const hash = hashToken(token)
    if (bad.recall(hash) !== undefined) return REFUSED
    try {
      const verdict = good.recall(hash) ?? await askOnce(token, hash)
      if (verdict === undefined) return REFUSED
      const { identity, accessRules } = verdict
      if (accessRules === undefined || allowsCall(accessRules, method, target.split('?')[0] ?? '')) return identity
      return { refused: 'The application credential does not allow this call.', status: 403 }
    } catch (error) {
      if (!(error instanceof KeystoneTrouble)) throw error
      reportSeldom(error.message)
      return { refused: 'The identity service (Keystone) gives no answer about this token now; try again later.', status: 503 }
    }
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
