/** What all repository commands begin and end with: the place, the password, the lock, and what a failure means. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  Failure, findRemovalGuard, openRepository, type FailureCode, type Repository, type RepositoryLock, type SnapshotId, type StoredSnapshot,
} from '@opencbr/engine/repository'
import { openStorage, StorageFailure, storageOptionsFromEnvironment, type OpenStorageOptions, type Storage } from '@opencbr/storage'
import { RepositoryCommandFailure, type RepositoryEnding } from './repository-endings.ts'

/** Options of every repository command. */
export interface AccessFlags {
  readonly passwordFile?: string
  /** Seconds. */
  readonly retryLock?: number
  /** False with `--no-lock`, which only readers have. */
  readonly lock?: boolean
  readonly json?: boolean
}

const LOCK_RETRY_MS = 1000

const endings: Partial<Record<FailureCode, RepositoryEnding>> = {
  'repository.not_found': 'noRepository',
  'repository.locked': 'locked',
  'repository.wrong_password': 'wrongPassword',
  'storage.wrong_place': 'noRepository',
  cancelled: 'interrupted',
}

/** Where a repository lies, as the command line says it: a path, or a bucket, whose keys are in the environment. */
export function openPlace(location: string, options: Pick<OpenStorageOptions, 'keepsReserve'> = {}): Storage {
  return openStorage(location, { ...storageOptionsFromEnvironment(process.env), ...options })
}

/**
 * The password: from the file, from the environment, or from the person at the terminal.
 * @param which for people, in front of "password"
 */
export async function readPassword(passwordFile: string | undefined, environment: NodeJS.ProcessEnv, which = ''): Promise<string> {
  const file = passwordFile ?? nonEmpty(environment['OPENCBR_REPOSITORY_PASSWORD_FILE'])
  if (file !== undefined) return readPasswordFile(file)
  const given = nonEmpty(environment['OPENCBR_REPOSITORY_PASSWORD']) ?? nonEmpty(environment['RESTIC_PASSWORD'])
  if (given !== undefined) return given
  const resticFile = nonEmpty(environment['RESTIC_PASSWORD_FILE'])
  if (resticFile !== undefined) return readPasswordFile(resticFile)
  return askPassword(`${which === '' ? 'Password' : `${which} password`}: `)
}

/** Asks twice, so that a slip of the finger locks nobody out. */
export async function readNewPassword(passwordFile: string | undefined): Promise<string> {
  if (passwordFile !== undefined) return readPasswordFile(passwordFile)
  const password = await askPassword('New password: ')
  if (await askPassword('New password again: ') !== password) throw new RepositoryCommandFailure('failure', 'The two passwords differ.')
  return password
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text
}

/** White space around it is no part of a password in a file, for editors end files with a line break. */
function readPasswordFile(path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new RepositoryCommandFailure('failure', `The password file ${path} cannot be read.`, { cause: error })
  }
  const password = text.replace(/^\u{FEFF}/u, '').trim()
  if (password === '') throw new RepositoryCommandFailure('failure', `The password file ${path} is empty.`)
  return password
}

async function askPassword(question: string): Promise<string> {
  if (process.stdin.isTTY !== true || process.stderr.isTTY !== true) {
    throw new RepositoryCommandFailure('failure', 'There is no password: give --password-file, OPENCBR_REPOSITORY_PASSWORD or RESTIC_PASSWORD.')
  }
  // Commands that need not ask need not load this either.
  const [{ createInterface }, { Writable }] = await Promise.all([import('node:readline'), import('node:stream')])
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  // Before the question: from now on the terminal shows nothing of what is typed.
  const dialogue = createInterface({ input: process.stdin, output: nowhere, terminal: true })
  process.stderr.write(question)
  try {
    const password = await new Promise<string>((answer, refuse) => {
      dialogue.once('line', answer)
      dialogue.once('close', () => refuse(new RepositoryCommandFailure('interrupted', 'No password was given.')))
      dialogue.once('SIGINT', () => dialogue.close())
    })
    if (password === '') throw new RepositoryCommandFailure('failure', 'A password must not be empty.')
    return password
  } finally {
    dialogue.removeAllListeners('close')
    dialogue.close()
    process.stderr.write('\n')
  }
}

