/**
 * Where pages ended. Who goes through a list by offsets asks next for what follows, so its rows are not stepped over again: with short pages,
 * that took longer than reading them. What is remembered holds while the project's revision does.
 */
import type { ProjectId } from '../ids.ts'
import type { BackupFilter, PageStart, Place } from './backup-list-store.ts'
import type { SortTerm } from './backup-order.ts'
import { textOfFilter } from './backup-sums.ts'

/** One end is remembered for so many rows of a list. */
const ROWS_APART = 20
/** Further back, stepping over rows takes as long as without. */
const ROWS_BACK_MAX = 400
/** Fewer rows than these are skipped in no time. */
const OFFSET_MIN = 50
const ENDS_KEPT_MAX = 2000
const LISTS_KEPT_MAX = 20

interface End { readonly offset: number, readonly place: Place }

interface Ends {
  readonly revision: number
  /** By the offset in steps. */
  readonly steps: Map<number, End>
}

export interface PageEnds {
  /** The place nearest to where a page begins, and the rows between. */
  readonly find: (projectId: ProjectId, revision: number, filter: BackupFilter, order: readonly SortTerm[], offset: number) => PageStart | undefined
  /** `findPlace` is asked when it is worth remembering. */
  readonly remember: (
    projectId: ProjectId, revision: number, filter: BackupFilter, order: readonly SortTerm[], offset: number, findPlace: () => Place | undefined,
  ) => void
}

export function openPageEnds(): PageEnds {
  const lists = new Map<string, Ends>()

  function endsOf(projectId: ProjectId, revision: number, filter: BackupFilter, order: readonly SortTerm[]): Ends {
    const key = `${projectId} ${textOfFilter(filter)} ${order.map((term) => `${term.key}:${term.direction}`).join(',')}`
    const known = lists.get(key)
    const ends = known?.revision === revision ? known : { revision, steps: new Map<number, End>() }
    // A map keeps the order of insertion: the first key is the one that was not used for longest.
    lists.delete(key)
    lists.set(key, ends)
    const [oldest] = lists.keys()
    if (lists.size > LISTS_KEPT_MAX && oldest !== undefined) lists.delete(oldest)
    return ends
  }

  return {
    find(projectId, revision, filter, order, offset) {
      if (offset < OFFSET_MIN) return undefined
      const { steps } = endsOf(projectId, revision, filter, order)
      const last = Math.floor(offset / ROWS_APART)
      for (let step = last; step > last - ROWS_BACK_MAX / ROWS_APART; step -= 1) {
        const end = steps.get(step)
        if (end !== undefined && end.offset <= offset) return { after: end.place, offset: offset - end.offset }
      }
      return undefined
    },
    remember(projectId, revision, filter, order, offset, findPlace) {
      if (offset < OFFSET_MIN) return
      const { steps } = endsOf(projectId, revision, filter, order)
      const step = Math.floor(offset / ROWS_APART)
      if (steps.get(step)?.offset === offset) return
      const place = findPlace()
      if (place === undefined) return
      steps.delete(step)
      steps.set(step, { offset, place })
      const [oldest] = steps.keys()
      if (steps.size > ENDS_KEPT_MAX && oldest !== undefined) steps.delete(oldest)
    },
  }
}
