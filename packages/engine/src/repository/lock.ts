/**
 * The advisory lock that every program working on a repository holds. It is a file in `locks/`.
 *
 * Acquiring: look for a conflicting lock, write our own, wait as long as listings may lag behind, look
 * again; whoever sees a conflict then removes its own lock and gives up. Of two that start at once at least
 * one sees the other: each has written before it looks. A directory of this machine does not lag, and is not
 * waited for. An exclusive lock conflicts with every other lock, a shared one with exclusive locks.
 *
 * Holding: every 5 minutes a new file with the current time is written, then the old one deleted.
 * Others may remove a lock that has not been refreshed for 30 minutes. A holder that could not
 * refresh for 22.5 minutes (its machine slept, its storage was away) therefore trusts itself no
 * more: it goes on only when its old file still exists after the new one is in place. Once the
 * file is gone the lock is lost for good, `lost` aborts, and nothing may be committed.
 *
 * Stale locks of others are removed only on proof: both the time written in the lock and the
 * storage's own modification time, compared with the storage's time of our fresh lock, lie more
 * than 30 minutes back; or the caller knows that the owner is dead. Process ids prove nothing, for
 * containers share host names; hence our own locks carry a host name that nobody else has, so that
 * programs which probe process ids on their own host leave them alone.
 */
import { randomBytes } from 'node:crypto'
import os from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StoredFile } from '@opencbr/storage'
import { asFailure, Failure, throwIfCancelled } from '../failure.ts'
import { decodeLock, encodeLock } from '../format/lock-file.ts'
import type { LockFile } from '../format/lock-file.ts'
import { failureCode } from './guarded-storage.ts'
import type { SealedFiles } from './sealed-files.ts'

const MINUTE_MS = 60_000
export const LOCK_REFRESH_MS = 5 * MINUTE_MS
export const LOCK_STALE_MS = 30 * MINUTE_MS
const LOCK_DOUBT_MS = 22.5 * MINUTE_MS
const REFRESH_RETRY_MS = MINUTE_MS
const SETTLE_MS = 200
const UNREADABLE_TRIES = 3

export interface LockOptions {
  readonly exclusive: boolean
  /** Names the holder to people; a random suffix makes it unique. Defaults to the machine's name. */
  readonly hostname?: string | undefined
  readonly now?: (() => Date) | undefined
  /** How long concurrent lock files may take to show up in listings, in milliseconds; 200 by default. */
  readonly settleMs?: number | undefined
  /** Says of a lock, in the way or not, that its owner certainly runs no more; it is then removed. */
  readonly ownerIsDead?: ((lock: LockFile) => boolean) | undefined
  readonly signal?: AbortSignal | undefined
}

export interface RepositoryLock extends AsyncDisposable {
  readonly exclusive: boolean
  /** What the lock's file says; no other lock has it. */
  readonly hostname: string
  /** Aborts, with a `repository.lock_lost` failure as reason, when somebody took the lock away. */
  readonly lost: AbortSignal
  /** Looks whether the lock is still there; throws `repository.lock_lost` otherwise. Call before every commit. */
  assertHeld(): Promise<void>
  /**
   * When the lock's file was written, by the storage's own clock, in milliseconds since 1970: what that clock says now is at least
   * this, and seldom more than a few minutes more. Throws `repository.lock_lost`.
   */
  storageTime(): Promise<number>
  /** Writes the lock anew. A timer does so; calling it is only needed where no timer can run. */
  refresh(): Promise<void>
}

interface OtherLock {
  readonly id: string
  readonly modifiedAt: number
  /** Undefined when it cannot be read. */
  readonly content: LockFile | undefined
}

async function readLocks(files: SealedFiles, ownId: string | undefined, signal: AbortSignal | undefined): Promise<OtherLock[]> {
  const locks: OtherLock[] = []
  for (const { id, size, modifiedAt } of await files.list('locks', signal)) {
    // An empty file is what a writer leaves that had no space left; nobody counts it.
    if (id === ownId || size === 0) continue
    for (let attempt = 1; ; attempt += 1) {
      try {
        locks.push({ id, modifiedAt, content: decodeLock(await files.load('locks', id, signal)) })
        break
      } catch (error) {
        // Gone since the listing: released.
        if (failureCode(error) === 'storage.not_found') break
        if (failureCode(error) !== 'repository.damaged') throw error
        // Some stores show a file before it is whole.
        if (attempt < UNREADABLE_TRIES) continue
        locks.push({ id, modifiedAt, content: undefined })
        break
      }
    }
  }
  return locks
}

/** Everyone who holds a lock at the moment, for showing to people. */
export async function listLocks(files: SealedFiles, signal?: AbortSignal): Promise<LockFile[]> {
  const locks = await readLocks(files, undefined, signal)
  return locks.map((lock) => lock.content).filter((content) => content !== undefined)
}

function conflictFailure({ id, content }: OtherLock): Failure {
  if (content === undefined) return new Failure('repository.locked', { lockId: id, reason: 'the lock cannot be read' })
  const { time, hostname, username, pid, exclusive } = content
  return new Failure('repository.locked', { lockId: id, since: time, hostname, username, pid, kind: exclusive ? 'exclusive' : 'shared' })
}

