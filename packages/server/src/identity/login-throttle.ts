/**
 * Slows the guessing of passwords. Failed logins are counted for the account, for the address that they
 * came from, and for the two together; the more there are, the longer the next attempt waits before its
 * password is looked at. Nobody is ever refused for it: the owner of an account that somebody else
 * guesses at waits a few seconds at most, and not at all from an address from which a login to this
 * account has succeeded before. An attempt counts as failed from its beginning, so that many at
 * once gain nothing.
 *
 * Counts are kept in this process and forgotten a quarter of an hour after the last failure. What is
 * kept is bounded: the longest unused entry goes first.
 */
import type { Clock, Micros } from '../clock.ts'

const FREE_FAILURES = 3
const FIRST_WAIT_MS = 250
const WAIT_MS_MAX = 4000
const FORGOTTEN_AFTER_MICROS = 15 * 60 * 1_000_000
const ENTRIES_MAX = 10_000

export interface LoginAttempt {
  readonly account: string
  readonly address: string
}

export interface LoginThrottle {
  /** Resolves when the attempt may be looked at; the answer is called when it has succeeded. */
  readonly admit: (attempt: LoginAttempt) => Promise<() => void>
}

/** How long an attempt waits after so many failures, in milliseconds. */
export function waitAfter(failures: number): number {
  return failures < FREE_FAILURES ? 0 : Math.min(WAIT_MS_MAX, FIRST_WAIT_MS * 2 ** (failures - FREE_FAILURES))
}

export function openLoginThrottle({ clock, wait }: { readonly clock: Clock, readonly wait: (ms: number) => Promise<void> }): LoginThrottle {
  const failures = new Map<string, { count: number, lastAt: Micros }>()
  const proven = new Map<string, true>()

  function countOf(key: string, now: Micros): number {
    const entry = failures.get(key)
    return entry === undefined || now - entry.lastAt > FORGOTTEN_AFTER_MICROS ? 0 : entry.count
  }

  function change(key: string, by: number, now: Micros): void {
    const count = Math.max(0, countOf(key, now) + by)
    failures.delete(key)
    if (count > 0) keep(failures, key, { count, lastAt: now })
  }

  return {
    async admit({ account, address }) {
      const [ofAccount, ofAddress, ofBoth] = [`account ${account}`, `address ${address}`, `both ${account} ${address}`]
      const now = clock.now()
      const counted = proven.has(ofBoth) ? [ofBoth] : [ofAccount, ofAddress, ofBoth]
      const ms = waitAfter(Math.max(...counted.map((key) => countOf(key, now))))
      for (const key of [ofAccount, ofAddress, ofBoth]) change(key, 1, now)
      if (ms > 0) await wait(ms)
      return () => {
        // The failures of others stay counted: of these only the attempt itself is taken back.
        for (const key of [ofAccount, ofAddress]) change(key, -1, clock.now())
        failures.delete(ofBoth)
        proven.delete(ofBoth)
        keep(proven, ofBoth, true)
      }
    },
  }
}

function keep<Value>(entries: Map<string, Value>, key: string, value: Value): void {
  entries.set(key, value)
  const [oldest] = entries.keys()
  if (entries.size > ENTRIES_MAX && oldest !== undefined) entries.delete(oldest)
}
