import { checkRepository, type CheckFinding, type CheckOptions } from '@opencbr/engine/check'
import type { Call } from '../command.ts'
import { printLine, printNote, safeText } from '../output.ts'
import { interruptible, reading, shortId, type AccessFlags } from './repository-access.ts'
import { RepositoryCommandFailure } from './repository-endings.ts'
import { openProgress, showBytes, showShare } from './repository-progress.ts'

interface CheckFlags extends AccessFlags {
  readonly indexOnly?: boolean
  readonly readData?: boolean
  readonly readDataPercent?: number
  readonly readDataDays?: number
}

export function runCheck({ args: [location = ''], options, print }: Call<CheckFlags>): Promise<void> {
  return interruptible((wholeSignal) => reading(location, options, wholeSignal, async ({ repository }, signal) => {
    using progress = openProgress()
    const result = await checkRepository(repository, {
      ...chooseLevel(options),
      signal,
      onProgress: ({ stage, done, total }) => progress.show(() =>
        stage === 'data' ? `${showBytes(done)} of data read${showShare(done, total)}` : `${done} directories looked at`),
    })
    print({
      whole: result.whole,
      snapshots: result.snapshots,
      trees: result.trees,
      packs: result.packs,
      packs_read: result.packsRead,
      bytes_read: result.bytesRead,
      findings_count: result.findingsTotal,
      findings: result.findings,
    }, () => {
      for (const finding of result.findings) printNote(describeFinding(finding))
      if (result.findingsTotal > result.findings.length) printNote(`${result.findingsTotal - result.findings.length} more findings are not shown.`)
      const read = result.packsRead === 0 ? '' : `; ${result.packsRead} packs read, ${showBytes(result.bytesRead)}`
      printLine(`${result.snapshots} snapshots, ${result.trees} directories, ${result.packs} packs${read}`)
      if (result.whole) printLine('The repository is whole, as far as was looked.')
    })
    if (!result.whole) throw new RepositoryCommandFailure('failure', 'The repository is damaged: opencbr repository repair may help.')
  }))
}

function chooseLevel(flags: CheckFlags): Pick<CheckOptions, 'level' | 'samplePercent' | 'writtenInDays'> {
  const chosen = [flags.indexOnly, flags.readData, flags.readDataPercent, flags.readDataDays].filter((flag) => flag !== undefined)
  if (chosen.length > 1) throw new RepositoryCommandFailure('usage', 'Choose one of --index-only, --read-data, --read-data-percent and --read-data-days.')
  if (flags.indexOnly === true) return { level: 'index' }
  if (flags.readDataPercent !== undefined) {
    if (flags.readDataPercent > 100) throw new RepositoryCommandFailure('usage', '--read-data-percent is at most 100.')
    return { level: 'data', samplePercent: flags.readDataPercent }
  }
  if (flags.readDataDays !== undefined) return { level: 'data', writtenInDays: flags.readDataDays }
  return { level: flags.readData === true ? 'data' : 'structure' }
}

/** One line for people: what, where, and in which snapshot. */
export function describeFinding({ severity, message, packId, blobId, snapshotId, path }: CheckFinding): string {
  const places = [
    packId === undefined ? '' : `pack ${shortId(packId)}`,
    blobId === undefined ? '' : `blob ${shortId(blobId)}`,
    snapshotId === undefined ? '' : `snapshot ${shortId(snapshotId)}`,
    path === undefined ? '' : safeText(path),
  ].filter((place) => place !== '')
  return `${severity}: ${places.join(', ')}${places.length > 0 ? ': ' : ''}${message}`
}
