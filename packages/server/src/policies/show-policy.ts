import type { ListPoliciesQuery } from '@opencbr/contract'
import type { Reader } from '../db/database.ts'
import { Failure } from '../failures.ts'
import type { PolicyId, ProjectId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findPolicyView, listPolicyViews, type PolicyView } from './policy-store.ts'

export async function showPolicy(reader: Reader, projectId: ProjectId, id: string): Promise<PolicyView> {
  const policyId = parseUuid<PolicyId>('policy_id', id)
  const view = await findPolicyView(reader, projectId, policyId)
  if (view === undefined) throw new Failure('policy.not_found', { policyId })
  return view
}

/** All policies of the project that match, newest first. Terraform asks by vault, with an id or with nothing. */
export async function listPolicies(reader: Reader, projectId: ProjectId, query: ListPoliciesQuery): Promise<PolicyView[]> {
  const vaultId = query.vault_id === '' ? undefined : query.vault_id?.toLowerCase()
  return listPolicyViews(reader, projectId, { type: query.operation_type, vaultId })
}
