/**
 * The agent's loop: asks for as many jobs as it has free places, works on them, reports. It decides
 * nothing about the catalogue, and knows no other way to the server than the channel.
 *
 * Stopping parks: every job's signal aborts, the engine stores what it has uploaded, and the job is
 * given back instead of failed. Cancelling does the same to one job, which does not come back. A job
 * that ends by itself meanwhile is reported as it ended.
 */
import { describeTaskFailure } from './task-failure.ts'
import { runBackup } from './run-backup.ts'
import { runForget } from './run-forget.ts'
import { runMigrate } from './run-migrate.ts'
import { runRemoveVault } from './run-remove-vault.ts'
import { runRestore } from './run-restore.ts'
import { runVerify } from './run-verify.ts'
import type { AgentSettings, Assignment, FromAgent, JobActivity, JobEnd, Outcome, RoomAnswer, RoomRequest, TaskFailure, ToAgent } from './protocol.ts'
import type { AskForRoom } from './secure-room.ts'
import { measureVault, type WorkContext } from './vault-repository.ts'

const PROGRESS_EVERY_MS = 500

export interface Agent {
  readonly receive: (message: Exclude<ToAgent, { type: 'stop' }>) => void
  /** What it works on, for whoever watches whether that goes on. */
  readonly listActivity: () => JobActivity[]
  /** Resolves when every job has been given back or has ended. */
  readonly stop: () => Promise<void>
}

interface RunningJob {
  readonly controller: AbortController
  signs: number
  cancelled: boolean
  /** Takes the answer to what the job has asked for. */
  onRoom: ((answer: RoomAnswer) => void) | undefined
  end: Promise<void>
}

export function createAgent(send: (message: FromAgent) => void, log: (text: string) => void): Agent {
  const running = new Map<string, RunningJob>()
  let settings: AgentSettings | undefined
  let asking = false
  let askAgain = false
  let stopping = false
  let reporting: Promise<void> = Promise.resolve()

  function ask(): void {
    if (settings === undefined || stopping) return
    const places = settings.jobsMax - running.size
    if (places <= 0) return
    if (asking) {
      // The answer under way may have been given before what there is to ask for now.
      askAgain = true
      return
    }
    asking = true
    send({ type: 'lease', places })
  }

  function take(assignments: readonly Assignment[], known: AgentSettings): void {
    asking = false
    for (const job of assignments) {
      const controller = new AbortController()
      if (stopping) controller.abort()
      const state: RunningJob = { controller, signs: 0, cancelled: false, onRoom: undefined, end: Promise.resolve() }
      running.set(job.jobId, state)
      state.end = run(job, state, { settings: known, signal: controller.signal, describe })
    }
    if (askAgain) {
      askAgain = false
      ask()
    }
  }

  async function run(job: Assignment, state: RunningJob, context: WorkContext): Promise<void> {
    const tell = throttle((percent) => send({ type: 'progress', jobId: job.jobId, percent }))
    const onProgress = (percent: number): void => {
      state.signs += 1
      tell(percent)
    }
    let end: JobEnd
    try {
      end = { type: 'done', outcome: await work(job, context, (request) => askForRoom(job, state, request, context.signal), onProgress) }
    } catch (error) {
      const stopped = { type: state.cancelled ? 'cancelled' : 'parked' } as const
      end = context.signal.aborted ? stopped : { type: 'failed', failure: describe(error) }
    }
    // One after the other, so that of two jobs in a vault the later report has the later count.
    reporting = reporting.then(() => report(job, end))
    await reporting
    running.delete(job.jobId)
    ask()
  }

  async function askForRoom(job: Assignment, state: RunningJob, request: RoomRequest, signal: AbortSignal): Promise<RoomAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<RoomAnswer>()
    const giveUp = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', giveUp, { once: true })
    state.onRoom = resolve
    // In turn with the reports: what another job has written is in the count, or the server still knows that it is at work.
    reporting = reporting.then(async () => {
      if (signal.aborted) return giveUp()
      send({ type: 'room', jobId: job.jobId, request, usedBytes: await measureVault(job.vault).catch(() => undefined) })
    })
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', giveUp)
      state.onRoom = undefined
    }
  }

  function takeRoom(jobId: string, answer: RoomAnswer): void {
    const job = running.get(jobId)
    if (job === undefined) return
    // Who waits for others is not stuck.
    job.signs += 1
    job.onRoom?.(answer)
  }

  async function report(job: Assignment, end: JobEnd): Promise<void> {
    const usedBytes = await measureVault(job.vault).catch(() => undefined)
    send({ type: 'end', jobId: job.jobId, end, usedBytes })
  }

  function cancel(jobId: string): void {
    const job = running.get(jobId)
    if (job === undefined) return
    job.cancelled = true
    job.controller.abort()
  }

  function describe(error: unknown): TaskFailure {
    const failure = describeTaskFailure(error)
    if (failure.code === 'unknown') log(error instanceof Error ? error.stack ?? error.message : String(error))
    return failure
  }

  return {
    receive(message) {
      switch (message.type) {
        case 'settings':
          ({ settings } = message)
          ask()
          break
        case 'assign':
          if (settings !== undefined) take(message.assignments, settings)
          break
        case 'wake':
          ask()
          break
        case 'room':
          takeRoom(message.jobId, message.answer)
          break
        case 'cancel':
          cancel(message.jobId)
          break
      }
    },
    listActivity: () => Array.from(running, ([jobId, { signs }]) => ({ jobId, signs })),
    async stop() {
      stopping = true
      for (const { controller } of running.values()) controller.abort()
      await Promise.all(Array.from(running.values(), (job) => job.end))
    },
  }
}

function work(job: Assignment, context: WorkContext, askForRoom: AskForRoom, onProgress: (percent: number) => void): Promise<Outcome> {
  switch (job.kind) {
    case 'backup': return runBackup(job, context, askForRoom, onProgress)
    case 'restore': return runRestore(job, context, onProgress)
    case 'forget': return runForget(job, context, onProgress)
    case 'migrate': return runMigrate(job, context, onProgress)
    case 'remove_vault': return runRemoveVault(job, context)
    case 'verify': return runVerify(job, context, onProgress)
  }
}

/** Whole percents, upwards only, and not too often: each is a synced write to the catalogue. */
function throttle(report: (percent: number) => void): (percent: number) => void {
  let last = 0
  let reportedAt = Number.NEGATIVE_INFINITY
  return (percent) => {
    const whole = Math.min(99, Math.floor(percent))
    if (whole <= last || performance.now() - reportedAt < PROGRESS_EVERY_MS) return
    last = whole
    reportedAt = performance.now()
    report(whole)
  }
}
