/**
 * Far offsets. A database steps over every row that an offset skips, so the last page of a million rows
 * takes as long as reading all of them.
 *
 * Where the catalogue counts by the days of a time or by the beginnings of ids, adding up the counts tells behind
 * which place a page begins, at any moment. Of other lists that are paged through, the places of every thousandth row
 * are remembered: a far page is entered at the fence before it. Fences hold while the project's revision
 * does. They are set when somebody first goes that far, each from the one before it, and other calls get their turn in between.
 */
import type { Reader } from '../db/database.ts'
import type { ProjectId } from '../ids.ts'
import {
  countBackupRows, findPlace, listCounts, piecesBehind, type BackupFilter, type Facet, type PagePlan, type PageStart, type Place,
} from './backup-list-store.ts'
import type { SortKey, SortTerm } from './backup-order.ts'

const ROWS_BETWEEN = 1000
/** Of lists, each of which has at most a fence for every thousand rows. */
const LISTS_KEPT_MAX = 50

interface Fences {
  readonly revision: number
  readonly places: Place[]
  /** No row stands behind the last fence at this distance. */
  isComplete: boolean
  busy: Promise<void>
}

/** Where to begin reading to skip so many rows at a revision; undefined when there are not that many. */
export type FindStart = (
  db: Reader, projectId: ProjectId, revision: number, filter: BackupFilter, order: readonly SortTerm[], plan: PagePlan, offset: number,
) => Promise<PageStart | undefined>

export function openBackupFences(): FindStart {
  const known = new Map<string, Fences>()
  const sums = new Map<string, { readonly revision: number, readonly counts: readonly { value: string, rows: number }[] }>()

  async function countsAt(
    db: Reader, projectId: ProjectId, revision: number, facet: Facet, statuses: BackupFilter['statuses'],
  ): Promise<readonly { value: string, rows: number }[]> {
    const key = JSON.stringify([projectId, facet, statuses])
    const remembered = sums.get(key)
    sums.delete(key)
    const counts = remembered?.revision === revision ? remembered.counts : await listCounts(db, projectId, facet, statuses)
    sums.set(key, { revision, counts })
    const [oldest] = sums.keys()
    if (sums.size > LISTS_KEPT_MAX && oldest !== undefined) sums.delete(oldest)
    return counts
  }

  return async (db, projectId, revision, filter, order, plan, offset) => {
    const facet = facetOf(filter, order, plan)
    if (facet !== undefined) return placeByCounts(await countsAt(db, projectId, revision, facet, filter.statuses), order, facet, offset)
    const key = JSON.stringify([projectId, filter, order])
    let fences = known.get(key)
    if (fences?.revision !== revision) fences = { revision, places: [], isComplete: false, busy: Promise.resolve() }
    known.delete(key)
    known.set(key, fences)
    const [oldest] = known.keys()
    if (known.size > LISTS_KEPT_MAX && oldest !== undefined) known.delete(oldest)

    const needed = Math.floor(offset / ROWS_BETWEEN)
    const { places } = fences
    // Calls for the same list wait for each other: none sets a fence twice.
    const before = fences.busy
    const mine = Promise.withResolvers<void>()
    fences.busy = mine.promise
    try {
      await before
      while (places.length < needed && !fences.isComplete) {
        const next = await findNextFence(db, projectId, filter, order, plan, places.at(-1))
        if (next === undefined) fences.isComplete = true
        else places.push(next)
      }
    } finally {
      mine.resolve()
    }
    if (places.length < needed) return undefined
    return { after: places[needed - 1], offset: offset - needed * ROWS_BETWEEN }
  }
}

/** Steps over the pieces behind the last fence that are too short. */
async function findNextFence(
  db: Reader, projectId: ProjectId, filter: BackupFilter, order: readonly SortTerm[], plan: PagePlan, last: Place | undefined,
): Promise<Place | undefined> {
  let offset = ROWS_BETWEEN - 1
  for (const piece of piecesBehind(order, { after: last, offset })) {
    const place = await findPlace(db, projectId, filter, order, plan, { ...piece, offset })
    if (place !== undefined) return place
    if (piece.equalKeys === undefined || piece.equalKeys === 0) break
    for (const arm of plan.arms) offset -= await countBackupRows(db, projectId, filter, arm, order, piece)
  }
  return undefined
}

const FACET_OF_KEY: Partial<Record<SortKey, Facet>> = { created_at: 'day', updated_at: 'updated_day', protected_at: 'protected_day', id: 'id' }

/** The facet by which the whole list is counted in its order. */
function facetOf(filter: BackupFilter, order: readonly SortTerm[], { arms }: PagePlan): Facet | undefined {
  const [first] = order
  const { ownership: _, statuses: _statuses, ...rest } = filter
  if (first === undefined || arms.length > 1 || arms[0]?.role !== 'own' || Object.values(rest).some((value) => value !== undefined)) return undefined
  return order.every(({ direction }) => direction === first.direction) && order.length <= 2 ? FACET_OF_KEY[first.key] : undefined
}

function placeByCounts(
  counts: readonly { value: string, rows: number }[], order: readonly SortTerm[], facet: Facet, offset: number,
): PageStart | undefined {
  const isAscending = order[0]?.direction === 'asc'
  let left = offset
  for (const { value, rows } of isAscending ? counts : counts.toReversed()) {
    if (left < rows) return { after: placeBefore(value, facet, isAscending), offset: left }
    left -= rows
  }
  return undefined
}

const MICROS_PER_DAY = 86_400_000_000
/** Behind the digits of ids. */
const LAST = '~'

/** A place before the first of the rows that a value of a facet counts, and behind all that come before those. */
function placeBefore(value: string, facet: Facet, isAscending: boolean): Place {
  if (facet === 'id') return [isAscending ? value : value + LAST]
  // Times that are missing stand as -1, and are told apart by their ids.
  if (value.startsWith('0000')) return [-1, isAscending ? value.slice(4) : value.slice(4) + LAST]
  const day = Number(value) - 100_000
  return [(isAscending ? day : day + 1) * MICROS_PER_DAY, '']
}
