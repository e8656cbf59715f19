/** What a client is told when the process that reads vaults cannot do what it is asked for. */
import { Failure } from '../failures.ts'

/** Why the reader could not answer; the codes are its own. */
export class ReadFailure extends Error {
  override name = 'ReadFailure'
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

export function asReadFailure(error: unknown, backupId: string, path: string): unknown {
  if (!(error instanceof ReadFailure)) return error
  switch (error.code) {
    case 'snapshot.path_not_found': return new Failure('backup.path_not_found', { backupId, path })
    case 'not_a_directory': return new Failure('parameter.invalid', { field: 'path', reason: 'it is not a directory' })
    case 'not_a_file': return new Failure('parameter.invalid', { field: 'path', reason: 'it is not a file; ask for a directory with format zip or tar' })
    // Our own mistake, which the log tells of.
    case 'unknown': return error
    default: return new Failure('backup.unreadable', { backupId, reason: error.message })
  }
}
