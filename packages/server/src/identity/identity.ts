import type { Row } from '../db/schema.ts'
import type { DomainId, ProjectId, UserId } from '../ids.ts'

/** Who calls, and for which project or domain the credentials are good. */
export interface Identity {
  readonly user: { readonly id: UserId, readonly name: string }
  readonly domain: { readonly id: DomainId, readonly name: string }
  readonly project: { readonly id: ProjectId, readonly name: string } | undefined
  /** Actions such as `cbr:backups:list`; '*' grants every one. */
  readonly actions: ReadonlySet<string>
}

/** The one role so far may do everything in its project. */
const ADMIN_ACTIONS: ReadonlySet<string> = new Set(['*'])

export function makeIdentity(
  { user, domain }: { readonly user: Row<'users'>, readonly domain: Row<'domains'> }, project: Row<'projects'> | undefined,
): Identity {
  return {
    user: { id: user.id, name: user.name },
    domain: { id: domain.id, name: domain.name },
    project: project === undefined ? undefined : { id: project.id, name: project.name },
    actions: ADMIN_ACTIONS,
  }
}

/** For what an access key's secret is sealed. */
export function accessKeyPurpose(accessKey: string): string {
  return `access-key:${accessKey}`
}
