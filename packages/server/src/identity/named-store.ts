/** SQL that domains, projects, users, groups and roles have in common: all have a name within a domain. */
import { sql } from 'kysely'
import type { Reader } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { DomainId } from '../ids.ts'

export type NamedTable = 'domains' | 'projects' | 'users' | 'user_groups' | 'roles'

export interface NamedFilter {
  /** Of this domain only. */
  readonly domainId?: DomainId | undefined
  readonly name?: string | undefined
}

export interface PageQuery {
  readonly limit?: number
  readonly offset?: number
  /** Id of the last row seen; wins over the offset. */
  readonly marker?: string
}

export interface Page<Shown> {
  readonly rows: readonly Shown[]
  /** All that match, on this page or not. */
  readonly count: number
  readonly limit: number
  readonly offset: number
}

export const LIMIT_MAX = 1000

/** A page by name. An unknown marker gives an empty one. */
export async function listNamed<Table extends NamedTable>(
  db: Reader, table: Table, filter: NamedFilter, query: PageQuery,
): Promise<Page<Row<Table>>> {
  const limit = Math.min(query.limit ?? LIMIT_MAX, LIMIT_MAX)
  const offset = query.marker === undefined ? query.offset ?? 0 : 0
  // The tables differ in other columns only, so one of them stands for all; a domain is its own domain.
  let matching = db.selectFrom(table as 'projects')
  const domainColumn = table === 'domains' ? 'id' : 'domain_id'
  if (filter.domainId !== undefined) matching = matching.where(sql.ref(domainColumn), '=', filter.domainId)
  if (filter.name !== undefined) matching = matching.where('name', '=', filter.name)
  const { count } = await matching.select(({ fn }) => fn.countAll().as('count')).executeTakeFirstOrThrow()
  let page = matching.selectAll().orderBy('name').orderBy('id').limit(limit)
  if (query.marker === undefined) {
    page = page.offset(offset)
  } else {
    const last = await matching.select(['name', 'id']).where(sql.ref('id'), '=', query.marker).executeTakeFirst()
    if (last === undefined) return { rows: [], count: Number(count), limit, offset }
    page = page.where(({ eb, refTuple, tuple }) => eb(refTuple('name', 'id'), '>', tuple(last.name, last.id)))
  }
  return { rows: await page.execute() as unknown as Row<Table>[], count: Number(count), limit, offset }
}

export async function findNamed<Table extends NamedTable>(db: Reader, table: Table, id: string): Promise<Row<Table> | undefined> {
  return await db.selectFrom(table as 'projects').selectAll().where(sql.ref('id'), '=', id).executeTakeFirst() as Row<Table> | undefined
}
