import type { ListProtectablesQuery, ProtectableType } from '@opencbr/contract'
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
}

/** Whatever is declared; whether it can still be read shows when it is backed up. */
export const PROTECTABLE_STATUS = 'available'

const PAGE_DEFAULT = 50
/** The pages say 50, but clients ask for 100 and take a shorter page for the last one. */
const PAGE_MAX = 100
const DEFAULT_ENTERPRISE_PROJECTS: ReadonlySet<string | undefined> = new Set([undefined, '', '0', 'all_granted_eps'])

/** Families without an entry hold nothing here. */
const declaredTypes: Partial<Record<ProtectableType, ResourceType>> = {
  disk: 'OS::Cinder::Volume',
  turbo: 'OS::Sfs::Turbo',
}

/** A page of the declared resources of a family, newest first, and how many match altogether. */
export async function listProtectables(
  db: Reader, projectId: ProjectId, family: ProtectableType, query: ListProtectablesQuery,
): Promise<{ views: ProtectableView[], count: number }> {
  const type = declaredTypes[family]
  const isPossible = type !== undefined && query.server_id === undefined && DEFAULT_ENTERPRISE_PROJECTS.has(query.enterprise_project_id)
    && (query.status === undefined || query.status.toLowerCase() === PROTECTABLE_STATUS)
  if (!isPossible) return { views: [], count: 0 }
  const { rows, count } = await selectResourcePage(db, projectId, {
    types: [type], name: query.name, id: query.id?.toLowerCase(),
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
  return rows.map((resource) => ({ resource, vault: vaults.find((view) => view.vault.id === resource.vault_id) }))
}
