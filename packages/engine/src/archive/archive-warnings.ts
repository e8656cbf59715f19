/**
 * What can be wrong with one thing in a source. Whatever loses content or attributes makes the backup
 * less than whole; the others are told, because somebody may have expected otherwise.
 */
export const archiveWarnings = {
  unreadable: { loses: true, text: 'It could not be read and is not in the backup.' },
  'attribute.unreadable': { loses: true, text: 'Its extended attributes could not be read.' },
  'attribute.name': { loses: true, text: 'An extended attribute has a name that is not text and cannot be kept.' },
  restless: { loses: true, text: 'It became another kind of file at every try to read it and is not in the backup.' },
  vanished: { loses: false, text: 'It vanished while the backup ran.' },
  changed: { loses: false, text: 'It changed while it was read: the backup may hold older and newer parts of it.' },
  endless: { loses: true, text: 'It says that it is empty and does not end: only the first 64 MiB are in the backup.' },
  socket: { loses: false, text: 'Sockets hold no data and are left out.' },
  'kind.unknown': { loses: true, text: 'It is of a kind that cannot be backed up.' },
} as const satisfies Record<string, { loses: boolean; text: string }>

export type ArchiveWarningCode = keyof typeof archiveWarnings

export interface ArchiveWarning {
  /** Absolute, for people: bytes that are no text are shown as replacement characters. */
  readonly path: string
  readonly code: ArchiveWarningCode
  /** For a person; the reason, where there is one, at its end. */
  readonly message: string
}

const WARNINGS_KEPT_MAX = 1000

/** Collects warnings: the first thousand in words, all of them by number. */
export class ArchiveWarnings {
  readonly list: ArchiveWarning[] = []
  total = 0
  /** False once any warning told of something lost. */
  whole = true

  add(path: Buffer, code: ArchiveWarningCode, reason = ''): void {
    const { loses, text } = archiveWarnings[code]
    if (loses) this.whole = false
    this.total += 1
    if (this.list.length >= WARNINGS_KEPT_MAX) return
    this.list.push({ path: path.toString(), code, message: reason === '' ? text : `${text} (${reason})` })
  }
}
