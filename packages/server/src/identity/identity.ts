import type { DomainId, ProjectId, UserId } from '../ids.ts'

/** Who calls, and for which project or domain the credentials are good. */
export interface Identity {
  readonly user: { readonly id: UserId, readonly name: string }
  readonly domain: { readonly id: DomainId, readonly name: string }
  readonly project: { readonly id: ProjectId, readonly name: string } | undefined
  /** Actions such as `cbr:backups:list`; '*' grants every one. */
  readonly actions: ReadonlySet<string>
}
