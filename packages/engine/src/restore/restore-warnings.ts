/** What can be wrong with one restored thing. Whatever loses content makes the restore less than whole. */
export const restoreWarnings = {
  'content.damaged': { loses: 'content', text: 'A part of its content is damaged in the repository; that part is missing or zero.' },
  'content.size_differs': { loses: 'content', text: 'Its content in the repository is not as long as its directory entry says.' },
  'directory.damaged': { loses: 'content', text: 'The repository has lost what was in this directory.' },
  'type.unknown': { loses: 'content', text: 'It is of a kind that cannot be restored.' },
  'name.occupied': { loses: 'content', text: 'A directory that is not empty stands in its place; move it away and restore again.' },
  'not_created': { loses: 'content', text: 'It could not be created.' },
  'not_written': { loses: 'content', text: 'Its content could not be written.' },
  'link.not_made': { loses: 'attributes', text: 'It could not be linked to the other names of its file, and is a copy instead.' },
  'owner.not_set': { loses: 'attributes', text: 'Its owner could not be set.' },
  'mode.not_set': { loses: 'attributes', text: 'Its permissions could not be set.' },
  'mode.reduced': { loses: 'attributes', text: 'Its set-user-id and set-group-id bits are left out, because its owner could not be set.' },
  'times.not_set': { loses: 'attributes', text: 'Its times could not be set.' },
  'attribute.not_set': { loses: 'attributes', text: 'An extended attribute could not be set.' },
} as const satisfies Record<string, { loses: 'content' | 'attributes'; text: string }>

export type RestoreWarningCode = keyof typeof restoreWarnings

export interface RestoreWarning {
  /** Relative to the destination; '.' is the destination itself. */
  readonly path: string
  readonly code: RestoreWarningCode
  /** For a person; the reason, where there is one, at its end. */
  readonly message: string
}

const WARNINGS_KEPT_MAX = 1000

/** Collects warnings: the first thousand in words, all of them by number. */
export class RestoreWarnings {
  readonly list: RestoreWarning[] = []
  total = 0
  /** False once any warning told of lost content. */
  contentWhole = true

  add(path: string, code: RestoreWarningCode, reason = ''): void {
    const { loses, text } = restoreWarnings[code]
    if (loses === 'content') this.contentWhole = false
    this.total += 1
    if (this.list.length >= WARNINGS_KEPT_MAX) return
    this.list.push({ path, code, message: reason === '' ? text : `${text} (${reason})` })
  }
}
