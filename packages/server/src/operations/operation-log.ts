import type { OperationExtraInfo } from '@opencbr/contract'
import type { Micros } from '../clock.ts'
import type { OperationStatus, OperationType } from '../db/schema.ts'
import type { BackupId, CheckpointId, OperationLogId, ProjectId, ResourceId, VaultId } from '../ids.ts'

/** The parts of `extra_info` that are stored; `common` is made from columns. */
export type OperationParts = Omit<OperationExtraInfo, 'common'>

/** Members to add to the parts of a task; those that are not named stay as they are. */
export type OperationPartsChange = { readonly [Name in keyof OperationParts]?: Partial<NonNullable<OperationParts[Name]>> }

/** The vault that a task is about; its row fits. The name is kept, since a task outlives its vault. */
export interface OperationVault {
  readonly id: VaultId
  readonly project_id: ProjectId
  readonly name: string
  readonly enterprise_project_id: string
  readonly provider_id: string
}

export interface NewOperationLog {
  readonly type: OperationType
  readonly vault: OperationVault
  readonly checkpointId?: CheckpointId | undefined
  readonly backupId?: BackupId | undefined
  readonly resource?: { readonly id: ResourceId, readonly type: string, readonly name: string | null } | undefined
  readonly policyId?: string | undefined
  /** The id of the call that starts the task, as `Call.requestId` gives it. */
  readonly requestId: string
  /** Without `resource`: that part is made from the member above. */
  readonly parts: Omit<OperationParts, 'resource'>
  readonly createdAt: Micros
}

/** Why a task failed, as its `error_info` shows it. */
export interface OperationError {
  /** The cloud's code: `BackupService.6215`. */
  readonly code: string
  readonly message: string
  /** Whether the task was given up because nothing moved, and not because it failed. */
  readonly timedOut?: boolean
  /** Whether somebody wanted it to end. */
  readonly cancelled?: boolean
}

export type FinalOperationStatus = Exclude<OperationStatus, 'waiting' | 'running'>

export interface OperationLogFilter {
  readonly startedFrom?: Micros | undefined
  readonly endedUntil?: Micros | undefined
  readonly types?: readonly string[] | undefined
  readonly statuses?: readonly string[] | undefined
  readonly providerId?: string | undefined
  readonly resourceId?: string | undefined
  readonly resourceName?: string | undefined
  readonly vaultId?: string | undefined
  readonly vaultName?: string | undefined
  /** Ids, separated by commas. */
  readonly enterpriseProjectId?: string | undefined
}

export interface OperationLogPage {
  readonly limit: number
  readonly offset: number
  /** Id of the last task seen; wins over the offset. */
  readonly marker?: OperationLogId | undefined
}

const HEX_32 = /^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/

/** `req-<uuid>`, the form of request ids in tasks, from the id that the call's answer carries. */
export function operationRequestId(callRequestId: string): string {
  const parts = HEX_32.exec(callRequestId)
  return parts === null ? callRequestId : `req-${parts.slice(1).join('-')}`
}
