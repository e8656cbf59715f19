/**
 * What the server and the reader say to each other over the IPC channel between them. The reader is a
 * process that opens vaults to show and hand out what is in backups; a request is answered once,
 * except that an opened stream is pulled, piece by piece, so that a slow client holds up nothing but itself.
 *
 *   server -> reader   list, open; per opened stream: pull*, cancel
 *   reader -> server   listed, opened, failed; per stream: piece*, end, failed
 */
import type { Readable } from 'node:stream'
import type { TaskFailure, VaultAccess } from './protocol.ts'

/** Where in a vault a backup's content lies. */
export interface BackupPlace {
  readonly vault: VaultAccess
  readonly backupId: string
  readonly snapshotId: string
  /** Absolute path in the snapshot of what was backed up; empty when the backup is all of the snapshot. */
  readonly sourcePath: string
  /** Whether it is the image of a disk, which shows as one file. */
  readonly isDisk: boolean
}

export type EntryType = 'file' | 'directory' | 'symlink' | 'fifo' | 'socket' | 'block_device' | 'character_device' | 'other'

/** An entry of a directory. Names and link targets are bytes, as the file system had them. */
export interface FileEntry {
  readonly name: Uint8Array
  readonly type: EntryType
  /** Bytes of a file; undefined for everything else. */
  readonly size: number | undefined
  /** Permissions with setuid, setgid and sticky, as `chmod` takes them. */
  readonly mode: number
  /** RFC 3339, up to nanoseconds. */
  readonly mtime: string
  readonly uid: number
  readonly gid: number
  /** Empty when the system had no name for the number. */
  readonly user: string
  readonly group: string
  readonly linkTarget: Uint8Array | undefined
}

export interface FileListing {
  /** In the order of the bytes of their names. */
  readonly entries: readonly FileEntry[]
  /** Of the whole directory. */
  readonly count: number
}

export type StreamForm = 'file' | 'zip' | 'tar'

export interface OpenedStream {
  /** `file` or what a directory was asked to be. */
  readonly form: StreamForm
  /** The last name of the path; empty for the root of a backup that has none. */
  readonly name: Uint8Array
  /** Of a file: all its bytes, whatever part is read. */
  readonly size: number | undefined
  /** Of a file: the part that is read, from `start` to below `end`; undefined when it lies outside the file. */
  readonly range: { readonly start: number, readonly end: number } | undefined
  /** The same for the same content; hexadecimal. */
  readonly digest: string
  /** RFC 3339. */
  readonly mtime: string
}

/** The part of a file that is wanted, as HTTP has it: `start` alone, both, or the last `suffix` bytes. */
export type WantedRange = { readonly start: number, readonly last?: number | undefined } | { readonly suffix: number }

export type ToReader =
  | { readonly type: 'list', readonly id: number, readonly place: BackupPlace, readonly path: readonly Uint8Array[], readonly after: Uint8Array | undefined, readonly limit: number }
  | {
    readonly type: 'open', readonly id: number, readonly place: BackupPlace, readonly path: readonly Uint8Array[]
    /** Undefined: a file as it is, a directory as zip. */
    readonly form: StreamForm | undefined
    readonly range: WantedRange | undefined
  }
  | { readonly type: 'pull', readonly id: number }
  | { readonly type: 'cancel', readonly id: number }

export type FromReader =
  | { readonly type: 'listed', readonly id: number, readonly listing: FileListing }
  | { readonly type: 'opened', readonly id: number, readonly stream: OpenedStream }
  | { readonly type: 'piece', readonly id: number, readonly bytes: Uint8Array }
  | { readonly type: 'end', readonly id: number }
  /** The code is an engine's, `not_a_directory`, `not_a_file` or `unknown`. */
  | { readonly type: 'failed', readonly id: number, readonly failure: TaskFailure }

/** The reader as the server's parts use it. */
export interface VaultReader {
  readonly list: (request: { place: BackupPlace, path: readonly Uint8Array[], after: Uint8Array | undefined, limit: number }) => Promise<FileListing>
  /** Destroying the stream ends the reading. */
  readonly open: (
    request: { place: BackupPlace, path: readonly Uint8Array[], form: StreamForm | undefined, range: WantedRange | undefined },
  ) => Promise<{ readonly opened: OpenedStream, readonly stream: Readable }>
  readonly close: () => Promise<void>
}
