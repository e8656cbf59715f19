/**
 * Tokens that were good a moment ago. Who holds a token calls many times, and each time some five rows say what it is
 * good for; they are read again only when one of them, of whomever, has changed since.
 */
import type { Micros } from '../clock.ts'
import type { Reader } from '../db/database.ts'
import { runStatement } from '../db/statements.ts'
import type { Identity } from './identity.ts'
import { hashToken } from './token-store.ts'

interface KnownToken {
  readonly revision: number
  readonly expiresAt: Micros
  readonly identity: Identity
}

const TOKENS_KEPT_MAX = 10_000

/** By catalogue: tests open several in one process. */
const memories = new WeakMap<object, Map<string, KnownToken>>()

function memoryOf(db: Reader): Map<string, KnownToken> {
  const known = memories.get(db)
  if (known !== undefined) return known
  const made = new Map<string, KnownToken>()
  memories.set(db, made)
  return made
}

/** Read before the rows: what changes in between makes what was read old at once. */
export async function findIdentityRevision(db: Reader): Promise<number> {
  const [found] = await runStatement(db, 'identity revision', {}, () => db.selectFrom('identity_revision').select('revision'))
  return Number(found?.revision ?? 0)
}

/** `hash`: of the token, as the catalogue has it; the token itself is kept nowhere. */
export function recallToken(db: Reader, hash: string, revision: number, now: Micros): Identity | undefined {
  const known = memoryOf(db).get(hash)
  return known !== undefined && known.revision === revision && known.expiresAt > now ? known.identity : undefined
}

/** For calls that know the revision already. */
export function recallTokenText(db: Reader, token: string, revision: number, now: Micros): Identity | undefined {
  return recallToken(db, hashToken(token), revision, now)
}

export function rememberToken(db: Reader, hash: string, token: KnownToken): void {
  const memory = memoryOf(db)
  if (memory.size >= TOKENS_KEPT_MAX) memory.clear()
  memory.set(hash, token)
}
