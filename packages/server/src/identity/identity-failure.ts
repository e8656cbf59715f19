/** What goes wrong in the identity API, which answers in Keystone's form and has no codes but HTTP's. */
export type IdentityStatus = 400 | 401 | 403 | 404 | 409

export class IdentityFailure extends Error {
  override name = 'IdentityFailure'
  readonly status: IdentityStatus
  constructor(status: IdentityStatus, message: string) {
    super(message)
    this.status = status
  }
}
