import type { FailureCode } from '@opencbr/engine'
import type { OperationError } from '../operations/index.ts'

const RESOURCE_NOT_BACKUPABLE = 'BackupService.6215'
const OVER_CAPACITY = 'BackupService.6114'
const UNKNOWN = 'BackupService.9910'

/** What a run can fail of besides the engine's failures. */
type TaskFailureCode = FailureCode | 'source.forbidden' | 'source.not_offered' | 'source.incomplete' | 'task.cancelled' | 'task.stuck' | 'unknown'

/**
 * The cloud's codes for tasks, where one fits; for most that can go wrong with a real repository the
 * cloud has none, and its code for anything unforeseen stands with a text that says what happened.
 */
const cloudCodes: Partial<Record<TaskFailureCode, string>> = {
  'source.missing': RESOURCE_NOT_BACKUPABLE,
  'source.wrong_kind': RESOURCE_NOT_BACKUPABLE,
  'source.unreadable': RESOURCE_NOT_BACKUPABLE,
  'source.changed': RESOURCE_NOT_BACKUPABLE,
  'source.forbidden': RESOURCE_NOT_BACKUPABLE,
  'source.not_offered': RESOURCE_NOT_BACKUPABLE,
  'source.incomplete': RESOURCE_NOT_BACKUPABLE,
  'storage.over_capacity': OVER_CAPACITY,
}

/** Why a task failed, in the cloud's form; what an agent says may hold codes that are not known here. */
export function toOperationError(failure: { readonly code: string, readonly message: string }): OperationError {
  const codes: Readonly<Record<string, string | undefined>> = cloudCodes
  const error = { code: codes[failure.code] ?? UNKNOWN, message: failure.message }
  if (failure.code === 'task.cancelled') return { ...error, cancelled: true }
  return failure.code === 'task.stuck' ? { ...error, timedOut: true } : error
}
