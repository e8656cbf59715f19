/**
 * Keeps an agent process at work: starts it when there is something to do, starts it again when it
 * dies, and writes into the catalogue what it says.
 *
 * Messages are handled one after the other, each in one transaction. A job counts as the process's
 * own only while the lease says so; what a process says about a job that it lost is dropped. Once a
 * day, between two messages, the history of what ended long ago is discarded.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AgentSettings, FromAgent } from '@opencbr/agent'
import { ownPaths } from '../config.ts'
import type { Transaction } from '../db/database.ts'
import type { Row } from '../db/schema.ts'
import type { Deps } from '../deps.ts'
import type { JobId } from '../ids.ts'
import { findLeasedJob, listCancelledJobs, listLeasedJobs, parseJobPayload, WRITERS_PER_VAULT } from '../jobs/index.ts'
import { advanceOperation } from '../operations/index.ts'
import type { Membership } from '../servers/index.ts'
import { secureRoom } from '../vaults/index.ts'
import { advanceVerification } from '../verify/index.ts'
import { startAgentProcess, type AgentProcess } from './agent-process.ts'
import { assignJobs } from './assign-jobs.ts'
import { discardHistory } from './discard-history.ts'
import { giveBack, putBack, recordEnd, stopEnded } from './end-job.ts'
import { createJobWatch, type JobWatch } from './job-watch.ts'
import { keepBeating } from './keep-beating.ts'
import { reconcile, takeOver } from './reconcile.ts'

const LOCK_PATIENCE_MS = 120_000
/** A hanging agent is noticed after a dozen of these. */
const ALIVE_EVERY_MS = 5_000
/** How long a job may show no sign of going on; the longest that is known to be in order are waits for locks. */
const STUCK_AFTER_MS = 3600_000
/** How long a job may take to stop when it is told to. */
const JOB_STOP_PATIENCE_MS = 60_000
/** How long a stopping agent may take to park its jobs before it is killed. */
const STOP_PATIENCE_MS = 5_000

const RESTART_DELAY_MS = 1_000
const RESTART_DELAY_MAX_MS = 30_000
/** The catalogue may be unwritable for a moment: a full disk, a copy being made of it. */
const WRITE_TRIES = 5
const WRITE_RETRY_MS = 1_000
/** Each may use every core and has buffers of its own. */
const JOBS_PER_AGENT = 2
const DISCARD_EVERY_MS = 24 * 3600 * 1_000

export interface AgentHostOptions {
  /** How long an agent waits for somebody else's lock on a repository, in milliseconds. */
  readonly lockPatienceMs?: number | undefined
  /** How often an agent says that it is alive, in milliseconds. */
  readonly aliveEveryMs?: number | undefined
  /** How long a job may show no sign of going on, in milliseconds. */
  readonly stuckAfterMs?: number | undefined
  /** How long a job may take to stop before its agent is killed, in milliseconds. */
  readonly jobStopPatienceMs?: number | undefined
}

export interface AgentHost {
  /** There may be new work. */
  readonly wake: () => void
  /** Parks what is going on; resolves when no agent runs any more. */
  readonly close: () => Promise<void>
}

type HostDeps = Pick<Deps, 'db' | 'clock' | 'config' | 'secrets'>

/** Takes up whatever an earlier server left, and then waits for work. */
export async function openAgentHost(deps: HostDeps, membership: Membership, options: AgentHostOptions = {}): Promise<AgentHost> {
  await deps.db.transaction().execute(async (tx) => {
    const now = deps.clock.now()
    await reconcile(tx, membership, now)
    await discardHistory(tx, now)
  })
  const host = createHost(deps, membership, settingsOf(deps, membership, options), options)
  if (await hasWaitingJobs(deps)) host.wake()
  return host
}

