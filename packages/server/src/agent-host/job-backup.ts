/** The backup that a job is about. A restore may read a backup that was shared, which is its owner's. */
import { findBackup } from '../backups/index.ts'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { ProjectId } from '../ids.ts'
import { parseJobPayload } from '../jobs/index.ts'

/** Whose vault and backup the job works on; the job's own project except for shares. */
export function ownerOf(job: Row<'jobs'>): ProjectId {
  return job.kind === 'restore' ? parseJobPayload(job, 'restore').ownerProjectId ?? job.project_id : job.project_id
}

export async function findJobBackup(db: Reader, job: Row<'jobs'>): Promise<Row<'backups'> | undefined> {
  return job.backup_id === null ? undefined : findBackup(db, ownerOf(job), job.backup_id)
}
