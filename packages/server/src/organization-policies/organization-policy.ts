/**
 * Policies of a domain. An organization policy makes a policy in each of its projects (its *deployment*), and changes and
 * deletes these along with itself, all in one transaction: so nothing is ever left half done. Which vaults a deployed
 * policy is bound to is the project's own affair.
 *
 * One for the whole domain is for projects that are yet to be made too. The scheduler finds those that still lack it;
 * as long as there are any it shows as `syncing`.
 */
import type { Flag } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import type { DomainId, ProjectId } from '../ids.ts'

export const WHOLE_DOMAIN = 'root'
const PROJECT_ID = /^[0-9a-f]{32}$/

export interface Scope {
  readonly wholeDomain: Flag
  /** The projects that are named otherwise; each once. */
  readonly projectIds: readonly ProjectId[]
}

/** `root`, the domain's own id or nothing stand for the whole domain; else it is a list of projects. */
export function readScope(field: string, text: string, domainId: DomainId): Scope {
  const parts = text.split(',').map((part) => part.trim()).filter((part) => part !== '')
  const [first] = parts
  if (first === undefined || (parts.length === 1 && (first.toLowerCase() === WHOLE_DOMAIN || first.toLowerCase() === domainId))) {
    return { wholeDomain: 1, projectIds: [] }
  }
  const ids = parts.map((part) => {
    const id = part.toLowerCase()
    if (!PROJECT_ID.test(id)) throw new Failure('parameter.invalid', { field, reason: `${part} is neither ${WHOLE_DOMAIN} nor the id of a project` })
    return id as ProjectId
  })
  return { wholeDomain: 0, projectIds: [...new Set(ids)] }
}
