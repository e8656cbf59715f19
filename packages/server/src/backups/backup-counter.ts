import type { Reader } from '../db/database.ts'
import type { ProjectId } from '../ids.ts'
import {
  countBackupRows, findBackupRevision, sumCells, sumCounts, sumCountsOfUsedVaults, type BackupFilter, type Facet, type IndexName, type Role,
} from './backup-list-store.ts'
import { narrowestIndex, planCount, type KnownRows } from './plan-backup-page.ts'

/** How many backups of a role match a filter, on whatever page. */
export type CountOfRole = (db: Reader, projectId: ProjectId, role: Role, filter: BackupFilter) => Promise<number>

/** Nearly all counts are sums of what the catalogue keeps; the others read every matching row. */
export const countOfRole: CountOfRole = async (db, projectId, role, filter) => (
  await sumKept(db, projectId, role, filter) ?? countAfresh(db, projectId, role, filter, await findBackupRevision(db, projectId)))

async function countAfresh(db: Reader, projectId: ProjectId, role: Role, filter: BackupFilter, revision: number): Promise<number> {
  if (role === 'own' && (filter.createdFrom !== undefined || filter.createdTo !== undefined)) {
    const count = await sumWindow(db, projectId, filter, revision)
    if (count !== undefined) return count
  }
  const index = narrowestIndex(role, filter) ?? await planRowCount(db, projectId, role, filter)
  return countBackupRows(db, projectId, filter, { role, index })
}

async function planRowCount(db: Reader, projectId: ProjectId, role: Role, filter: BackupFilter): Promise<IndexName> {
  return role === 'own' ? planCount(filter, await findKnownRows(db, projectId, filter, undefined)) : 'by_created_at'
}

type Member = keyof BackupFilter

/** How many members restrict, besides some. */
function givenMembers(filter: BackupFilter, besides: readonly Member[]): number {
  return Object.entries(filter).filter(([name, value]) => value !== undefined && name !== 'ownership' && name !== 'memberStatus' && !besides.includes(name as Member)).length
}

const facetOf: Partial<Record<Member, Facet>> = {
  vaultId: 'vault', imageType: 'image_type', resourceType: 'resource_type', incremental: 'incremental', resourceAz: 'resource_az',
  enterpriseProjectId: 'enterprise_project', name: 'name', resourceName: 'resource_name',
}

const OF_CELLS: readonly Member[] = ['statuses', 'imageType', 'resourceType', 'incremental', 'resourceAz', 'enterpriseProjectId', 'enterpriseProjectIds']

/** Adds up counts that the catalogue keeps; undefined for filters that it does not keep any for. */
async function sumKept(db: Reader, projectId: ProjectId, role: Role, filter: BackupFilter): Promise<number | undefined> {
  if (role !== 'own') return givenMembers(filter, OF_CELLS) > 0 ? undefined : sumCells(db, projectId, scopesOf(role, filter), filter)
  const { statuses } = filter
  if (givenMembers(filter, ['statuses']) === 0) return sumFacet(db, projectId, 'all', '', statuses)
  for (const [member, facet] of Object.entries(facetOf) as [Member, Facet][]) {
    const value = filter[member]
    if (value !== undefined && givenMembers(filter, ['statuses', member]) === 0) {
      return sumFacet(db, projectId, facet, textOf(value), statuses)
    }
  }
  if (givenMembers(filter, [...OF_CELLS, 'vaultId']) === 0) return sumCells(db, projectId, [filter.vaultId ?? ''], filter)
  if (filter.usedPercentMin !== undefined && givenMembers(filter, ['statuses', 'usedPercentMin']) === 0) {
    return sumCountsOfUsedVaults(db, projectId, filter.usedPercentMin, statuses)
  }
  return undefined
}

/** As the catalogue writes a value. */
function textOf(value: BackupFilter[Member]): string {
  return typeof value === 'boolean' ? String(Number(value)) : String(value)
}

function scopesOf(role: Role, { memberStatus }: BackupFilter): string[] {
  return (memberStatus === undefined ? ['pending', 'accepted', 'rejected'] : [memberStatus]).map((status) => `${role}:${status}`)
}

async function sumFacet(
  db: Reader, projectId: ProjectId, facet: Facet, value: string, statuses: BackupFilter['statuses'],
): Promise<number> {
  return sumCounts(db, projectId, facet, { from: value, to: value }, statuses)
}

/** What a plan goes by; only what the filter mentions is looked up. `matching`: if that is known. */
export type FindKnownRows = (db: Reader, projectId: ProjectId, filter: BackupFilter, matching: number | undefined) => Promise<KnownRows>

