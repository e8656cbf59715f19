import { copySnapshots, openRepository, type StoredSnapshot } from '@opencbr/engine'
import type { Call } from '../command.ts'
import { printLine, printNote } from '../output.ts'
import {
  findSnapshot, findSnapshots, interruptible, openPlace, readPassword, shortId, withLock, withRepository, type AccessFlags, type SnapshotFlags,
} from './repository-access.ts'
import { RepositoryCommandFailure } from './repository-endings.ts'
import { openProgress, showBytes } from './repository-progress.ts'

interface CopyFlags extends AccessFlags, SnapshotFlags {
  readonly targetPasswordFile?: string
  readonly verify?: boolean
}

export function runCopy({ args: [location = '', targetLocation = '', ...names], options, print }: Call<CopyFlags>): Promise<void> {
  return interruptible((wholeSignal) => withRepository(location, options, wholeSignal, async ({ repository: source, password }) => {
    const targetPassword = options.targetPasswordFile === undefined ? password : await readPassword(options.targetPasswordFile, {})
    await using target = await openRepository(openPlace(targetLocation), { password: targetPassword })
    if (source.id === target.id) throw new RepositoryCommandFailure('usage', 'The source and the target are the same repository.')
    if (source.chunkerPolynomial !== target.chunkerPolynomial) {
      printNote('The two repositories cut files differently: later backups into the target share nothing with what is copied. init --from avoids that.')
    }
    const result = await withLock(source, options, false, wholeSignal, (_lock, sourceSignal) =>
      withLock(target, options, false, sourceSignal, async (lock, signal) => {
        using progress = openProgress()
        const chosen = await choose(names)
        return copySnapshots(source, target, lock, chosen, {
          signal,
          readBack: options.verify !== false,
          onProgress: ({ snapshotsDone, snapshotsTotal, bytesCopied }) =>
            progress.show(() => `${snapshotsDone} of ${snapshotsTotal} snapshots, ${showBytes(bytesCopied)} copied`),
        })

        async function choose(wanted: readonly string[]): Promise<StoredSnapshot[]> {
          if (wanted.length === 0) return findSnapshots(source, options, signal)
          const found = new Map<string, StoredSnapshot>()
          for (const name of wanted) {
            const stored = await findSnapshot(source, name, options, signal)
            found.set(stored.id, stored)
          }
          return [...found.values()]
        }
      }))
    print({
      snapshots: result.snapshots.map(({ sourceId, targetId, copied }) => ({ source_id: sourceId, target_id: targetId, copied })),
      blobs_copied: result.blobsCopied,
      bytes_copied: result.bytesCopied,
      bytes_stored: result.bytesStored,
    }, () => {
      for (const { sourceId, targetId, copied } of result.snapshots) {
        printLine(`${shortId(sourceId)} ${copied ? 'copied as' : 'is there as'} ${shortId(targetId)}`)
      }
      printLine(`${showBytes(result.bytesCopied)} were copied, as ${showBytes(result.bytesStored)}`)
    })
  }))
}
