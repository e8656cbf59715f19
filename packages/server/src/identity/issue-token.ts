import { randomBytes } from 'node:crypto'
import type { Micros } from '../clock.ts'
import type { Deps } from '../deps.ts'
import type { DomainId, ProjectId, UserId } from '../ids.ts'
import { deleteExpiredTokens, insertToken } from './token-store.ts'

const TOKEN_BYTES = 32
const LIFETIME_MICROS = 24 * 3600 * 1_000_000

export interface TokenRequest {
  readonly userId: UserId
  readonly projectId: ProjectId | null
  readonly domainId: DomainId | null
  readonly methods: readonly string[]
  /** A token that was got with a token must not outlive that one. */
  readonly expiresAtMax?: Micros
}

export interface IssuedToken {
  readonly token: string
  readonly issuedAt: Micros
  readonly expiresAt: Micros
}

/** Makes a token for 24 hours, and forgets those that have expired. */
export async function issueToken({ db, clock }: Pick<Deps, 'db' | 'clock'>, request: TokenRequest): Promise<IssuedToken> {
  const token = randomBytes(TOKEN_BYTES).toString('base64url')
  const issuedAt = clock.now()
  const expiresAt = Math.min(issuedAt + LIFETIME_MICROS, request.expiresAtMax ?? Infinity)
  await db.transaction().execute(async (tx) => {
    await deleteExpiredTokens(tx, issuedAt)
    await insertToken(tx, token, {
      user_id: request.userId,
      project_id: request.projectId,
      domain_id: request.domainId,
      methods: JSON.stringify(request.methods),
      issued_at: issuedAt,
      expires_at: expiresAt,
    })
  })
  return { token, issuedAt, expiresAt }
}