export const findKnownRows: FindKnownRows = async (db, projectId, filter, matching) => {
  const of = async (facet: Facet, value: string | undefined): Promise<number | undefined> =>
    value === undefined ? undefined : sumFacet(db, projectId, facet, value, undefined)
  const all = await sumFacet(db, projectId, 'all', '', undefined)
  const used = filter.usedPercentMin
  const isUseAlone = givenMembers(filter, ['usedPercentMin']) === 0
  return {
    matching: matching ?? all,
    all,
    inVault: await of('vault', filter.vaultId),
    ofName: await of('name', filter.name),
    ofResourceName: await of('resource_name', filter.resourceName),
    inUsedVaults: used === undefined ? undefined : isUseAlone && matching !== undefined ? matching : await sumCountsOfUsedVaults(db, projectId, used, undefined),
    ofStatuses: filter.statuses === undefined ? undefined : await sumFacet(db, projectId, 'all', '', filter.statuses),
    inWindow: filter.createdFrom === undefined && filter.createdTo === undefined ? undefined
      : await sumCounts(db, projectId, 'day', { from: dayText(dayOf(filter.createdFrom)), to: dayText(dayOf(filter.createdTo)) }, undefined),
  }
}

const MICROS_PER_DAY = 86_400_000_000
/** Narrower windows are counted row by row. */
const WHOLE_DAYS_MIN = 2

function dayOf(time: number | undefined): number | undefined {
  return time === undefined ? undefined : Math.floor(time / MICROS_PER_DAY)
}

/** What is counted by days: all, or each value of some columns. */
const DAY_FACET_OF: readonly (readonly [Member | undefined, Facet])[] = [
  [undefined, 'day'], ['imageType', 'image_type_day'], ['resourceType', 'resource_type_day'], ['incremental', 'incremental_day'],
  ['enterpriseProjectId', 'enterprise_project_day'],
]

/** Whole days are added up, and only what sticks out at both ends is counted. Undefined for filters by which days are not counted. */
async function sumWindow(db: Reader, projectId: ProjectId, filter: BackupFilter, revision: number): Promise<number | undefined> {
  const { createdFrom, createdTo, statuses } = filter
  const [member, facet] = DAY_FACET_OF.find(([one]) =>
    givenMembers(filter, ['statuses', 'createdFrom', 'createdTo', ...(one === undefined ? [] : [one])]) === 0) ?? []
  if (facet === undefined) return undefined
  const firstDay = createdFrom === undefined ? undefined : Math.ceil(createdFrom / MICROS_PER_DAY)
  const lastDay = createdTo === undefined ? undefined : Math.floor((createdTo + 1) / MICROS_PER_DAY) - 1
  if (firstDay !== undefined && lastDay !== undefined && lastDay - firstDay + 1 < WHOLE_DAYS_MIN) return undefined
  // Nothing is older than 1970; such ends have no day that texts could name.
  if (lastDay !== undefined && lastDay < 0) return undefined
  const arm = { role: 'own', index: member === undefined && statuses?.length === 1 ? 'of_status' : 'by_created_at' } as const
  const value = member === undefined ? '' : textOf(filter[member])
  const range = member === undefined ? { from: dayText(firstDay), to: dayText(lastDay) } : {
    from: `${[...value].length} ${value} ${dayText(firstDay) ?? DAY_FIRST}`, to: `${[...value].length} ${value} ${dayText(lastDay) ?? DAY_LAST}`,
  }
  let count = await sumCounts(db, projectId, facet, range, statuses)
  if (createdFrom !== undefined && firstDay !== undefined && createdFrom < firstDay * MICROS_PER_DAY) {
    count += await countBackupRows(db, projectId, { ...filter, createdTo: firstDay * MICROS_PER_DAY - 1 }, arm)
  }
  if (createdTo !== undefined && lastDay !== undefined) {
    count += await countBackupRows(db, projectId, { ...filter, createdFrom: (lastDay + 1) * MICROS_PER_DAY }, arm)
  }
  // The parts belong to one state of the catalogue, or to none.
  return await findBackupRevision(db, projectId) === revision ? count : undefined
}

const DAY_FIRST = '100000'
const DAY_LAST = '999999'

/** As the catalogue writes it: six digits, in the order of time. */
function dayText(day: number | undefined): string | undefined {
  return day === undefined ? undefined : String(Math.min(999_999, Math.max(100_000, day + 100_000)))
}
