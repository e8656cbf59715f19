import { mkdirSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { listTree } from '@opencbr/engine/browse'
import type { StoredSnapshot } from '@opencbr/engine/repository'
import { holdsImage, restoreImage, restoreTree, segmentedDiskBytes, type RestoreWarning } from '@opencbr/engine/restore'
import type { Call } from '../command.ts'
import { printLine, printNote, safeText } from '../output.ts'
import {
  findSnapshot, interruptible, reading, shortId, splitSnapshotPath, type AccessFlags, type OpenedRepository, type SnapshotFlags,
} from './repository-access.ts'
import { RepositoryCommandFailure } from './repository-endings.ts'
import { openProgress, showBytes, showShare } from './repository-progress.ts'

interface RestoreFlags extends AccessFlags, SnapshotFlags {
  readonly target: string
}

interface Restored {
  readonly whole: boolean
  readonly files: number
  readonly bytesWritten: number
  readonly bytesUnchanged: number
  readonly warnings: readonly RestoreWarning[]
  readonly warningsTotal: number
}

export function runRestore({ args: [location = '', text = ''], options, print }: Call<RestoreFlags>): Promise<void> {
  return interruptible((wholeSignal) => reading(location, options, wholeSignal, async ({ repository }, signal) => {
    const { name, path } = splitSnapshotPath(text)
    const stored = await findSnapshot(repository, name, options, signal)
    const { id } = stored
    await repository.loadIndex({ signal })
    const target = resolve(options.target)
    const restored = await restoreAt(repository, stored, path, target, signal)
    print({
      snapshot_id: id,
      target,
      whole: restored.whole,
      files: restored.files,
      bytes_written: restored.bytesWritten,
      bytes_unchanged: restored.bytesUnchanged,
      warnings: restored.warnings,
      warning_count: restored.warningsTotal,
    }, () => {
      for (const warning of restored.warnings) printNote(`${safeText(warning.path)}: ${warning.message}`)
      printLine(`${restored.files} files of snapshot ${shortId(id)} are in ${safeText(target)}: `
        + `${showBytes(restored.bytesWritten)} written, ${showBytes(restored.bytesUnchanged)} were there already`)
    })
    if (!restored.whole) throw new RepositoryCommandFailure('failure', 'Something could not be restored; everything else is there.')
  }))
}

async function restoreAt(
  repository: OpenedRepository['repository'], stored: StoredSnapshot, path: string, target: string, signal: AbortSignal,
): Promise<Restored> {
  using progress = openProgress()
  // Whoever runs the command may write wherever the system lets them.
  const common = { snapshotId: stored.id, allowedRoots: ['/'], signal }
  const image = await findImage(repository, stored, path, target, signal)
  if (image !== undefined) {
    mkdirSync(dirname(image.targetPath), { recursive: true })
    const restored = await restoreImage(repository, {
      ...common, ...image,
      onProgress: ({ bytesDone, bytesTotal }) => progress.show(() => `${showBytes(bytesDone)}${showShare(bytesDone, bytesTotal)}`),
    })
    return { ...restored, files: 1 }
  }
  return restoreTree(repository, {
    ...common, sourcePath: path, destination: target,
    onProgress: ({ filesDone, filesTotal, bytesDone, bytesTotal }) =>
      progress.show(() => `${filesDone} of ${filesTotal} files, ${showBytes(bytesDone)}${showShare(bytesDone, bytesTotal)}`),
  })
}

/**
 * What is restored as one file, and to where: a file or a disk at a path; or, when the whole snapshot is wanted
 * and it is that of a disk in segments, this disk.
 */
async function findImage(
  repository: OpenedRepository['repository'], { id, snapshot }: StoredSnapshot, path: string, target: string, signal: AbortSignal,
): Promise<{ readonly sourcePath: string, readonly targetPath: string } | undefined> {
  if (!/^\/*$/.test(path)) {
    return await holdsImage(repository, id, path) ? { sourcePath: path, targetPath: join(target, basename(path)) } : undefined
  }
  const [sourcePath, ...others] = snapshot.paths
  if (sourcePath === undefined || others.length > 0 || !sourcePath.startsWith('/')) return undefined
  for await (const { node } of listTree(repository, id, sourcePath, { signal, recursive: false })) {
    return await segmentedDiskBytes(repository, node) === undefined ? undefined : { sourcePath, targetPath: join(target, sourcePath) }
  }
  return undefined
}
