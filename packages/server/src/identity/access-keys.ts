/** Access keys: a user's own, those of users that one administers, and temporary ones. */
import { randomBytes, randomInt } from 'node:crypto'
import type { SecurityTokenBody } from '@opencbr/contract'
import type { Static } from 'typebox'
import type { Micros } from '../clock.ts'
import type { Reader } from '../db/database.ts'
import type { Deps } from '../deps.ts'
import type { Row } from '../db/schema.ts'
import type { UserId } from '../ids.ts'
import { REFUSED } from './create-token.ts'
import { describeToken } from './describe-token.ts'
import { accessKeyPurpose, type Identity } from './identity.ts'
import { IdentityFailure } from './identity-failure.ts'
import { LIMIT_MAX, type Page, type PageQuery } from './named-store.ts'
import { assertNotAbove, getReached, notFound } from './reach.ts'
import { hashToken } from './token-store.ts'

type KeyDeps = Pick<Deps, 'db' | 'clock' | 'secrets'>

const UPPER = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
const MIXED = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const KEYS_MAX = 20
const SECONDS_MIN = 15 * 60
const SECONDS_MAX = 24 * 3600
/** What a user of an outside Keystone may do is known by its tokens only. */
const NO_KEYS = 'Users of the outside Keystone have no access keys here: send a token of it.'

export function newAccessKey(): { readonly accessKey: string, readonly secretKey: string } {
  return { accessKey: randomText(UPPER, 20), secretKey: randomText(MIXED, 40) }
}

function randomText(alphabet: string, length: number): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('')
}

/** The user whose keys are meant: the caller, or somebody whom the caller administers. */
async function chooseUser(db: Reader, caller: Identity, action: string, userId: string | undefined): Promise<UserId> {
  if (caller.isTemporary) throw new IdentityFailure(403, 'A temporary key does nothing to access keys.')
  if (caller.isOutside === true) throw new IdentityFailure(403, NO_KEYS)
  if (userId === undefined || userId === caller.user.id) return caller.user.id
  const user = await getReached(db, caller, action, 'users', userId)
  if (action !== 'identity:keys:list') await assertNotAbove(db, caller, action, { userId: user.id })
  return user.id
}

/** Makes a key. Its secret is in this answer and nowhere else. */
export async function createAccessKey(
  { db, clock, secrets }: KeyDeps, caller: Identity, wanted: { readonly user_id?: string, readonly description?: string },
): Promise<{ readonly key: Row<'access_keys'>, readonly secretKey: string }> {
  return db.transaction().execute(async (tx) => {
    const userId = await chooseUser(tx, caller, 'identity:keys:create', wanted.user_id)
    const { count } = await tx.selectFrom('access_keys').select(({ fn }) => fn.countAll().as('count'))
      .where('user_id', '=', userId).where('expires_at', 'is', null).executeTakeFirstOrThrow()
    if (Number(count) >= KEYS_MAX) throw new IdentityFailure(409, `A user has at most ${KEYS_MAX} access keys: delete one that is not used any more.`)
    const { accessKey, secretKey } = newAccessKey()
    const key: Row<'access_keys'> = {
      access_key: accessKey,
      user_id: userId,
      secret_sealed: secrets.seal(accessKeyPurpose(accessKey), secretKey),
      description: wanted.description ?? '',
      enabled: 1,
      security_token_hash: null,
      project_id: null,
      expires_at: null,
      created_at: clock.now(),
    }
    await tx.insertInto('access_keys').values(key).execute()
    return { key, secretKey }
  })
}

/** A user's keys, oldest first; temporary ones are not listed. */
export async function listAccessKeys(
  { db }: KeyDeps, caller: Identity, query: PageQuery & { readonly user_id?: string },
): Promise<Page<Row<'access_keys'>>> {
  const userId = await chooseUser(db, caller, 'identity:keys:list', query.user_id)
  const limit = Math.min(query.limit ?? LIMIT_MAX, LIMIT_MAX)
  const offset = query.marker === undefined ? query.offset ?? 0 : 0
  const matching = db.selectFrom('access_keys').where('user_id', '=', userId).where('expires_at', 'is', null)
  const { count } = await matching.select(({ fn }) => fn.countAll().as('count')).executeTakeFirstOrThrow()
  let page = matching.selectAll().orderBy('created_at').orderBy('access_key').limit(limit)
  if (query.marker === undefined) {
    page = page.offset(offset)
  } else {
    const last = await matching.select(['created_at', 'access_key']).where('access_key', '=', query.marker).executeTakeFirst()
    if (last === undefined) return { rows: [], count: Number(count), limit, offset }
    page = page.where(({ eb, refTuple, tuple }) => eb(refTuple('created_at', 'access_key'), '>', tuple(last.created_at, last.access_key)))
  }
  return { rows: await page.execute(), count: Number(count), limit, offset }
}

