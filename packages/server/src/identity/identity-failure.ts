import type { DomainId, UserId } from '../ids.ts'

/** What goes wrong in the identity API, which answers in Keystone's form and has no codes but HTTP's. */
export type IdentityStatus = 400 | 401 | 403 | 404 | 409

/** A user as the audit trail names it. */
export interface NamedUser {
  readonly id: UserId
  readonly name: string
  readonly domainId: DomainId
}

export class IdentityFailure extends Error {
  override name = 'IdentityFailure'
  readonly status: IdentityStatus
  /** As whom somebody tried to log in. Never told to the caller. */
  readonly triedUser: NamedUser | undefined
  constructor(status: IdentityStatus, message: string, triedUser?: NamedUser) {
    super(message)
    this.status = status
    this.triedUser = triedUser
  }
}
