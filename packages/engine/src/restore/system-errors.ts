import { Failure } from '../failure.ts'

/** The code of a failed system call, such as 'ENOENT'; undefined when it was no system call that failed. */
export function errorCodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** Why a system call failed, in a few words. Rethrows whatever is no failed system call. */
export function reasonOf(error: unknown): string {
  const code = errorCodeOf(error)
  if (code === undefined) throw error
  return code
}

const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])
const FATAL: ReadonlySet<string> = new Set([...FULL, 'EROFS', 'EMFILE', 'ENFILE', 'ENOMEM'])

/** Whether what failed for one file will fail for the next one too. */
export function isFatalForDestination(error: unknown): boolean {
  return FATAL.has(errorCodeOf(error) ?? '')
}

/** The failure that a failed system call on the destination means; every other error as it is. */
export function asDestinationFailure(error: unknown, path: string): unknown {
  const code = errorCodeOf(error)
  if (code === undefined) return error
  return new Failure(FULL.has(code) ? 'destination.full' : 'destination.unwritable', { path, reason: code }, { cause: error })
}
