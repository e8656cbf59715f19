import type { ListProtectablesQuery, ProtectableType } from '@opencbr/contract'
import { findAgentsOfResources, type AgentView, type ShownAgentStatus } from '../agents/index.ts'
import { readEnterpriseProjects } from '../enterprise-projects.ts'
import type { Reader } from '../db/database.ts'
import type { ResourceType } from '../db/schema.ts'
import { Failure } from '../failures.ts'
import type { ProjectId, ResourceId, VaultId } from '../ids.ts'
import { parseUuid } from '../parse-id.ts'
import { findResource, selectResourcePage, type ResourceRow } from '../resources/index.ts'
import { findVaultViews, type VaultView } from '../vaults/index.ts'

/** A declared resource, and the vault that holds it already. */
export interface ProtectableView {
  readonly resource: ResourceRow
  readonly vault: VaultView | undefined
  /** Of a server, whose directories the agent reads. */
  readonly agent: AgentView | undefined
}

/** Whatever is declared, and a server whose agent is in service; whether it can still be read shows when it is backed up. */
export const PROTECTABLE_STATUS = 'available'

const PAGE_DEFAULT = 50
/** The pages say 50, but clients ask for 100 and take a shorter page for the last one. */
const PAGE_MAX = 100

/** What a status that somebody filters by means for agents. */
const agentStatuses: Readonly<Record<string, ShownAgentStatus>> = { [PROTECTABLE_STATUS]: 'normal', offline: 'offline', uninstall: 'uninstall' }

/** Families without an entry hold nothing here. */
const declaredTypes: Partial<Record<ProtectableType, ResourceType>> = {
  server: 'OS::Native::Server',
  disk: 'OS::Cinder::Volume',
  turbo: 'OS::Sfs::Turbo',
}

/** A page of the declared resources of a family, newest first, and how many match altogether. */
export async function listProtectables(
  db: Reader, projectId: ProjectId, family: ProtectableType, query: ListProtectablesQuery,
): Promise<{ views: ProtectableView[], count: number }> {
  const type = declaredTypes[family]
  const isPossible = type !== undefined && query.server_id === undefined && (readEnterpriseProjects(query.enterprise_project_id)?.includes('0') ?? true)
  const agentStatus = agentStatuses[query.status?.toLowerCase() ?? '']
  const isStatus = query.status === undefined || (type === 'OS::Native::Server' ? agentStatus !== undefined : agentStatus === 'normal')
  if (!isPossible || !isStatus) return { views: [], count: 0 }
  const { rows, count } = await selectResourcePage(db, projectId, {
    types: [type], name: query.name, id: query.id?.toLowerCase(),
    agentStatus: type === 'OS::Native::Server' ? agentStatus : undefined,
  }, {
    limit: Math.min(query.limit ?? PAGE_DEFAULT, PAGE_MAX), offset: query.offset ?? 0, marker: query.marker?.toLowerCase(),
  })
  return { views: await addVaults(db, projectId, rows), count }
}

export async function showProtectable(db: Reader, projectId: ProjectId, family: ProtectableType, id: string): Promise<ProtectableView> {
  const resource = await findResource(db, projectId, parseUuid<ResourceId>('instance_id', id))
  const [view] = resource === undefined || resource.type !== declaredTypes[family] ? [] : await addVaults(db, projectId, [resource])
  if (view === undefined) throw new Failure('resource.not_found', { resourceId: id })
  return view
}

async function addVaults(db: Reader, projectId: ProjectId, rows: readonly ResourceRow[]): Promise<ProtectableView[]> {
  const vaultIds = new Set(rows.map((row) => row.vault_id).filter((id): id is VaultId => id !== null))
  const vaults = await findVaultViews(db, projectId, [...vaultIds])
  const agents = await findAgentsOfResources(db, projectId, rows.filter((row) => row.type === 'OS::Native::Server').map((row) => row.id))
  return rows.map((resource) => ({
    resource,
    vault: vaults.find((view) => view.vault.id === resource.vault_id),
    agent: agents.find((view) => view.agent.resource_id === resource.id),
  }))
}
