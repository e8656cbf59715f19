import { readFileSync, statSync } from 'node:fs'
import os from 'node:os'
import { resolve } from 'node:path'
import type { ArchiveProgress, ArchiveResult } from '@opencbr/engine/archive'
import { openRepository, type Repository, type SnapshotId } from '@opencbr/engine/repository'
import { withoutWrites } from '@opencbr/storage'
import type { Call } from '../command.ts'
import { printJson, printLine, printNote, safeText } from '../output.ts'
import { version } from '../version.ts'
import { findSnapshot, interruptible, openPlace, readPassword, shortId, withLock, type AccessFlags } from './repository-access.ts'
import { RepositoryCommandFailure } from './repository-endings.ts'
import { openProgress, showBytes, showShare } from './repository-progress.ts'

interface BackupFlags extends AccessFlags {
  readonly tag?: readonly string[]
  readonly host?: string
  readonly time?: string
  readonly parent?: string
  readonly force?: boolean
  readonly exclude?: readonly string[]
  readonly excludeFile?: readonly string[]
  readonly excludeCaches?: boolean
  readonly oneFileSystem?: boolean
  readonly dryRun?: boolean
}

const loadArchive = () => import('@opencbr/engine/archive')

export function runBackup({ args: [location = '', ...paths], options }: Call<BackupFlags>): Promise<void> {
  return interruptible(async (signal) => {
    const time = parseTime(options.time)
    const excludes = [...(options.excludeFile ?? []).flatMap(readPatterns), ...options.exclude ?? []]
    const place = openPlace(location)
    const storage = options.dryRun === true ? withoutWrites(place).storage : place
    const password = await readPassword(options.passwordFile, process.env)
    await using repository = await openRepository(storage, { password, onDeriving: () => void loadArchive() })
    const { archiveImage, archiveTree } = await loadArchive()
    const results = await withLock(repository, options, false, signal, async (lock, lockedSignal) => {
      const made: { path: string, result: ArchiveResult }[] = []
      for (const path of paths.map((each) => resolve(each))) {
        using progress = openProgress()
        const hostname = options.host ?? os.hostname()
        const archive = statSync(path, { throwIfNoEntry: false })?.isDirectory() === false ? archiveImage : archiveTree
        const result = await archive(repository, lock, {
          path, hostname, time: time ?? new Date(), tags: options.tag ?? [], signal: lockedSignal,
          parent: await findParent(repository, hostname, path, options, lockedSignal),
          programVersion: `opencbr ${version}`,
          excludes,
          excludeCaches: options.excludeCaches === true,
          oneFileSystem: options.oneFileSystem === true,
          onProgress: (state) => progress.show(() => describeProgress(state)),
        })
        made.push({ path, result })
      }
      return made
    })
    const isDry = options.dryRun === true
    if (options.json === true) printJson({ snapshots: results.map(({ path, result }) => describeResult(path, result, isDry)) })
    else for (const { path, result } of results) showResult(path, result, isDry)
    if (!results.every(({ result }) => result.whole)) {
      throw new RepositoryCommandFailure('incomplete', isDry ? 'Something could not be read.' : 'Something could not be read and is not in the snapshot.')
    }
  })
}

/** One pattern a line; those that begin with # are remarks. */
function readPatterns(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split(/\r?\n/).filter((line) => line.trim() !== '' && !line.startsWith('#'))
  } catch (error) {
    throw new RepositoryCommandFailure('failure', `The patterns in ${path} cannot be read.`, { cause: error })
  }
}

function parseTime(text: string | undefined): Date | undefined {
  if (text === undefined) return undefined
  const time = new Date(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(text) ? text.replace(' ', 'T') : text)
  if (Number.isNaN(time.getTime())) throw new RepositoryCommandFailure('usage', `${text} is no time: write it as 2026-01-15T08:30:00Z.`)
  return time
}

/** The latest snapshot of the same machine and path, unless another one is named. */
async function findParent(
  repository: Repository, hostname: string, path: string, options: BackupFlags, signal: AbortSignal,
): Promise<SnapshotId | undefined> {
  if (options.force === true) return undefined
  if (options.parent !== undefined) return (await findSnapshot(repository, options.parent, {}, signal)).id
  return (await repository.listSnapshots({ hostname, paths: [path], signal, onDamaged: () => undefined })).at(-1)?.id
}

function describeProgress({ filesDone, bytesDone, bytesTotal, currentPath }: ArchiveProgress): string {
  return `${filesDone} files, ${showBytes(bytesDone)}${showShare(bytesDone, bytesTotal)}  ${safeText(currentPath)}`
}

function describeResult(path: string, result: ArchiveResult, isDry: boolean): object {
  return {
    ...(isDry ? { dry_run: true } : { snapshot_id: result.snapshotId }),
    path,
    parent: result.parent ?? null,
    whole: result.whole,
    warnings: result.warnings,
    warning_count: result.warningCount,
    skipped: result.skipped,
    skipped_count: result.skippedCount,
    files_new: result.files.new,
    files_changed: result.files.changed,
    files_unmodified: result.files.unmodified,
    dirs_new: result.directories.new,
    dirs_changed: result.directories.changed,
    dirs_unmodified: result.directories.unmodified,
    data_blobs: result.dataBlobs,
    tree_blobs: result.treeBlobs,
    data_added: result.bytesAdded,
    data_added_packed: result.bytesAddedPacked,
    total_bytes_processed: result.bytesProcessed,
    total_duration: (result.endedAt.getTime() - result.startedAt.getTime()) / 1000,
  }
}

function showResult(path: string, result: ArchiveResult, isDry: boolean): void {
  for (const warning of result.warnings) printNote(`${safeText(warning.path)}: ${warning.message}`)
  if (result.warningCount > result.warnings.length) printNote(`${result.warningCount - result.warnings.length} more warnings are not shown.`)
  const { new: added, changed, unmodified } = result.files
  printLine(`${safeText(path)}: ${added} new, ${changed} changed, ${unmodified} unmodified files, ${showBytes(result.bytesProcessed)}`)
  printLine(`${showBytes(result.bytesAdded)} ${isDry ? 'would be' : 'were'} added, as ${showBytes(result.bytesAddedPacked)}`)
  if (!isDry) printLine(`snapshot ${shortId(result.snapshotId)} ${result.whole ? 'saved' : 'saved, with gaps'}`)
}
