import type { Deps } from '../deps.ts'
import type { DomainId } from '../ids.ts'
import { withdraw } from './deploy.ts'
import { deleteOrganizationPolicyRow, listDeploymentRows } from './organization-policy-store.ts'
import { getOrganizationPolicy } from './show-organization-policy.ts'

/** Deletes an organization policy and takes it back everywhere. Backups stay. */
export async function deleteOrganizationPolicy({ db, clock }: Pick<Deps, 'db' | 'clock'>, domainId: DomainId, id: string): Promise<void> {
  await db.transaction().execute(async (tx) => {
    const policy = await getOrganizationPolicy(tx, domainId, id)
    for (const deployment of await listDeploymentRows(tx, policy.id)) await withdraw(tx, policy.id, deployment, clock.now())
    await deleteOrganizationPolicyRow(tx, policy.id)
  })
}