function settingsOf({ config }: HostDeps, membership: Membership, { lockPatienceMs = LOCK_PATIENCE_MS, aliveEveryMs = ALIVE_EVERY_MS }: AgentHostOptions): AgentSettings {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  return {
    snapshotHostname: config.region,
    installation: createHash('sha256').update(membership.catalogueId ?? config.dataDir).digest('hex').slice(0, 16),
    hasFellows: membership.catalogueId !== undefined,
    forbiddenPaths: ownPaths(config),
    scratchDir: join(config.dataDir, 'drills'),
    jobsMax: config.jobsPerAgent ?? JOBS_PER_AGENT,
    lockPatienceMs,
    pruneGraceMs: config.pruneGraceMs ?? 0,
    aliveEveryMs,
    programVersion: `opencbr ${version}`,
  }
}

async function hasWaitingJobs({ db }: HostDeps): Promise<boolean> {
  return await db.selectFrom('jobs').select('id').where('status', '=', 'waiting').limit(1).executeTakeFirst() !== undefined
}

function createHost(
  deps: HostDeps, membership: Membership, settings: AgentSettings, { stuckAfterMs = (deps.config.stuckAfterSeconds ?? STUCK_AFTER_MS / 1000) * 1000, jobStopPatienceMs = JOB_STOP_PATIENCE_MS }: AgentHostOptions,
): AgentHost {
  const inTicks = (ms: number): number => Math.max(2, Math.ceil(ms / settings.aliveEveryMs))
  const log = (text: string): void => {
    if (deps.config.logLevel !== 'silent') process.stderr.write(`agent host: ${text}\n`)
  }
  let agent: AgentProcess | undefined
  let watch: JobWatch | undefined
  /** A sign of life waits for its turn to be looked at. */
  let isLookDue = false
  let restart: NodeJS.Timeout | undefined
  let earlyDeaths = 0
  let closing = false
  let turn: Promise<void> = Promise.resolve()
  let closed: Promise<void> | undefined
  const daily = setInterval(() => {
    turn = turn.then(async () => {
      await tryWriting(() => deps.db.transaction().execute((tx) => discardHistory(tx, deps.clock.now())))
    })
  }, DISCARD_EVERY_MS)
  daily.unref()
  const stopBeating = keepBeating(membership, {
    takeOver: (tx) => takeOver(tx, membership, deps.clock.now()),
    // Whatever this server's agent works on may be somebody else's now, or soon.
    onLost: (why) => {
      log(why)
      agent?.kill()
    },
    // Others add jobs too, and leave some behind.
    onBeat: async () => {
      if (await hasWaitingJobs(deps)) wake()
    },
  })

  function start(): void {
    restart = undefined
    const startedWatch = createJobWatch({ quietTicksMax: inTicks(stuckAfterMs), stopTicksMax: inTicks(jobStopPatienceMs) })
    const started: AgentProcess = startAgentProcess(membership.newHolder(), settings, (message) => {
      if (message.type === 'alive') {
        // With nothing to do there is nothing to watch; and who is slow to look must not fall behind.
        if (message.jobs.length === 0 || isLookDue) return
        isLookDue = true
      }
      turn = turn.then(() => {
        if (message.type === 'alive') isLookDue = false
        return handle(started, message)
      })
    }, log)
    agent = started
    watch = startedWatch
    void started.ended.then(() => {
      turn = turn.then(() => bury(started))
    })
  }

  async function handle(from: AgentProcess, message: FromAgent): Promise<void> {
    const isDone = await tryWriting(async () => {
      switch (message.type) {
        case 'alive': {
          const { stop, kill } = watch?.look(message.jobs, new Set<string>(await listCancelledJobs(deps.db, from.holder))) ?? { stop: [], kill: false }
          for (const jobId of stop) from.send({ type: 'cancel', jobId })
          if (kill) from.kill()
          break
        }
        case 'lease':
          from.send({ type: 'assign', assignments: closing ? [] : await assignJobs(deps, { holder: from.holder, places: message.places }) })
          break
        case 'room':
          await answerRoom(from, message)
          break
        case 'progress':
          await withJob(from, message.jobId, (tx, job) => (job.kind === 'verify'
            ? advanceVerification(tx, parseJobPayload(job, 'verify').verificationId, message.percent)
            : advanceOperation(tx, job.operation_log_id, message.percent, deps.clock.now())))
          break
        case 'end':
          await withJob(from, message.jobId, (tx, job) => recordEnd(tx, job, message.end, message.usedBytes, deps.clock.now(), watch?.reasonOf(job.id)))
          earlyDeaths = 0
          break
      }
    })
    // Its jobs go back to the queue then, and the next agent finds what this one has finished.
    if (!isDone) from.kill()
  }

  async function answerRoom(from: AgentProcess, { jobId, request, usedBytes }: Extract<FromAgent, { type: 'room' }>): Promise<void> {
    const writersPerVault = deps.config.writersPerVault ?? WRITERS_PER_VAULT
    const answer = await withJob(from, jobId, (tx, job) => secureRoom(tx, job, { request, usedBytes, writersPerVault }, deps.clock.now()))
    if (answer !== undefined) from.send({ type: 'room', jobId, answer })
  }

  /** Whoever cancels should not have to wait for the next sign of life. */
  async function tellCancelled(): Promise<void> {
    const from = agent
    if (from === undefined) return
    await tryWriting(async () => {
      for (const jobId of await listCancelledJobs(deps.db, from.holder)) from.send({ type: 'cancel', jobId })
    })
  }

  /** Undefined when the process has lost the job. */
  async function withJob<Result>(
    from: AgentProcess, jobId: string, write: (tx: Transaction, job: Row<'jobs'>) => Promise<Result>,
  ): Promise<Result | undefined> {
    return deps.db.transaction().execute(async (tx) => {
      const job = await findLeasedJob(tx, jobId as JobId, from.holder)
      return job === undefined ? undefined : await write(tx, job)
    })
  }

  async function tryWriting(write: () => Promise<void>): Promise<boolean> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await write()
        return true
      } catch (error) {
        log(`the catalogue could not be written: ${error instanceof Error ? error.stack ?? error.message : String(error)}`)
        if (attempt === WRITE_TRIES || closing) return false
      }
      await sleep(WRITE_RETRY_MS)
    }
  }

  /**
   * What a process held when it ended was parked if it was told to end, and broken off otherwise. When
   * it had to die for a job that would not stop, that one is over, and the others were only in its way.
   */
  async function bury(dead: AgentProcess): Promise<void> {
    await tryWriting(() => deps.db.transaction().execute(async (tx) => {
      const now = deps.clock.now()
      const leased = await listLeasedJobs(tx, dead.holder)
      const isVictim = leased.some((job) => watch?.reasonOf(job.id) !== undefined)
      for (const job of leased) {
        const reason = watch?.reasonOf(job.id)
        if (reason !== undefined) await stopEnded(tx, job, reason, now)
        else if (closing || isVictim) await putBack(tx, job, 'parked', now)
        else await giveBack(tx, job, now)
      }
    }))
    agent = undefined
    watch = undefined
    if (closing) return
    earlyDeaths += 1
    const delay = earlyDeaths === 1 ? 0 : Math.min(RESTART_DELAY_MAX_MS, RESTART_DELAY_MS * 2 ** (earlyDeaths - 2))
    log(`the agent ended unexpectedly; it is started again in ${delay} ms`)
    restart = setTimeout(start, delay)
  }

  async function closeOnce(): Promise<void> {
    closing = true
    clearTimeout(restart)
    clearInterval(daily)
    await stopBeating()
    if (agent !== undefined) {
      agent.send({ type: 'stop' })
      const impatience = setTimeout(agent.kill, STOP_PATIENCE_MS)
      await agent.ended
      clearTimeout(impatience)
    }
    // What it said last is written before the catalogue closes.
    await turn
  }

  function wake(): void {
    if (closing) return
    if (agent !== undefined) {
      agent.send({ type: 'wake' })
      turn = turn.then(tellCancelled)
    } else if (restart === undefined) start()
  }

  return {
    wake,
    close: () => closed ??= closeOnce(),
  }
}
