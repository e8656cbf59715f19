/**
 * Watches over the jobs of one agent process: those that somebody cancelled are told to stop, and so
 * are those that show no sign of going on. One that does not stop then either hangs where nothing can
 * reach it, and its process has to die with it. Only when a job has stopped, one way or the other, does
 * its task end: nothing is ever left writing that the catalogue takes for over.
 *
 * Counted in signs of life of the process and not by a clock: when the machine or the server was held
 * up, signs of life are missing too.
 */
import type { JobActivity } from '@opencbr/agent'
import type { StopReason } from './end-job.ts'

export interface JobWatchOptions {
  /** After so many signs of life of its process without one of its own a job is stuck. */
  readonly quietTicksMax: number
  /** So many signs of life of its process a job may take to stop. */
  readonly stopTicksMax: number
}

interface Watched {
  signs: number
  quietTicks: number
  stopping: { readonly reason: StopReason, ticks: number } | undefined
}

export interface JobWatch {
  /** What to do at a sign of life: which jobs to tell to stop, and whether the process must die. */
  readonly look: (jobs: readonly JobActivity[], cancelled: ReadonlySet<string>) => { readonly stop: readonly string[], readonly kill: boolean }
  /** Why a job was told to stop; undefined for one that was not. */
  readonly reasonOf: (jobId: string) => StopReason | undefined
}

export function createJobWatch({ quietTicksMax, stopTicksMax }: JobWatchOptions): JobWatch {
  const watched = new Map<string, Watched>()

  function judge(state: Watched, signs: number, isCancelled: boolean): 'go_on' | 'stop' | 'kill' {
    if (state.stopping !== undefined) {
      state.stopping.ticks += 1
      return state.stopping.ticks > stopTicksMax ? 'kill' : 'go_on'
    }
    state.quietTicks = signs === state.signs ? state.quietTicks + 1 : 0
    state.signs = signs
    if (!isCancelled && state.quietTicks < quietTicksMax) return 'go_on'
    state.stopping = { reason: isCancelled ? 'cancelled' : 'stuck', ticks: 0 }
    return 'stop'
  }

  return {
    look(jobs, cancelled) {
      const present = new Set(jobs.map((job) => job.jobId))
      for (const jobId of watched.keys()) if (!present.has(jobId)) watched.delete(jobId)
      const stop: string[] = []
      let kill = false
      for (const { jobId, signs } of jobs) {
        const state = watched.get(jobId) ?? { signs, quietTicks: 0, stopping: undefined }
        watched.set(jobId, state)
        const verdict = judge(state, signs, cancelled.has(jobId))
        if (verdict === 'stop') stop.push(jobId)
        if (verdict === 'kill') kill = true
      }
      return { stop, kill }
    },
    reasonOf: (jobId) => watched.get(jobId)?.stopping?.reason,
  }
}