async function getKey(db: Reader, caller: Identity, action: string, accessKey: string): Promise<Row<'access_keys'>> {
  const key = await db.selectFrom('access_keys').selectAll().where('access_key', '=', accessKey).where('expires_at', 'is', null).executeTakeFirst()
  if (key === undefined) throw notFound('access key', accessKey)
  if (caller.isTemporary || key.user_id !== caller.user.id) {
    try {
      await chooseUser(db, caller, action, key.user_id)
    } catch (error) {
      // Whose it is, and that it is there, is nothing to tell.
      if (error instanceof IdentityFailure && !caller.isTemporary) throw notFound('access key', accessKey)
      throw error
    }
  }
  return key
}

export async function updateAccessKey(
  { db }: KeyDeps, caller: Identity, accessKey: string, change: { readonly enabled?: boolean, readonly description?: string },
): Promise<Row<'access_keys'>> {
  return db.transaction().execute(async (tx) => {
    const key = await getKey(tx, caller, 'identity:keys:update', accessKey)
    const changed = {
      ...(change.enabled === undefined ? {} : { enabled: change.enabled ? 1 as const : 0 as const }),
      ...(change.description === undefined ? {} : { description: change.description }),
    }
    if (Object.keys(changed).length > 0) await tx.updateTable('access_keys').set(changed).where('access_key', '=', accessKey).execute()
    return { ...key, ...changed }
  })
}

export async function deleteAccessKey({ db }: KeyDeps, caller: Identity, accessKey: string): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await getKey(tx, caller, 'identity:keys:delete', accessKey)
    await tx.deleteFrom('access_keys').where('access_key', '=', accessKey).execute()
  })
}

export interface TemporaryKey {
  readonly accessKey: string
  readonly secretKey: string
  readonly securityToken: string
  readonly expiresAt: Micros
}

type Order = Static<typeof SecurityTokenBody>['auth']['identity']

/**
 * Makes a key that ends by itself, for the caller's user and project; IAM's `securitytokens` with the
 * method `token`. Another token of the same user may be named in the body.
 */
export async function createTemporaryKey({ db, clock, secrets }: KeyDeps, caller: Identity, order: Order): Promise<TemporaryKey> {
  if (caller.isTemporary) throw new IdentityFailure(403, 'A temporary key makes no others.')
  if (caller.isOutside === true) throw new IdentityFailure(403, NO_KEYS)
  if (order.methods.length !== 1 || order.methods[0] !== 'token') {
    throw new IdentityFailure(401, 'Attempted to authenticate with an unsupported method: there are no agencies here, use token.')
  }
  // It would limit the key, so it is refused rather than passed over.
  if (order.policy !== undefined) throw new IdentityFailure(400, 'Invalid auth.identity.policy provided: not supported here; give the user fewer roles.')
  const token = order.token?.id
  const described = token === undefined ? undefined : await describeToken({ db, clock }, caller, token)
  if (described !== undefined && described.owner.user.id !== caller.user.id) throw new IdentityFailure(401, REFUSED)
  const project = described === undefined ? caller.project : described.project
  const seconds = order.token?.duration_seconds ?? SECONDS_MIN
  if (seconds < SECONDS_MIN || seconds > SECONDS_MAX) {
    throw new IdentityFailure(400, `Invalid duration_seconds provided: it must be from ${SECONDS_MIN} to ${SECONDS_MAX}.`)
  }
  const { accessKey, secretKey } = newAccessKey()
  const securityToken = randomBytes(64).toString('base64url')
  const now = clock.now()
  const expiresAt = now + seconds * 1_000_000
  await db.transaction().execute(async (tx) => {
    await tx.deleteFrom('access_keys').where('expires_at', '<=', now).execute()
    await tx.insertInto('access_keys').values({
      access_key: accessKey,
      user_id: caller.user.id,
      secret_sealed: secrets.seal(accessKeyPurpose(accessKey), secretKey),
      security_token_hash: hashToken(securityToken),
      project_id: project?.id ?? null,
      expires_at: expiresAt,
      created_at: now,
    }).execute()
  })
  return { accessKey, secretKey, securityToken, expiresAt }
}
