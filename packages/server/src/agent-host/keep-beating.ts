import type { Transaction } from '../db/database.ts'
import { SILENT_BEATS_MAX, type Membership } from '../servers/index.ts'

/** So many beats late, and the agent must end: a little before the others take its jobs over. */
const LATE_BEATS_MAX = SILENT_BEATS_MAX - 2

export interface BeatWork {
  /** Gives back what is held by servers that are gone. */
  readonly takeOver: (tx: Transaction) => Promise<void>
  /** This server holds nothing any more, or must not rely on it. */
  readonly onLost: (why: string) => void
  readonly onBeat: () => Promise<void>
}

/**
 * Beats for as long as the server runs. Lateness is counted in ticks and not by a clock, so a server that was
 * held up as a whole first tries to beat. Returns what ends it, and resolves when no beat is under way.
 */
export function keepBeating({ beat, beatEveryMs }: Pick<Membership, 'beat' | 'beatEveryMs'>, { takeOver, onLost, onBeat }: BeatWork): () => Promise<void> {
  if (beatEveryMs === undefined) return async () => {}
  let underWay: Promise<void> | undefined
  let late = 0

  async function beatOnce(): Promise<void> {
    try {
      if (!await beat(takeOver)) onLost('the other servers held this one for dead: its agent starts anew')
      late = 0
      await onBeat()
    } catch (error) {
      // The next beat tries again; being late is what counts.
      if (late === 0) process.stderr.write(`servers: the catalogue cannot be reached: ${(error as Error).message}\n`)
    }
  }

  const timer = setInterval(() => {
    late += 1
    if (late === LATE_BEATS_MAX) onLost('the catalogue cannot be reached: the agent ends before others take its jobs over')
    underWay ??= beatOnce().finally(() => {
      underWay = undefined
    })
  }, beatEveryMs)
  timer.unref()
  return async () => {
    clearInterval(timer)
    await underWay
  }
}
