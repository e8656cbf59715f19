/**
 * Who is alive of those that share a catalogue, judged without comparing clocks.
 *
 * Every server counts its beats in its row. An observer looks at all rows each time it beats itself; one
 * whose number has not changed during so many of the observer's own beats is dead. Machines whose clocks differ
 * or are set, and an observer that was held up for a while, make nobody dead: only the observer's beats count.
 */

export interface Beating {
  readonly run: string
  readonly beats: number
}

export interface RollCall {
  /** What was seen now; returns the runs that are dead. */
  readonly look: (present: readonly Beating[]) => string[]
}

/** So many beats without a sign, and a server is dead. */
export const SILENT_BEATS_MAX = 6

export function openRollCall(ownRun: string): RollCall {
  let known = new Map<string, { readonly beats: number, readonly silent: number }>()
  return {
    look(present) {
      const next = new Map<string, { beats: number, silent: number }>()
      for (const { run, beats } of present) {
        if (run === ownRun) continue
        const before = known.get(run)
        next.set(run, { beats, silent: before?.beats === beats ? before.silent + 1 : 0 })
      }
      known = next
      return [...next].filter(([, { silent }]) => silent >= SILENT_BEATS_MAX).map(([run]) => run)
    },
  }
}
