/**
 * Chooses how a page is read. There are two ways: along an index that has the order, stepping over what
 * does not match, up to the end of the page; or through an index that has a filter, putting what matches in order.
 * The first takes as many steps as matching rows are rare, the second as they are many. The catalogue has counted
 * enough to know beforehand, so the shorter one is taken, and at its worst, with the square root of all rows matching, both
 * are short.
 */
import type { BackupFilter, IndexName, Role } from './backup-list-store.ts'
import type { SortKey, SortTerm } from './backup-order.ts'

/** How many of a project's own rows there are to go through. */
export interface KnownRows {
  readonly all: number
  /** That match the whole filter. */
  readonly matching: number
  readonly inVault?: number | undefined
  readonly inUsedVaults?: number | undefined
  readonly ofStatuses?: number | undefined
  readonly ofName?: number | undefined
  readonly ofResourceName?: number | undefined
  readonly inWindow?: number | undefined
}

export interface RolePlan { readonly index: IndexName, readonly isOrdered: boolean }

interface Way extends RolePlan {
  /** Rows of the index that are gone through at most. */
  readonly rows: number
}

/** Columns that indexes have besides those by which they are entered; for any other one the row is read. */
const CARRIED: Readonly<Record<IndexName, readonly string[]>> = {
  by_created_at: ['created_at', 'status', 'image_type', 'resource_type', 'incremental', 'resource_az', 'enterprise_project_id', 'vault_id'],
  by_updated_at: ['updated_at', 'created_at', 'status', 'image_type', 'resource_type', 'incremental'],
  by_protected_at: ['protected_at', 'created_at', 'status', 'image_type', 'resource_type', 'incremental'],
  by_name: ['name', 'created_at', 'status', 'image_type', 'resource_type', 'incremental'],
  by_id: ['created_at', 'status', 'image_type', 'resource_type', 'incremental'],
  by_status: ['status'],
  of_status: ['status', 'created_at', 'image_type', 'resource_type', 'incremental'],
  of_name: ['name', 'created_at', 'status'],
  of_vault: ['vault_id', 'created_at', 'status', 'name', 'updated_at', 'protected_at', 'image_type', 'incremental'],
  of_resource: ['resource_id', 'created_at', 'status'],
  of_resource_name: ['resource_name', 'created_at', 'status'],
  of_checkpoint: ['checkpoint_id', 'created_at'],
  of_parent: ['created_at'],
}

/** In steps over an index: reading a row, and putting one in order. */
const READ = 15
const SORT = 4

/** Filters that leave so few rows that nothing is known of them beforehand. */
export function narrowestIndex(role: Role, filter: BackupFilter): IndexName | undefined {
  if (filter.parentId !== undefined) return 'of_parent'
  if (filter.checkpointId !== undefined) return 'of_checkpoint'
  if (filter.resourceId !== undefined) return 'of_resource'
  if (role === 'own') return undefined
  if (filter.resourceName !== undefined) return 'of_resource_name'
  if (filter.name !== undefined) return 'by_name'
  return filter.vaultId === undefined ? undefined : 'of_vault'
}

export function planByNarrowest(index: IndexName, order: readonly SortTerm[]): RolePlan {
  return { index, isOrdered: isOrderedWithin(index, order, undefined) }
}

/** Of shares there are fewer, and nothing is known beforehand: their order decides. */
export function planShared(order: readonly SortTerm[]): RolePlan {
  const index = BY_KEY[order[0]?.key ?? 'created_at']
  return { index, isOrdered: isOrderedWithin(index, order, undefined) }
}

/** `needed` is the distance of the page's end from where reading begins. */
export function planRole(filter: BackupFilter, order: readonly SortTerm[], known: KnownRows, needed: number): RolePlan {
  const [{ key } = { key: 'created_at' as const }] = order
  const stepsOf = ({ index, isOrdered, rows }: Way): number => {
    const filtered = filteredColumns(filter).filter((column) => !CARRIED[index].includes(column)).length > 0
    const keyed = order.some((term) => term.key !== 'id' && !CARRIED[index].includes(term.key))
    if (isOrdered) return rows * Math.min(1, needed / Math.max(1, known.matching)) * (filtered ? READ : 1)
    return rows * (filtered || keyed ? READ : 1) + known.matching * SORT + needed
  }
  const [best] = waysOf(filter, order, known).toSorted((one, other) => stepsOf(one) - stepsOf(other))
  return best ?? { index: BY_KEY[key], isOrdered: true }
}

