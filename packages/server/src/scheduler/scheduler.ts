/**
 * Looks every few seconds whether a policy is due, or a new project lacks one of its domain, and every hour for what retention lets go. Any number
 * of servers may do so over one catalogue. Tests take the timer away and tick by hand.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Micros } from '../clock.ts'
import { deployToNewProjects } from '../organization-policies/index.ts'
import { expireBackups } from './expire-backups.ts'
import { bringForward, runDue, type SchedulerDeps } from './run-due.ts'

const TICK_EVERY_MS = 5_000

export interface SchedulerOptions {
  /** 'manual': nothing happens until `tick` is called. */
  readonly timer?: 'manual' | undefined
}

export interface Scheduler {
  /** Does what is due by now; resolves when that is started. Ticks do not overlap. */
  readonly tick: () => Promise<void>
  /** Resolves when nothing goes on any more. */
  readonly close: () => Promise<void>
}

export function openScheduler(deps: SchedulerDeps, options: SchedulerOptions = {}): Scheduler {
  const tell = (what: string, error: unknown): void => {
    if (deps.config.logLevel === 'silent') return
    process.stderr.write(`scheduler: ${what}: ${error instanceof Error ? error.stack ?? error.message : String(error)}\n`)
  }
  let lastTickAt: Micros | undefined
  let turn: Promise<void> = Promise.resolve()
  let closing = false

  async function look(): Promise<void> {
    if (closing) return
    const now = deps.clock.now()
    try {
      // At the start, too: the clock may have been put right while nobody was here.
      if (lastTickAt === undefined || now < lastTickAt) await bringForward(deps)
      lastTickAt = now
      await deployToNewProjects(deps).catch((error: unknown) => tell('policies of a domain could not be brought to its new projects', error))
      await runDue(deps, tell)
      await expireBackups(deps, tell)
    } catch (error) {
      tell('the catalogue could not be read or written', error)
    }
  }

  function tick(): Promise<void> {
    turn = turn.then(look)
    return turn
  }

  let isTicking = false
  const timer = options.timer === 'manual' ? undefined : setInterval(() => {
    if (isTicking) return
    isTicking = true
    void tick().finally(() => {
      isTicking = false
    })
  }, TICK_EVERY_MS)
  timer?.unref()

  return {
    tick,
    async close() {
      closing = true
      clearInterval(timer)
      await turn
      await nextTurn()
    },
  }
}
