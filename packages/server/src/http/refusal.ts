/** Answers in the gateway's form, and who gets them for what they may not do. */
import { enterpriseProjectsFor, mayInProject, type Identity } from '../identity/index.ts'

/** Raised before any operation is chosen or entered, or by one that stands for another one. */
export class GatewayRefusal extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

export function notPermitted(action: string): GatewayRefusal {
  return new GatewayRefusal(403, 'APIGW.0302', `The action ${action} is not permitted.`)
}

/** For what a call would do besides its own action: throws as if the caller had made the other call. */
export function assertMay(identity: Identity, action: string, enterpriseProjectId: string): void {
  if (!mayInProject(identity, action)) throw notPermitted(action)
  if (enterpriseProjectsFor(identity, action)?.has(enterpriseProjectId) === false) {
    throw notPermitted(`${action} outside of single enterprise projects`)
  }
}