/** The way to count row by row. */
export function planCount(filter: BackupFilter, known: KnownRows): IndexName {
  const stepsOf = ({ index, rows }: Way): number => rows * (filteredColumns(filter).every((column) => CARRIED[index].includes(column)) ? 1 : READ)
  const [best] = waysOf(filter, [{ key: 'created_at', direction: 'desc' }], known).toSorted((one, other) => stepsOf(one) - stepsOf(other))
  return best?.index ?? 'by_created_at'
}

const BY_KEY: Readonly<Record<SortKey, IndexName>> = {
  created_at: 'by_created_at', updated_at: 'by_updated_at', name: 'by_name', status: 'by_status', protected_at: 'by_protected_at', id: 'by_id',
}

function waysOf(filter: BackupFilter, order: readonly SortTerm[], known: KnownRows): Way[] {
  const [{ key } = { key: 'created_at' as const }] = order
  const inWindow = Math.min(1, (known.inWindow ?? known.all) / Math.max(1, known.all))
  const ways: Way[] = []
  const add = (index: IndexName, rows: number | undefined): void => {
    if (rows !== undefined) ways.push({ index, isOrdered: isOrderedWithin(index, order, filter), rows })
  }
  add(BY_KEY[key], key === 'created_at' ? known.all * inWindow : known.all)
  if (known.inWindow !== undefined && key !== 'created_at') add('by_created_at', known.inWindow)
  add('of_vault', known.inVault === undefined ? undefined : known.inVault * inWindow)
  add('of_vault', known.inUsedVaults === undefined ? undefined : known.inUsedVaults * inWindow)
  add('of_status', known.ofStatuses === undefined ? undefined : known.ofStatuses * inWindow)
  if (filter.statuses?.length === 1 && key === 'id') add('by_status', known.ofStatuses)
  add('of_name', known.ofName === undefined ? undefined : known.ofName * inWindow)
  add('of_resource_name', known.ofResourceName === undefined ? undefined : known.ofResourceName * inWindow)
  return ways
}

/** Whether the rows that an index has for the values of a filter come in the order. */
function isOrderedWithin(index: IndexName, order: readonly SortTerm[], filter: BackupFilter | undefined): boolean {
  const [first, ...others] = order
  if (first === undefined) return false
  // What has one value throughout decides nothing: with one status, its index has the order of ids.
  if (index === BY_KEY[first.key]) return others.length === 0 || isMirrorOf(order, first)
  if (index === 'by_status') return first.key === 'id'
  if (first.key !== 'created_at' || others.length > 1 || !isMirrorOf(order, first)) return false
  if (index === 'of_status') return filter?.statuses?.length === 1
  if (index === 'of_vault') return filter?.usedPercentMin === undefined
  return index.startsWith('of_')
}

/** One key and the id in the same direction. */
function isMirrorOf(order: readonly SortTerm[], { direction }: SortTerm): boolean {
  return order.length === 2 && order[1]?.key === 'id' && order[1].direction === direction
}

function filteredColumns(filter: BackupFilter): string[] {
  const columns: [string, unknown][] = [
    ['vault_id', filter.vaultId ?? filter.usedPercentMin], ['created_at', filter.createdFrom ?? filter.createdTo], ['image_type', filter.imageType],
    ['enterprise_project_id', filter.enterpriseProjectId ?? filter.enterpriseProjectIds], ['incremental', filter.incremental], ['name', filter.name],
    ['resource_az', filter.resourceAz], ['resource_id', filter.resourceId], ['resource_name', filter.resourceName], ['resource_type', filter.resourceType],
    ['checkpoint_id', filter.checkpointId], ['status', filter.statuses],
  ]
  return columns.filter(([, value]) => value !== undefined).map(([column]) => column)
}