function currentUsername(): string {
  try {
    return os.userInfo().username
  } catch {
    // A user id without an account, as in containers.
    return ''
  }
}

export async function acquireLock(files: SealedFiles, options: LockOptions): Promise<RepositoryLock> {
  const { exclusive, signal } = options
  const now = options.now ?? (() => new Date())
  const settleMs = options.settleMs ?? SETTLE_MS
  const identity = {
    exclusive,
    hostname: `${options.hostname ?? os.hostname()}-opencbr-${randomBytes(6).toString('hex')}`,
    username: currentUsername(),
    pid: process.pid,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
  }

  const conflicts = (lock: OtherLock) => exclusive || lock.content?.exclusive !== false
  const looksAbandoned = ({ content }: OtherLock) =>
    content !== undefined &&
    (options.ownerIsDead?.(content) === true || now().getTime() - Date.parse(content.time) > LOCK_STALE_MS)
  const settle = async () => {
    if (settleMs > 0) await sleep(settleMs, undefined, { signal }).catch((error: unknown) => {
      throw asFailure(error, signal)
    })
  }
  // Whoever wants to remove or to read something must be able to on a full disk, too.
  const save = (saveSignal?: AbortSignal) =>
    files.save<string>('locks', encodeLock({ time: now().toISOString(), ...identity }), saveSignal, 'wholly')

  throwIfCancelled(signal)
  for (const lock of await readLocks(files, undefined, signal)) {
    if (conflicts(lock) && !looksAbandoned(lock)) throw conflictFailure(lock)
  }

  let ownId = await save(signal)
  let refreshedAt = now().getTime()
  try {
    await settle()
    const storageNow = (await files.stat('locks', ownId, signal)).modifiedAt
    for (const lock of await readLocks(files, ownId, signal)) {
      // One that is not in our way goes too: other programs cannot know that its owner is dead.
      const ownerIsDead = lock.content !== undefined && options.ownerIsDead?.(lock.content) === true
      if (!ownerIsDead && !conflicts(lock)) continue
      const provenDead = ownerIsDead || (looksAbandoned(lock) && storageNow - lock.modifiedAt > LOCK_STALE_MS)
      if (!provenDead) throw conflictFailure(lock)
      await files.remove('locks', lock.id, signal)
    }
  } catch (error) {
    // Not with the signal: an aborted attempt must take its lock away as well. If even that fails,
    // the lock goes stale, and the first error is the one to report.
    await files.remove('locks', ownId).catch(() => undefined)
    throw error
  }

  const lostController = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let released = false
  let turn: Promise<unknown> = Promise.resolve()

  function lose(): never {
    clearTimeout(timer)
    const failure = new Failure('repository.lock_lost', { lockId: ownId })
    lostController.abort(failure)
    throw failure
  }

  function throwIfLost(): void {
    if (lostController.signal.aborted) throw lostController.signal.reason
    if (released) throw new Failure('repository.lock_lost', { lockId: ownId, reason: 'released' })
  }

  async function statFile(): Promise<StoredFile> {
    try {
      return await files.stat('locks', ownId)
    } catch (error) {
      if (failureCode(error) === 'storage.not_found') lose()
      throw error
    }
  }

  async function rewrite(): Promise<void> {
    throwIfLost()
    await statFile()
    const doubtful = now().getTime() - refreshedAt > LOCK_DOUBT_MS
    const writtenAt = now().getTime()
    const newId = await save()
    if (doubtful) {
      await sleep(settleMs)
      try {
        await statFile()
      } catch (error) {
        await files.remove('locks', newId).catch(() => undefined)
        throw error
      }
    }
    const oldId = ownId
    ownId = newId
    refreshedAt = writtenAt
    // Our old file left behind would only go stale.
    await files.remove('locks', oldId).catch(() => undefined)
  }

  /** One after the other: a refresh must not delete the file that a check looks for. */
  function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = turn.then(work)
    turn = result.catch(() => undefined)
    return result
  }

  function schedule(delayMs: number): void {
    if (released) return
    timer = setTimeout(() => {
      inTurn(rewrite).then(
        () => schedule(LOCK_REFRESH_MS),
        () => {
          if (!lostController.signal.aborted) schedule(REFRESH_RETRY_MS)
        },
      )
    }, delayMs)
    timer.unref()
  }
  schedule(LOCK_REFRESH_MS)

  return {
    exclusive,
    hostname: identity.hostname,
    lost: lostController.signal,
    refresh: () => inTurn(rewrite),

    assertHeld: () =>
      inTurn(async () => {
        throwIfLost()
        if (now().getTime() - refreshedAt > LOCK_DOUBT_MS) await rewrite()
        else await statFile()
      }),

    storageTime: () =>
      inTurn(async () => {
        throwIfLost()
        return (await statFile()).modifiedAt
      }),

    async [Symbol.asyncDispose]() {
      if (released) return
      released = true
      clearTimeout(timer)
      await turn
      // What the lock protected is done; a lock file that cannot be removed goes stale by itself.
      await files.remove('locks', ownId).catch(() => undefined)
    },
  }
}
