/**
 * Backs up one source into its vault, once it is known to fit. May run again after any death of this process: a whole
 * snapshot that carries the backup's tag is the proof that an earlier attempt had committed, and is
 * reported instead of made again.
 */
import * as fs from 'node:fs/promises'
import {
  archiveImage, archiveTree, archiveTrees, archiveWarnings, Failure, INCOMPLETE_TAG, initRepository, kdfForRandomPassword, openRepository, type ArchiveProgress, type ArchiveResult,
  type Repository, type RepositoryLock, type SnapshotId, type StoredSnapshot,
} from '@opencbr/engine'
import { memoryStorage, withoutWrites, withRoom, type Storage } from '@opencbr/storage'
import { isAllowedDestination, resolveAllowedPath, type PathRules } from './allowed-path.ts'
import { isBootableDisk } from './boot-signature.ts'
import { boundSource } from './bound-source.ts'
import { WARNINGS_MAX, type BackupAssignment, type BackupOutcome, type TaskWarning } from './protocol.ts'
import { backupTag, checkpointTag, resourceTag } from './tags.ts'
import { SourceForbidden } from './task-failure.ts'
import { secureRoom, type AskForRoom, type SecuredRoom } from './secure-room.ts'
import { hasRepository, PACKS, vaultPlace, withVault, type WorkContext } from './vault-repository.ts'

/** What an attempt made, this one or an earlier one. */
interface Made {
  readonly snapshotId: string
  readonly whole: boolean
  readonly missingPaths: readonly string[]
  readonly missingCount: number
  readonly contentBytes: number
  readonly storedBytes: number
  readonly warnings: readonly TaskWarning[]
  readonly warningCount: number
}

export async function runBackup(
  job: BackupAssignment, context: WorkContext, askForRoom: AskForRoom, onProgress: (percent: number) => void,
): Promise<BackupOutcome> {
  const source = await resolveSource(job, context)
  const run: BackupRun = { job, context, source, askForRoom, onProgress, percentBefore: 0 }
  // No repository is made for what does not fit.
  const isFirst = !job.vault.repositoryExpected && !await hasRepository(job.vault)
  const begun = isFirst ? await secureFirst(run) : undefined
  let room = begun?.room
  const options = { exclusive: false, create: true, chunkerPolynomial: begun?.chunkerPolynomial, packBytesMax: () => room?.bytesMax }
  return withVault(job.vault, context, options, async (repository, lock, signal) => {
    const snapshots = await repository.listSnapshots({ onDamaged: () => undefined, signal })
    const made = findEarlierAttempt(snapshots, job) ?? await archive()

    async function archive(): Promise<Made> {
      const parent = job.incremental ? findParent(snapshots, job, source, context.settings.snapshotHostname) : undefined
      room ??= await secureFor(run, signal, (freeBytes) => measure(run, vaultPlace(job.vault).storage, lock, parent, freeBytes, signal))
      const result = await archiveSource(run, repository, lock, parent, signal)
      const missing = result.warnings.filter((warning) => archiveWarnings[warning.code].loses)
      return {
        snapshotId: result.snapshotId,
        whole: result.whole,
        missingPaths: missing.slice(0, WARNINGS_MAX).map((warning) => warning.path),
        missingCount: missing.length,
        contentBytes: result.bytesProcessed,
        storedBytes: result.bytesAddedPacked,
        warnings: result.warnings.slice(0, WARNINGS_MAX).map((warning) => ({ path: warning.path, message: warning.message })),
        warningCount: result.warningCount,
      }
    }

    return {
      kind: 'backup',
      ...made,
      repositoryId: repository.id,
      repositoryUrl: repository.location,
      sourcePath: source.kind === 'directories' ? '/' : source.path,
      // The backup is made: a disk that cannot be looked at any more only leaves this unknown.
      bootable: source.kind === 'disk' ? await isBootableDisk(source.path).catch(() => undefined) : undefined,
    }
  })
}

type Source = BackupAssignment['source']

interface BackupRun {
  readonly job: BackupAssignment
  readonly context: WorkContext
  readonly source: Source
  readonly askForRoom: AskForRoom
  readonly onProgress: (percent: number) => void
  /** How far the run was when this pass over the source began. */
  percentBefore: number
}

/** A dry pass counts as the first half of the run. */
const DRY_PERCENT = 50

async function secureFor(run: BackupRun, signal: AbortSignal, dryPass: (freeBytes: number | undefined) => Promise<number>): Promise<SecuredRoom> {
  return secureRoom(run.askForRoom, await boundSource(run.source, signal), async (freeBytes) => {
    const neededBytes = await dryPass(freeBytes)
    run.percentBefore = DRY_PERCENT
    return neededBytes
  }, signal)
}

