/**
 * Far offsets. A database steps over every row that an offset skips, so the last page of a million rows
 * takes as long as reading all of them. Of each list that is paged through, the places of every
 * thousandth row are remembered: a far page is entered at the fence before it.
 *
 * Fences hold while the project's revision does. They are set when somebody first goes that far, each
 * from the one before it, and other calls get their turn in between.
 */
import type { Reader } from '../db/database.ts'
import type { ProjectId } from '../ids.ts'
import { findPlace, type BackupFilter, type PageStart, type Place } from './backup-list-store.ts'
import type { SortTerm } from './backup-order.ts'

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

/** Where to begin reading to skip so many own backups at a revision; undefined when there are not that many. */
export type FindStart = (
  db: Reader, projectId: ProjectId, revision: number, filter: BackupFilter, order: readonly SortTerm[], offset: number,
) => Promise<PageStart | undefined>

export function openBackupFences(): FindStart {
  const known = new Map<string, Fences>()

  return async (db, projectId, revision, filter, order, offset) => {
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
        const next = await findPlace(db, projectId, filter, order, { after: places.at(-1), offset: ROWS_BETWEEN - 1 })
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
