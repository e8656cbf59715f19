import type { Deps } from '../deps.ts'
import { Failure } from '../failures.ts'
import type { DomainId, ProjectId } from '../ids.ts'

export interface SourceDomain {
  readonly domainId: DomainId
  readonly domainName: string
  readonly projectId: ProjectId
  readonly projectName: string
}

/** Whose a share is: told to projects that received one, and to those of the project itself. To anybody else there is no such project. */
export async function showSourceDomain({ db }: Pick<Deps, 'db'>, callers: readonly ProjectId[], sourceProjectId: string): Promise<SourceDomain> {
  const source = sourceProjectId as ProjectId
  const shared = callers.length === 0 ? undefined : await db.selectFrom('backup_members').select('id')
    .where('project_id', '=', source).where('dest_project_id', 'in', callers).limit(1).executeTakeFirst()
  const found = shared === undefined && !callers.includes(source) ? undefined : await db.selectFrom('projects')
    .innerJoin('domains', 'domains.id', 'projects.domain_id').where('projects.id', '=', source)
    .select(['domains.id as domainId', 'domains.name as domainName', 'projects.id as projectId', 'projects.name as projectName'])
    .executeTakeFirst()
  if (found === undefined) throw new Failure('project.not_found', { projectId: sourceProjectId.slice(0, 64) })
  return found
}