/** For the first backup of a vault: a dry pass goes into a repository in memory, and the vault's will cut files as that one does. */
async function secureFirst(run: BackupRun): Promise<{ room: SecuredRoom, chunkerPolynomial: bigint | undefined }> {
  const { signal } = run.context
  let chunkerPolynomial: bigint | undefined
  const room = await secureFor(run, signal, async (freeBytes) => {
    const storage = memoryStorage()
    const { password } = run.job.vault
    await initRepository(storage, { password, kdf: kdfForRandomPassword, signal })
    await using repository = await openRepository(storage, { password, signal });
    ({ chunkerPolynomial } = repository)
    await using lock = await repository.lock({ exclusive: false, settleMs: 0, signal })
    return await measure(run, storage, lock, undefined, freeBytes, signal)
  })
  return { room, chunkerPolynomial }
}

/** The dry pass: what the run would add. Throws `storage.over_capacity` at the pack that would not fit. */
async function measure(
  run: BackupRun, storage: Storage, lock: RepositoryLock, parent: SnapshotId | undefined, freeBytes: number | undefined, signal: AbortSignal,
): Promise<number> {
  const dry = withoutWrites(storage)
  const limited = withRoom(dry.storage, { prefix: PACKS, bytesMax: () => freeBytes })
  await using repository = await openRepository(limited, { password: run.job.vault.password })
  await archiveSource(run, repository, lock, parent, signal, DRY_PERCENT / 100)
  return dry.bytesBelow(PACKS)
}

function archiveSource(
  run: BackupRun, repository: Repository, lock: RepositoryLock, parent: SnapshotId | undefined, signal: AbortSignal, share = 1 - run.percentBefore / 100,
): Promise<ArchiveResult> {
  const { job, context, source } = run
  const options = {
    hostname: context.settings.snapshotHostname,
    tags: [backupTag(job.backupId), checkpointTag(job.checkpointId), resourceTag(job.resourceId)],
    time: new Date(job.takenAtMs),
    parent,
    programVersion: context.settings.programVersion,
    signal,
    onProgress: ({ bytesDone, bytesTotal }: ArchiveProgress) => {
      const total = bytesTotal ?? job.expectedBytes
      if (total > 0) run.onProgress(run.percentBefore + Math.min(1, bytesDone / total) * share * 100)
    },
  }
  switch (source.kind) {
    case 'disk': return archiveImage(repository, lock, { ...options, path: source.path })
    case 'directory': return archiveTree(repository, lock, { ...options, path: source.path })
    case 'directories': return archiveTrees(repository, lock, { ...options, directories: source.directories })
  }
}

async function resolveSource({ source, allowedRoots }: BackupAssignment, { settings: { forbiddenPaths } }: WorkContext): Promise<Source> {
  const rules = { allowedRoots, forbiddenPaths }
  if (source.kind !== 'directories') {
    const path = await resolvePath(source.path, rules)
    if (path === undefined) throw new Failure('source.missing', { path: source.path })
    return { ...source, path }
  }
  // One that is missing at the moment is told of when the others have been read.
  const directories = source.directories.map(async (each) => ({ ...each, path: await resolvePath(each.path, rules) ?? each.path }))
  return { ...source, directories: await Promise.all(directories) }
}

/**
 * The roots may have become fewer, and links other ones, since the resource was declared. Undefined for
 * what is missing in a place that may be looked at.
 */
async function resolvePath(path: string, rules: PathRules): Promise<string | undefined> {
  const resolved = await resolveAllowedPath(path, rules)
  if (resolved !== undefined) return resolved
  // That it is missing may be told only of a place that may be looked at.
  if (await isAllowedDestination(path, rules) && await isMissing(path)) return undefined
  throw new SourceForbidden(`The path ${path} does not lie inside a directory that this server may read.`)
}

async function isMissing(path: string): Promise<boolean> {
  try {
    await fs.stat(path)
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
  }
}

function isWhole({ snapshot }: StoredSnapshot): boolean {
  return snapshot.tags?.includes(INCOMPLETE_TAG) !== true
}

/** A snapshot is written after everything that it needs, so one that is there and whole is a backup. */
function findEarlierAttempt(snapshots: readonly StoredSnapshot[], { backupId }: BackupAssignment): Made | undefined {
  const earlier = snapshots.find((each) => each.snapshot.tags?.includes(backupTag(backupId)) === true && isWhole(each))
  if (earlier === undefined) return undefined
  return {
    snapshotId: earlier.id,
    whole: true,
    missingPaths: [],
    missingCount: 0,
    contentBytes: earlier.snapshot.summary?.total_bytes_processed ?? 0,
    storedBytes: earlier.snapshot.summary?.data_added_packed ?? 0,
    warnings: [],
    warningCount: 0,
  }
}

/**
 * The newest whole snapshot of the resource. No run compares one path with another one; several directories
 * stand at their own paths, and compare with whatever was there before.
 */
function findParent(snapshots: readonly StoredSnapshot[], { resourceId }: BackupAssignment, source: Source, hostname: string): SnapshotId | undefined {
  const hasPath = (paths: readonly string[]): boolean => source.kind === 'directories' || (paths.length === 1 && paths[0] === source.path)
  return snapshots.findLast((each) => each.snapshot.tags?.includes(resourceTag(resourceId)) === true && isWhole(each)
    && each.snapshot.hostname === hostname && hasPath(each.snapshot.paths))?.id
}
