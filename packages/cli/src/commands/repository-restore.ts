import { mkdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { listTree, restoreImage, restoreTree, type RestoreWarning, type SnapshotId } from '@opencbr/engine'
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
    const { id } = await findSnapshot(repository, name, options, signal)
    await repository.loadIndex({ signal })
    const target = resolve(options.target)
    const restored = await restoreAt(repository, id, path, target, signal)
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
  repository: OpenedRepository['repository'], snapshotId: SnapshotId, path: string, target: string, signal: AbortSignal,
): Promise<Restored> {
  using progress = openProgress()
  const kind = await kindAt(repository, snapshotId, path, signal)
  // Whoever runs the command may write wherever the system lets them.
  const common = { snapshotId, sourcePath: path, allowedRoots: ['/'], signal }
  if (kind === 'file') {
    mkdirSync(target, { recursive: true })
    const image = await restoreImage(repository, {
      ...common, targetPath: join(target, basename(path)),
      onProgress: ({ bytesDone, bytesTotal }) => progress.show(() => `${showBytes(bytesDone)}${showShare(bytesDone, bytesTotal)}`),
    })
    return { ...image, files: 1 }
  }
  return restoreTree(repository, {
    ...common, destination: target,
    onProgress: ({ filesDone, filesTotal, bytesDone, bytesTotal }) =>
      progress.show(() => `${filesDone} of ${filesTotal} files, ${showBytes(bytesDone)}${showShare(bytesDone, bytesTotal)}`),
  })
}

async function kindAt(repository: OpenedRepository['repository'], snapshotId: SnapshotId, path: string, signal: AbortSignal): Promise<string> {
  if (/^\/*$/.test(path)) return 'dir'
  for await (const { node } of listTree(repository, snapshotId, path, { signal, recursive: false })) return node.type
  return 'dir'
}
