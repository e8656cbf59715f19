import type { FindVaultsByTagsBody } from '@opencbr/contract'
import type { Expression, SqlBool } from 'kysely'
import type { Reader } from '../db/database.ts'
import { Failure } from '../failures.ts'
import type { ProjectId } from '../ids.ts'
import { countVaults, selectVaultPage, type VaultFilter, type VaultView } from '../vaults/index.ts'
import { holds, parseTagFilter, tagCondition } from './tag-filter.ts'

const PAGE_MAX = 1000
const ENTERPRISE_PROJECT_TAG = '_sys_enterprise_project_id'
/** Terraform may send it empty. */
const NO_FILTER: ReadonlySet<string | undefined> = new Set([undefined, '', 'all_granted_eps'])

/** Vaults by tags, newest first: a page with the total, or, for `count`, only the total. */
export async function findVaultsByTags(
  db: Reader, projectId: ProjectId, body: FindVaultsByTagsBody, enterpriseProjectId: string | undefined,
): Promise<{ views?: VaultView[], count: number }> {
  const tags = parseTagFilter(body)
  const enterpriseProjects = readSystemTags(body.sys_tags ?? [])
  const [match] = body.matches ?? []
  const filter: VaultFilter = {
    cloudType: body.cloud_type,
    objectType: body.object_type,
    enterpriseProjectId: NO_FILTER.has(enterpriseProjectId) ? undefined : enterpriseProjectId,
    narrow: (eb) => {
      const conditions: Expression<SqlBool>[] = [tagCondition(eb, tags)]
      if (enterpriseProjects !== undefined) conditions.push(eb('vaults.enterprise_project_id', 'in', enterpriseProjects))
      if (match !== undefined) conditions.push(match.value === '' ? eb('vaults.name', '=', '') : holds(eb.ref('vaults.name'), match.value))
      return eb.and(conditions)
    },
  }
  if (body.action === 'count') return { count: await countVaults(db, projectId, filter) }
  const limit = readNumber('limit', body.limit, 1) ?? PAGE_MAX
  const offset = readNumber('offset', body.offset, 0) ?? 0
  return selectVaultPage(db, projectId, filter, { limit: Math.min(limit, PAGE_MAX), offset })
}

/** Ids of enterprise projects, or undefined when none are asked for. */
function readSystemTags(tags: readonly { readonly key: string, readonly values: readonly string[] }[]): string[] | undefined {
  const [tag] = tags
  if (tag === undefined) return undefined
  const wrong = tags.findIndex((each) => each.key !== ENTERPRISE_PROJECT_TAG)
  if (wrong !== -1) throw new Failure('parameter.invalid', { field: `sys_tags.${wrong}.key`, reason: `only ${ENTERPRISE_PROJECT_TAG} exists` })
  if (tags.length > 1) throw new Failure('parameter.invalid', { field: 'sys_tags.1.key', reason: `${ENTERPRISE_PROJECT_TAG} is named twice` })
  return tag.values.length === 0 ? undefined : [...tag.values]
}

/** The contract has numbers as texts here; clients send both. */
function readNumber(field: string, value: string | number | undefined, min: number): number | undefined {
  if (value === undefined) return undefined
  const number = typeof value === 'number' ? value : /^\d{1,9}$/.test(value.trim()) ? Number(value) : Number.NaN
  if (!Number.isInteger(number) || number < min) throw new Failure('parameter.invalid', { field, reason: `it must be a whole number from ${min}` })
  return number
}
