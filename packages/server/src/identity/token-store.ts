/** SQL of tokens. The database knows a token's hash only: who reads it cannot act with it. */
import { hash } from 'node:crypto'
import type { Micros } from '../clock.ts'
import type { Reader, Transaction } from '../db/database.ts'
import type { NewRow, Row } from '../db/schema.ts'
import type { UserId } from '../ids.ts'

export function hashToken(token: string): string {
  return hash('sha256', token, 'hex')
}

export async function insertToken(tx: Transaction, token: string, row: Omit<NewRow<'tokens'>, 'token_hash'>): Promise<void> {
  await tx.insertInto('tokens').values({ ...row, token_hash: hashToken(token) }).execute()
}

export async function deleteExpiredTokens(tx: Transaction, now: Micros): Promise<void> {
  await tx.deleteFrom('tokens').where('expires_at', '<=', now).execute()
}

/** Finds a token that has not expired. */
export async function findToken(db: Reader, token: string, now: Micros): Promise<Row<'tokens'> | undefined> {
  return db.selectFrom('tokens').selectAll()
    .where('token_hash', '=', hashToken(token)).where('expires_at', '>', now).executeTakeFirst()
}

export async function deleteToken(tx: Transaction, token: string): Promise<void> {
  await tx.deleteFrom('tokens').where('token_hash', '=', hashToken(token)).execute()
}

/** Ends every token of a user: after its password has changed, they may be somebody else's. */
export async function deleteTokensOf(tx: Transaction, userId: UserId): Promise<void> {
  await tx.deleteFrom('tokens').where('user_id', '=', userId).execute()
}