/** Runs a command's work with a signal that Ctrl-C aborts; a second Ctrl-C ends the process at once. */
export async function interruptible<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController()
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  try {
    return await work(controller.signal)
  } catch (error) {
    throw asCommandFailure(error, controller.signal)
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

function asCommandFailure(error: unknown, signal: AbortSignal): unknown {
  if (error instanceof Failure || error instanceof StorageFailure) {
    const code = error.code
    const ending = signal.aborted ? 'interrupted' : endings[error.code] ?? 'failure'
    const facts = Object.entries(error.facts).map(([name, value]) => `${name}: ${value}`).join(', ')
    const message = ending === 'interrupted' ? 'It was interrupted.' : `${error.message}${facts === '' ? '' : ` (${facts})`}`
    return new RepositoryCommandFailure(ending, message, { cause: error, answer: { error: { code, message: error.message, ...error.facts } } })
  }
  return signal.aborted && error instanceof Error && error.name === 'AbortError' ? new RepositoryCommandFailure('interrupted', 'It was interrupted.') : error
}

function throwIfInterrupted(signal: AbortSignal): void {
  if (signal.aborted) throw new Failure('cancelled')
}

export interface OpenedRepository {
  readonly repository: Repository
  readonly storage: Storage
  readonly password: string
}

/** Opens the repository at a location for the time of the work, without a lock. */
export async function withRepository<Result>(
  location: string, flags: AccessFlags, signal: AbortSignal, work: (opened: OpenedRepository) => Promise<Result>,
): Promise<Result> {
  const storage = openPlace(location)
  const password = await readPassword(flags.passwordFile, process.env)
  throwIfInterrupted(signal)
  // Without the signal: what an interruption ends must still be able to take its lock away.
  await using repository = await openRepository(storage, { password })
  throwIfInterrupted(signal)
  return await work({ repository, storage, password })
}

/** Takes a lock; waits for others as long as `--retry-lock` says. */
export function takeLock(repository: Repository, flags: AccessFlags, exclusive: boolean, signal: AbortSignal): Promise<RepositoryLock> {
  return lockWithPatience(repository, exclusive, (flags.retryLock ?? 0) * 1000, signal)
}

/** Refuses when a note beside the repository says that nothing may be taken out of it: it is a locked vault of a server. */
export async function refuseIfGuarded(storage: Storage, signal: AbortSignal): Promise<void> {
  const guard = await findRemovalGuard(storage, signal)
  if (guard === undefined) return
  const message = `Nothing was done, as nothing may be taken out here. ${guard.reason}`
  throw new RepositoryCommandFailure('failure', message, { answer: { error: { code: 'repository.guarded', message, ...guard.facts } } })
}

/** Holds a lock for the time of the work; waits for others as long as `--retry-lock` says. */
export async function withLock<Result>(
  repository: Repository, flags: AccessFlags, exclusive: boolean, signal: AbortSignal,
  work: (lock: RepositoryLock, signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  await using lock = await takeLock(repository, flags, exclusive, signal)
  try {
    return await work(lock, AbortSignal.any([signal, lock.lost]))
  } catch (error) {
    if (lock.lost.aborted && !signal.aborted) throw lock.lost.reason
    throw error
  }
}

async function lockWithPatience(repository: Repository, exclusive: boolean, patienceMs: number, signal: AbortSignal): Promise<RepositoryLock> {
  const giveUpAt = performance.now() + patienceMs
  for (;;) {
    try {
      return await repository.lock({ exclusive, signal })
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'repository.locked' || performance.now() >= giveUpAt) throw error
    }
    await sleep(LOCK_RETRY_MS, undefined, { signal })
  }
}

/** Opens a repository to read from it, under a shared lock unless `--no-lock` is given. */
export function reading<Result>(
  location: string, flags: AccessFlags, signal: AbortSignal, work: (opened: OpenedRepository, signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  return withRepository(location, flags, signal, (opened) => {
    if (flags.lock === false) return work(opened, signal)
    return withLock(opened.repository, flags, false, signal, (_lock, lockedSignal) => work(opened, lockedSignal))
  })
}

/** Which snapshots `latest` and lists mean. */
export interface SnapshotFlags {
  readonly host?: string
  /** Each a list, separated by commas, of tags that must all be there; one of the lists suffices. */
  readonly tag?: readonly string[]
  readonly path?: readonly string[]
}

/** The snapshots that match, oldest first. */
export async function findSnapshots(repository: Repository, flags: SnapshotFlags, signal: AbortSignal): Promise<StoredSnapshot[]> {
  const wantedTags = flags.tag?.map((list) => list.split(','))
  const paths = flags.path?.map((path) => resolve(path))
  return (await repository.listSnapshots({ signal })).filter(({ snapshot }) => {
    const { tags = [] } = snapshot
    if (flags.host !== undefined && snapshot.hostname !== flags.host) return false
    if (paths !== undefined && !paths.every((path) => snapshot.paths.includes(path))) return false
    return wantedTags === undefined || wantedTags.some((wanted) => wanted.every((tag) => tags.includes(tag)))
  })
}

/** One snapshot: `latest`, or the beginning of an id that no other snapshot has. */
export async function findSnapshot(repository: Repository, name: string, flags: SnapshotFlags, signal: AbortSignal): Promise<StoredSnapshot> {
  if (name === 'latest') {
    const latest = (await findSnapshots(repository, flags, signal)).at(-1)
    if (latest === undefined) throw new RepositoryCommandFailure('failure', 'There is no such snapshot.')
    return latest
  }
  if (!/^[0-9a-f]{4,64}$/.test(name)) throw new RepositoryCommandFailure('usage', `${name} is no snapshot: give at least 4 digits of its id, or latest.`)
  const ids = (await repository.storedFiles.listSnapshotIds(signal)).filter((id) => id.startsWith(name))
  const id = oneOf(ids, name, 'snapshot')
  const snapshot = await repository.findSnapshot(id, signal)
  if (snapshot === undefined) throw new RepositoryCommandFailure('failure', `The snapshot ${name} is gone.`)
  return { id, snapshot }
}

/** The only id that begins so. */
export function oneOf<Id extends string>(ids: readonly Id[], name: string, noun: string): Id {
  const [id] = ids
  if (id === undefined) throw new RepositoryCommandFailure('failure', `There is no ${noun} ${name}.`)
  if (ids.length > 1) throw new RepositoryCommandFailure('usage', `${ids.length} of them begin with ${name}: give more of the id of the ${noun}.`)
  return id
}

/** `SNAPSHOT` or `SNAPSHOT:PATH`; the path is absolute, in the snapshot. */
export function splitSnapshotPath(text: string): { readonly name: string, readonly path: string } {
  const at = text.indexOf(':')
  if (at === -1) return { name: text, path: '/' }
  const path = text.slice(at + 1)
  return { name: text.slice(0, at), path: path.startsWith('/') ? path : `/${path}` }
}

export function shortId(id: SnapshotId | string): string {
  return id.slice(0, 8)
}
