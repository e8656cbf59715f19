import { Failure } from '../failure.ts'

/** The code of a failed system call, such as 'ENOENT'. Rethrows whatever is no failed system call. */
export function systemCodeOf(error: unknown): string {
  if (error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string') return error.code
  throw error
}

/** Running out of these is no property of one file: it would empty the rest of the backup. */
const FATAL: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM'])

/** The code of a failed system call that concerns one file only. Throws everything else. */
export function fileCodeOf(error: unknown): string {
  const code = systemCodeOf(error)
  if (FATAL.has(code)) throw new Failure('source.unreadable', { reason: code }, { cause: error })
  return code
}

/** What it means for a run that its source itself cannot be opened. */
export function asSourceFailure(error: unknown, path: string): Failure {
  const code = systemCodeOf(error)
  const facts = { path, reason: code }
  switch (code) {
    case 'ENOENT':
    case 'ENXIO':
    case 'ENODEV':
    case 'ENOMEDIUM':
      return new Failure('source.missing', facts, { cause: error })
    case 'ENOTDIR':
    case 'ELOOP':
      return new Failure('source.wrong_kind', facts, { cause: error })
    default:
      return new Failure('source.unreadable', facts, { cause: error })
  }
}
