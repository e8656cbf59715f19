import type { JobKind } from '../db/schema.ts'

/** What the call takes that each kind of job is asked for by: whoever may not make it neither stops nor repeats it. */
const ACTIONS: Readonly<Record<Exclude<JobKind, 'verify'>, string>> = {
  backup: 'cbr:vaults:backup',
  restore: 'cbr:backups:restore',
  delete_backup: 'cbr:backups:delete',
  remove_resource: 'cbr:vaults:removeResources',
  delete_vault: 'cbr:vaults:delete',
  migrate_resource: 'cbr:vaults:migrateResources',
  forget_moved: 'cbr:vaults:migrateResources',
}

export interface TaskCaller {
  /** Throws unless the caller may do this itself, in the task's enterprise project. */
  readonly assertMay: (action: string, enterpriseProjectId: string) => void
}

/** Throws unless the caller may make the call that a task came from. A verification has no task. */
export function assertMayAskFor(caller: TaskCaller, kind: JobKind, enterpriseProjectId: string): void {
  if (kind !== 'verify') caller.assertMay(ACTIONS[kind], enterpriseProjectId)
}
