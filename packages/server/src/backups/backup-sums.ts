/**
 * What was counted of a project, remembered until something changes in it. Who walks through the pages of a large project would spend
 * nearly all of the time on counting the same again; on PostgreSQL, where a statement is a journey, also on adding up what the
 * catalogue keeps.
 *
 * A sum is kept when the project's revision has turned out to be the same behind it as before, and used only at that
 * revision: it is always exact.
 */
import type { ProjectId } from '../ids.ts'
import { countOfRole, findKnownRows, type CountOfRole, type FindKnownRows } from './backup-counter.ts'
import type { BackupFilter } from './backup-list-store.ts'

export interface Sums {
  readonly countOfRole: CountOfRole
  readonly findKnownRows: FindKnownRows
}

/** Of this moment. */
export const SUMS_OF_NOW: Sums = { countOfRole, findKnownRows }

/** Sums of one call, none of which is made twice. */
export interface CallSums extends Sums {
  /** Whether there are some to keep. */
  readonly areNew: () => boolean
  /** For other calls at this revision, since nothing has changed until now. */
  readonly keep: () => void
}

const SUMS_KEPT_MAX = 1000

/** By project, filter and kind. */
export type SumMemory = Map<string, { readonly revision: number, readonly sum: Promise<unknown> }>

export function sumsOfCall(memory: SumMemory, projectId: ProjectId, revision: number): CallSums {
  const made = new Map<string, Promise<unknown>>()

  function once<Sum>(kind: string, filter: BackupFilter, add: () => Promise<Sum>): Promise<Sum> {
    const key = `${projectId} ${kind} ${textOfFilter(filter)}`
    const known = made.get(key) ?? recall(key)
    if (known !== undefined) return known as Promise<Sum>
    const sum = add()
    made.set(key, sum)
    return sum
  }

  function recall(key: string): Promise<unknown> | undefined {
    const kept = memory.get(key)
    if (kept?.revision !== revision) return undefined
    // A map keeps the order of insertion: the first key is the one that was not used for longest.
    memory.delete(key)
    memory.set(key, kept)
    return kept.sum
  }

  return {
    countOfRole: (db, _, role, filter) => once(role, filter, () => countOfRole(db, projectId, role, filter)),
    findKnownRows: (db, _, filter, matching) => once('known', filter, () => findKnownRows(db, projectId, filter, matching)),
    areNew: () => made.size > 0,
    keep() {
      for (const [key, sum] of made) {
        memory.delete(key)
        memory.set(key, { revision, sum })
      }
      made.clear()
      for (const oldest of memory.keys()) {
        if (memory.size <= SUMS_KEPT_MAX) break
        memory.delete(oldest)
      }
    },
  }
}

const texts = new WeakMap<BackupFilter, string>()

/** Equal for filters that ask for the same. */
export function textOfFilter(filter: BackupFilter): string {
  let text = texts.get(filter)
  if (text === undefined) texts.set(filter, text = JSON.stringify(filter))
  return text
}
