import { isId } from '../crypto/ids.ts'
import type { BlobId, SnapshotId } from '../repository/types.ts'
import { isObject, isTextList, isWhole, parseJson } from './json.ts'

/** Counts of one run, under the names that they have in the file. */
export interface SnapshotSummary {
  /** RFC 3339. */
  readonly backup_start: string
  /** RFC 3339. */
  readonly backup_end: string
  readonly files_new: number
  readonly files_changed: number
  readonly files_unmodified: number
  readonly dirs_new: number
  readonly dirs_changed: number
  readonly dirs_unmodified: number
  readonly data_blobs: number
  readonly tree_blobs: number
  /** Plaintext bytes of new blobs. */
  readonly data_added: number
  /** Stored bytes of new blobs. */
  readonly data_added_packed: number
  readonly total_files_processed: number
  /** Bytes. */
  readonly total_bytes_processed: number
}

/** A snapshot file's content, under the names that the fields have there. */
export interface Snapshot {
  /** RFC 3339, up to nanoseconds. */
  readonly time: string
  /** The snapshot that the run compared with: a hint, which may name one that is gone. */
  readonly parent?: SnapshotId | undefined
  readonly tree: BlobId
  readonly paths: readonly string[]
  readonly hostname?: string | undefined
  readonly username?: string | undefined
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  readonly excludes?: readonly string[] | undefined
  readonly tags?: readonly string[] | undefined
  /** The id that the snapshot had before its first change; what identifies it through all of them. */
  readonly original?: SnapshotId | undefined
  readonly program_version?: string | undefined
  readonly summary?: SnapshotSummary | undefined
}

const summaryCounts = [
  'files_new', 'files_changed', 'files_unmodified', 'dirs_new', 'dirs_changed', 'dirs_unmodified', 'data_blobs', 'tree_blobs',
  'data_added', 'data_added_packed', 'total_files_processed', 'total_bytes_processed',
] as const satisfies readonly (keyof SnapshotSummary)[]

const unlessZero = (number: number | undefined) => (number === 0 ? undefined : number)
const unlessEmpty = (list: readonly string[] | undefined) => (list?.length === 0 ? undefined : list)

/** The JSON of a snapshot file, its fields in the order in which every writer puts them. */
export function encodeSnapshot(snapshot: Snapshot): Uint8Array {
  const { summary } = snapshot
  return Buffer.from(
    JSON.stringify({
      time: snapshot.time,
      parent: snapshot.parent,
      tree: snapshot.tree,
      paths: snapshot.paths,
      hostname: snapshot.hostname,
      username: snapshot.username,
      uid: unlessZero(snapshot.uid),
      gid: unlessZero(snapshot.gid),
      excludes: unlessEmpty(snapshot.excludes),
      tags: unlessEmpty(snapshot.tags),
      original: snapshot.original,
      program_version: snapshot.program_version,
      summary: summary === undefined ? undefined : {
        backup_start: summary.backup_start,
        backup_end: summary.backup_end,
        ...Object.fromEntries(summaryCounts.map((name) => [name, summary[name]])),
      },
    }),
  )
}

function decodeSummary(value: unknown): SnapshotSummary | undefined {
  if (!isObject(value)) return undefined
  const { backup_start, backup_end } = value
  if (typeof backup_start !== 'string' || typeof backup_end !== 'string') return undefined
  const counts = Object.fromEntries(summaryCounts.map((name) => [name, value[name]]))
  if (!Object.values(counts).every((count) => isWhole(count, Number.MAX_SAFE_INTEGER))) return undefined
  return { backup_start, backup_end, ...(counts as Record<(typeof summaryCounts)[number], number>) }
}

/**
 * The snapshot, or undefined when the text is not one. Fields that do not matter for restoring
 * are left out when they are malformed.
 */
export function decodeSnapshot(json: Uint8Array): Snapshot | undefined {
  const value = parseJson(json)
  if (!isObject(value)) return undefined
  const { time, tree, parent, original, paths, excludes, tags, uid, gid } = value
  if (typeof time !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(time)) return undefined
  if (!isId<BlobId>(tree) || !(paths === null || isTextList(paths))) return undefined
  const text = (name: string) => {
    const field = value[name]
    return typeof field === 'string' && field !== '' ? { [name]: field } : {}
  }
  const summary = decodeSummary(value.summary)
  return {
    time,
    tree,
    paths: paths ?? [],
    ...(isId<SnapshotId>(parent) ? { parent } : {}),
    ...text('hostname'),
    ...text('username'),
    ...(isWhole(uid, 2 ** 32) ? { uid } : {}),
    ...(isWhole(gid, 2 ** 32) ? { gid } : {}),
    ...(isTextList(excludes) ? { excludes } : {}),
    ...(isTextList(tags) ? { tags } : {}),
    ...(isId<SnapshotId>(original) ? { original } : {}),
    ...text('program_version'),
    ...(summary === undefined ? {} : { summary }),
  }
}
