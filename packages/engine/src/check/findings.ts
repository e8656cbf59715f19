import type { BlobId, PackId, SnapshotId } from '../repository/types.ts'

/**
 * What a check can find. An error means that something which a snapshot may need is lost or cannot be
 * trusted; a warning costs nothing but space or time.
 */
export const checkFindings = {
  'index.damaged': { severity: 'error', text: 'An index file cannot be read, so nothing more can be said: rebuild the index.' },
  'index.split_pack': { severity: 'error', text: 'The index names the blobs of this pack piecemeal; rewriting it would lose some: repair the index.' },
  'index.repeated_pack': { severity: 'warning', text: 'Several index files name this pack alike.' },
  'pack.missing': { severity: 'error', text: 'The index names this pack, but the storage does not hold it.' },
  'pack.wrong_size': { severity: 'error', text: 'This pack is not as long as the index says.' },
  'pack.damaged': { severity: 'error', text: 'The content of this pack is not what its name says.' },
  'pack.header_damaged': { severity: 'error', text: 'The header of this pack cannot be read; the index still knows what is in it.' },
  'pack.header_differs': { severity: 'error', text: 'The header of this pack and the index disagree about what is in it.' },
  'pack.too_big': { severity: 'error', text: 'This pack is bigger than any program makes them, and was not read.' },
  'pack.mixed': { severity: 'warning', text: 'This pack holds both files and directories; pruning will repack it.' },
  'pack.unindexed': { severity: 'warning', text: 'No index names this pack: an interrupted run left it, or one is still going on.' },
  'blob.damaged': { severity: 'error', text: 'A part of this pack does not hold what it should.' },
  'snapshot.damaged': { severity: 'error', text: 'This snapshot file cannot be read.' },
  'directory.missing': { severity: 'error', text: 'The content of this directory is missing.' },
  'directory.damaged': { severity: 'error', text: 'The content of this directory is damaged.' },
  'directory.malformed': { severity: 'error', text: 'This directory holds names that no archiver writes.' },
  'directory.unordered': { severity: 'error', text: 'The entries of this directory are out of order.' },
  'file.missing_content': { severity: 'error', text: 'Content of this file is missing.' },
  'file.damaged_content': { severity: 'error', text: 'Content of this file is damaged.' },
  'file.size_differs': { severity: 'error', text: 'The content of this file is not as long as its entry says.' },
  'entry.unknown_type': { severity: 'warning', text: 'This entry is of a kind that cannot be restored.' },
} as const satisfies Record<string, { severity: 'error' | 'warning'; text: string }>

export type CheckFindingCode = keyof typeof checkFindings

export interface CheckFinding {
  readonly severity: 'error' | 'warning'
  readonly code: CheckFindingCode
  /** For a person; the particulars, where there are some, at its end. */
  readonly message: string
  readonly packId?: PackId
  readonly blobId?: BlobId
  readonly snapshotId?: SnapshotId
  /** Absolute, in the snapshot. */
  readonly path?: string
}

const FINDINGS_KEPT_MAX = 10_000

/** Collects findings: the first ten thousand in words, all of them by number. */
export class CheckFindings {
  readonly list: CheckFinding[] = []
  total = 0
  errors = 0

  get isFull(): boolean {
    return this.list.length >= FINDINGS_KEPT_MAX
  }

  add(code: CheckFindingCode, place: Pick<CheckFinding, 'packId' | 'blobId' | 'snapshotId' | 'path'> = {}, particulars = ''): void {
    const { severity, text } = checkFindings[code]
    this.total += 1
    if (severity === 'error') this.errors += 1
    if (this.isFull) return
    this.list.push({ severity, code, message: particulars === '' ? text : `${text} (${particulars})`, ...place })
  }
}
